/* cargo.c - see cargo.h. */
#include "orchestrator/cargo.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "orchestrator/letters.h"

/* ---- loading ----------------------------------------------------------------------- */

void cargo_free(struct cargo *cargo)
{
    free(cargo->events);
    free(cargo->given);
    free(cargo->held);
    free(cargo->deliveries);
}

bool cargo_any(const struct db_rows *rows, int first)
{
    return rows->count > 0 && db_size(rows, 0, first + 1) > 0;
}

/* There is hardly ever a second. */
static bool has_order(const struct event *events, size_t count, const char *order_id)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(events[i].order_id, order_id) == 0)
            return true;
    return false;
}

struct err cargo_load(struct cargo *cargo, const struct db_rows *rows, int first)
{
    size_t most = (size_t)rows->count;

    *cargo = (struct cargo){.events = calloc(most, sizeof *cargo->events),
                            .given = calloc(most, sizeof *cargo->given),
                            .held = calloc(most, sizeof *cargo->held),
                            .deliveries = calloc(most, sizeof *cargo->deliveries)};
    if (cargo->events == NULL || cargo->given == NULL || cargo->held == NULL ||
        cargo->deliveries == NULL)
        return err_memory();
    for (int i = 0; i < rows->count; i++) {
        struct event event;
        struct err e = event_read(rows, i, first + 1, &event);
        if (failed(e)) /* those before it can fly */
            return e;
        if (event.sequence > 1 && has_order(cargo->events, cargo->count, event.order_id))
            break;
        cargo->held[cargo->count] = db_bool(rows, i, first);
        if (!cargo->held[cargo->count])
            cargo->given[cargo->given_count++] = event;
        cargo->events[cargo->count++] = event;
    }
    return ERR_NONE;
}

/* ---- judging ----------------------------------------------------------------------- */

/* How many of the given there are up to the last that was stored just now. */
static size_t count_taken(const struct cargo *cargo)
{
    size_t taken = cargo->given_count;

    while (taken > 0 && cargo->deliveries[taken - 1].answer != BUS_STORED)
        taken--;
    return taken;
}

static struct err explain(const struct event *event, const struct bus_delivery *delivery,
                          struct err error)
{
    if (delivery->answer != BUS_REFUSED)
        return error;
    return err_make(ERR_FAILED_PRECONDITION,
                    "NATS: the event %s at position %" PRId64 " is refused: %s.",
                    event->id, event->position, delivery->reason);
}

/* What has to be noted of event `i` before the mark passes it; false: no memory. */
static bool note_aside(const struct cargo *cargo, size_t i,
                       const struct bus_delivery *delivery, json_t *aside)
{
    const struct event *event = &cargo->events[i];

    if (cargo->held[i])
        return letters_add(aside, event, 0, "an earlier event of its order was refused");
    if (bus_stored(delivery))
        return true;
    log_error("event_refused",
              "order=%s event_id=%s position=%" PRId64 " reason=%s"
              " note=\"tried again, and others go on: checkoutctl events dead\"",
              event->order_id, event->id, event->position, delivery->reason);
    return letters_add(aside, event, 1, delivery->reason);
}

struct err cargo_judge(const struct cargo *cargo, struct err error, json_t *aside,
                       size_t *passed)
{
    size_t given = 0, taken = count_taken(cargo);

    json_array_clear(aside);
    for (*passed = 0; *passed < cargo->count; ++*passed) {
        const struct bus_delivery *delivery = &cargo->deliveries[given];
        bool held = cargo->held[*passed];
        if (!held && !bus_stored(delivery) &&
            (delivery->answer != BUS_REFUSED || given >= taken))
            return explain(&cargo->events[*passed], delivery, error);
        if (!note_aside(cargo, *passed, delivery, aside))
            return err_memory();
        given += !held;
    }
    return ERR_NONE;
}
