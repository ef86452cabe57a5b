/*
 * event.h - an event as consumers get it: one CloudEvent, the same bytes on every path.
 *
 * https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md ;
 * docs/events.md has its fields.  No card data, no token: the payload is made in one place,
 * the persist of checkouts.c, and holds neither.
 */
#pragma once

#include <stddef.h>

#include "db/db.h"

/* What an event's row is read as; EVENT_COLUMNS of a table called `e`. */
#define EVENT_COLUMNS                                                                    \
    "e.position, e.order_id, e.sequence, e.type, e.payload::text,"                       \
    " to_char(e.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'),"    \
    " coalesce(e.traceparent, ''), (extract(epoch FROM e.created_at) * 1000)::bigint "

/* Their shapes (db.h): of an event, and of an optional one.  event_read checks. */
#define EVENT_SHAPE       "ititttti"
#define EVENT_SHAPE_MAYBE "ITITTTTI"

enum {
    EVENT_ID_SIZE = 48,
    /* Bytes of any event's event_json, with the headers that a bus adds.  An order of
     * LINES_MAX lines of the longest SKUs and titles, all quotation marks, has 55,000. */
    EVENT_SIZE_MAX = 65536,
};

/* Texts are borrowed from the rows. */
struct event {
    int64_t position;
    const char *order_id;
    int64_t sequence;
    const char *type, *payload, *time, *traceparent;
    int64_t created_at_ms;
    char id[EVENT_ID_SIZE]; /* the order's id, a dot, the sequence: never changes */
};

/* Reads EVENT_COLUMNS that begin at column `first`; DATA_LOSS, logged, for a damaged row. */
struct err event_read(const struct db_rows *rows, int row, int first, struct event *out)
    __attribute__((warn_unused_result));

/* Bytes of event_json, without the NUL. */
size_t event_json_size(const struct event *event);

/* Writes the CloudEvent, and a NUL, into event_json_size + 1 bytes. */
void event_json(const struct event *event, char *out, size_t size);
