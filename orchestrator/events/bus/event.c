/* event.c - see event.h. */
#include "orchestrator/events/bus/event.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"

/*
 * Nothing here needs escaping: ids are ULIDs, the type is one of our constants,
 * claim stores only a well-formed traceparent, and the payload is already JSON.
 * `sequence` is a text that sorts, as the extension requires.
 */
/* clang-format off */
#define FORMAT                                                                           \
    "{\"specversion\":\"1.0\",\"id\":\"%s\",\"source\":\"/checkout/orders\","            \
    "\"type\":\"%s\",\"subject\":\"%s\",\"time\":\"%s\",\"sequence\":\"%010" PRId64 "\"," \
    "%s%s%s\"datacontenttype\":\"application/json\",\"data\":%s}"
/* clang-format on */

static void log_damaged(const struct db_rows *rows, int row, int first,
                        const struct err *e)
{
    struct log_record line;

    if (!log_begin(&line, LOG_ERROR, "event_damaged"))
        return;
    log_subject(&line, NULL, db_text(rows, row, first + 1));
    log_pair_number(&line, "position", db_number(rows, row, first));
    log_pair(&line, "error", e->message);
    log_end(&line);
}

struct err event_read(const struct db_rows *rows, int row, int first, struct event *out)
{
    struct err e = db_row_check(rows, row, first, EVENT_SHAPE);

    if (failed(e)) {
        log_damaged(rows, row, first, &e);
        return e;
    }
    *out = (struct event){
        .position = db_number(rows, row, first),
        .order_id = db_text(rows, row, first + 1),
        .sequence = db_number(rows, row, first + 2),
        .type = db_text(rows, row, first + 3),
        .payload = db_text(rows, row, first + 4),
        .time = db_text(rows, row, first + 5),
        .traceparent = db_text(rows, row, first + 6),
        .created_at_ms = db_number(rows, row, first + 7),
    };
    snprintf(out->id, sizeof out->id, "%s.%" PRId64, out->order_id, out->sequence);
    return ERR_NONE;
}

static int print(const struct event *e, char *out, size_t size)
{
    bool traced = e->traceparent[0] != '\0';

    return snprintf(out, size, FORMAT, e->id, e->type, e->order_id, e->time, e->sequence,
                    traced ? "\"traceparent\":\"" : "", e->traceparent,
                    traced ? "\"," : "", e->payload);
}

size_t event_json_size(const struct event *event)
{
    return (size_t)print(event, NULL, 0);
}

void event_json(const struct event *event, char *out, size_t size)
{
    print(event, out, size);
}
