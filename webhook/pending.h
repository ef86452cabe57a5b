/*
 * pending.h - what an endpoint has not received yet, and what it never will: on disk.
 *
 *      STATE/NAME.pending    JSON; replaced as a whole, so it is there in full or as
 * before STATE/NAME.dead       a JSON line each, added at the end: the dead-letter list
 *
 * An event is in the pending file, on the disk, before the cursor passes it by; so
 * nothing is lost whenever the process dies.  It is bounded: when it is full nothing more
 * is read.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json.h"

enum { PENDING_MAX = 1000 };

struct letter {
    int64_t position;
    char *id, *order_id, *json;
    int64_t created_at_ms; /* the event; Unix milliseconds */
    int64_t attempts;
    int64_t next_ms; /* not tried again before; Unix milliseconds */
};

struct pending {
    char path[512], dead_path[512];
    struct letter letters[PENDING_MAX]; /* by position */
    size_t count;
    bool changed; /* since it was saved */
};

/* Reads what a process before left.  DATA_LOSS when it is not what was written. */
struct err pending_open(struct pending *pending, const char *folder, const char *name)
    __attribute__((warn_unused_result));
void pending_close(struct pending *pending);

bool pending_has(const struct pending *pending, int64_t position);

/* Whether an event of that order waits among the first `count`. */
bool pending_has_order(const struct pending *pending, const char *order_id, size_t count);

/* At the end; copies.  RESOURCE_EXHAUSTED when it is full. */
struct err pending_add(struct pending *pending, const struct letter *letter)
    __attribute__((warn_unused_result));

void pending_remove(struct pending *pending, size_t i);

/* Onto the disk, if it changed. */
struct err pending_save(struct pending *pending) __attribute__((warn_unused_result));

/* Onto the dead-letter list, on the disk; it is still to be removed. */
struct err pending_bury(const struct pending *pending, size_t i, const char *problem)
    __attribute__((warn_unused_result));

/* Of a file of that folder: "PATH cannot be WHAT: ...", by errno; and a file replaced as a
 * whole, on the disk. */
struct err pending_failed(const char *what, const char *path)
    __attribute__((warn_unused_result));
struct err pending_replace(const char *path, const json_t *json)
    __attribute__((warn_unused_result));
