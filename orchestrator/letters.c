/* letters.c - see letters.h. */
#include "orchestrator/letters.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"

enum { TRIED_TOGETHER = 100, QUERY_MS = 10000 };

bool letters_add(json_t *aside, const struct event *event, int64_t attempts,
                 const char *reason)
{
    return json_array_append_new(aside,
                                 json_pack("{s:I, s:I, s:s}", "position",
                                           (json_int_t)event->position, "attempts",
                                           (json_int_t)attempts, "reason", reason)) == 0;
}

/* ---- trying ------------------------------------------------------------------------ */

/* The first of each order, so that no two of one order are given together. */
static const char NEXT[] =
    "SELECT " EVENT_COLUMNS "FROM orders.dead_letters e "
    "WHERE e.next_at <= now() AND " LETTER_FIRST("e") " ORDER BY e.position LIMIT $1";

struct retry {
    struct bus_nats *nats;
    struct err bus;
    json_t *results; /* [{position, stored, reason}] of those that were answered */
};

static struct err add_result(struct retry *retry, const struct event *event,
                             const struct bus_delivery *delivery)
{
    bool stored = bus_stored(delivery);

    if (!stored && delivery->answer != BUS_REFUSED)
        return ERR_NONE;
    if (stored)
        log_info("event_taken", "order=%s event_id=%s position=%" PRId64, event->order_id,
                 event->id, event->position);
    json_t *result = json_pack("{s:I, s:b, s:s}", "position", (json_int_t)event->position,
                               "stored", stored, "reason", delivery->reason);
    return json_array_append_new(retry->results, result) == 0 ? ERR_NONE : err_memory();
}

static struct err give(struct retry *retry, struct event *events,
                       struct bus_delivery *deliveries, const struct db_rows *rows)
{
    size_t count = 0;

    for (int i = 0; i < rows->count; i++)
        count += !failed(event_read(rows, i, 0, &events[count])); /* else it is logged */
    struct err e = bus_nats_publish(retry->nats, events, count, deliveries);
    for (size_t i = 0; i < count; i++) {
        struct err added = add_result(retry, &events[i], &deliveries[i]);
        if (failed(added))
            return added;
    }
    return e;
}

static void on_due(void *arg, const struct db_rows *rows)
{
    struct retry *retry = arg;
    struct event *events = calloc((size_t)rows->count + 1, sizeof *events);
    struct bus_delivery *deliveries = calloc((size_t)rows->count + 1, sizeof *deliveries);

    if (events == NULL || deliveries == NULL || retry->results == NULL)
        retry->bus = err_memory();
    else if (rows->count > 0)
        retry->bus = give(retry, events, deliveries, rows);
    free(deliveries);
    free(events);
}

/* ---- noting what became of them ---------------------------------------------------- */

/* $1 the results, $2 how often one is tried. */
static const char SETTLE[] =
    "WITH r AS ("
    "    SELECT * FROM jsonb_to_recordset($1::text::jsonb)"
    "        AS r(position bigint, stored boolean, reason text)"
    "), gone AS ("
    "    DELETE FROM orders.dead_letters d USING r"
    "    WHERE d.position = r.position AND r.stored RETURNING d.position"
    "), noted AS ("
    "    UPDATE orders.outbox o SET published_at = now() FROM gone g"
    "    WHERE o.position = g.position"
    ")"
    "UPDATE orders.dead_letters d SET attempts = d.attempts + 1, reason = r.reason,"
    "    next_at = CASE WHEN d.attempts + 1 < $2"
    "                   THEN now() + least(power(2, d.attempts), 300) * interval '1 s' END "
    "FROM r WHERE d.position = r.position AND NOT r.stored "
    "RETURNING d.order_id, d.order_id || '.' || d.sequence, d.position, d.attempts, d.reason,"
    "    d.next_at IS NULL,"
    "    (SELECT c.request_id FROM orders.checkouts c WHERE c.order_id = d.order_id)";

/* The request is that of the checkout, until that is pruned. */
static void tell_dead(const struct db_rows *rows, int row)
{
    struct log_record line;

    if (!log_begin_limited(&line, LOG_ERROR, "event_dead"))
        return;
    log_subject(&line, db_text(rows, row, 6), db_text(rows, row, 0));
    log_pair(&line, "event_id", db_text(rows, row, 1));
    log_pair_number(&line, "position", db_number(rows, row, 2));
    log_pair_number(&line, "attempts", db_number(rows, row, 3));
    log_pair(&line, "reason", db_text(rows, row, 4));
    log_pair(&line, "note", "checkoutctl events dead");
    log_end(&line);
}

static void on_settled(void *arg, const struct db_rows *rows)
{
    (void)arg;
    for (int i = 0; i < rows->count; i++)
        if (db_bool(rows, i, 5))
            tell_dead(rows, i);
}

static struct err settle(struct db_session *connection, const json_t *results,
                         int64_t attempts_most)
{
    char *text = json_dumps(results, JSON_COMPACT);

    if (text == NULL)
        return err_memory();
    const struct db_query query = {.name = "settle",
                                   .types = "ti",
                                   .rows = "*ttiitbT",
                                   .sql = SETTLE,
                                   .values = {db_t(text), db_i(attempts_most)},
                                   .deadline_ms = clock_monotonic_ms() + QUERY_MS};
    struct err e = db_session_run(connection, &query, true, on_settled, NULL);
    free(text);
    return e;
}

struct err letters_retry(struct db_session *connection, struct bus_nats *nats,
                         int64_t attempts_most, struct err *bus)
{
    struct retry retry = {.nats = nats, .results = json_array()};
    const struct db_query query = {.name = "next_letters",
                                   .types = "i",
                                   .rows = "*" EVENT_SHAPE,
                                   .sql = NEXT,
                                   .values = {db_i(TRIED_TOGETHER)},
                                   .deadline_ms = clock_monotonic_ms() + QUERY_MS};
    struct err e = db_session_run(connection, &query, false, on_due, &retry);

    if (!failed(e) && json_array_size(retry.results) > 0)
        e = settle(connection, retry.results, attempts_most);
    json_decref(retry.results);
    *bus = retry.bus;
    return e;
}
