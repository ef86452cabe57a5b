/*
 * cargo.h - the events of one flight to the bus, and how far its answers let the mark move.
 *
 *      stored | stored | refused | stored | refused | silent
 *      ------------ passed ------------ >| the mark stops here
 *                        `-- set aside (letters.h)
 *
 * What was refused, while one behind it was stored, was refused for itself.  When nothing
 * behind it was stored it may be the bus, and everything waits.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "orchestrator/bus_nats.h"
#include "orchestrator/event.h"

/* What a flight's rows are read as; of a table called `e` with a column `held`: whether an
 * earlier event of the order is set aside. */
#define CARGO_COLUMNS "e.held, " EVENT_COLUMNS
#define CARGO_SHAPE   "B" EVENT_SHAPE_MAYBE

struct cargo {
    struct event *events; /* all of the flight */
    bool *held;           /* of each: not given to the bus, but set aside as well */
    size_t count;
    struct event *given;             /* those that are not held */
    struct bus_delivery *deliveries; /* what becomes of each given one */
    size_t given_count;
};

/* Whether the rows, whose CARGO_COLUMNS begin at column `first`, hold an event at all. */
bool cargo_any(const struct db_rows *rows, int first);

/*
 * Takes the events of the rows, up to the second of one order: no two go together
 * (bus_nats.h), and up to the first that is damaged, whose error it gives.  Texts are borrowed from
 * the rows.  To be freed either way.
 */
struct err cargo_load(struct cargo *cargo, const struct db_rows *rows, int first)
    __attribute__((warn_unused_result));
void cargo_free(struct cargo *cargo);

/*
 * After `deliveries` were filled: how many of the first events may be passed, and in `aside`
 * those of them that are to be set aside.  What is returned says why the next one cannot be
 * passed: FAILED_PRECONDITION, the bus refuses it; else `error`, what publishing gave.
 */
struct err cargo_judge(const struct cargo *cargo, struct err error, json_t *aside,
                       size_t *passed) __attribute__((warn_unused_result));
