/* dead_letters.c - see dead_letters.h. */
#include "orchestrator/events/dead_letters.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "orchestrator/events/leader.h"
#include "orchestrator/store/operation.h"

enum { RETRIED_TOGETHER = 100 };

bool dead_letters_add(json_t *refused, const struct event *event, int64_t attempts,
                      const char *reason)
{
    return json_array_append_new(refused,
                                 json_pack("{s:I, s:I, s:s}", "position",
                                           (json_int_t)event->position, "attempts",
                                           (json_int_t)attempts, "reason", reason)) == 0;
}

/* ---- publishing again --------------------------------------------------------------- */

/* Only the first of each order, so that no two of one order are published together. */
static const char NEXT[] = "SELECT " EVENT_COLUMNS "FROM orders.dead_letters e "
                           "WHERE e.next_at <= now() AND " DEAD_LETTER_FIRST(
                               "e") " ORDER BY e.position LIMIT $1";

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
        log_info("event_redelivered", "order=%s event_id=%s position=%" PRId64,
                 event->order_id, event->id, event->position);
    json_t *result = json_pack("{s:I, s:b, s:s}", "position", (json_int_t)event->position,
                               "stored", stored, "reason", delivery->reason);
    return json_array_append_new(retry->results, result) == 0 ? ERR_NONE : err_memory();
}

static struct err publish(struct retry *retry, struct event *events,
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
        retry->bus = publish(retry, events, deliveries, rows);
    free(deliveries);
    free(events);
}

/* ---- recording the results ---------------------------------------------------------- */

/* $1 the results, $2 how many attempts there are. */
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

/* Logs the checkout's request id, unless the checkout was pruned. */
static void log_given_up(const struct db_rows *rows, int row)
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
            log_given_up(rows, i);
}

static struct err settle(struct db_session *connection, const json_t *results,
                         int64_t attempts_most)
{
    char *text = json_dumps(results, JSON_COMPACT);

    if (text == NULL)
        return err_memory();
    struct db_query query = leader_query("settle", "ti", "*ttiitbT", SETTLE);
    query.values[0] = db_t(text);
    query.values[1] = db_i(attempts_most);
    struct err e = db_session_run(connection, &query, true, on_settled, NULL);
    free(text);
    return e;
}

struct err dead_letters_retry(struct db_session *connection, struct bus_nats *nats,
                              int64_t attempts_most, struct err *bus)
{
    struct retry retry = {.nats = nats, .results = json_array()};
    struct db_query query = leader_query("next_letters", "i", "*" EVENT_SHAPE, NEXT);
    query.values[0] = db_i(RETRIED_TOGETHER);
    struct err e = db_session_run(connection, &query, false, on_due, &retry);

    if (!failed(e) && json_array_size(retry.results) > 0)
        e = settle(connection, retry.results, attempts_most);
    json_decref(retry.results);
    *bus = retry.bus;
    return e;
}

/* ---- for operators: list ------------------------------------------------------------- */

/* A request under way: in its arena. */
struct asking {
    struct operation base;
    const char *id, *caller;
    int64_t limit; /* of a page from new to old */
};

static void submit(struct db *db, const struct request_context *ctx, const char *id,
                   const char *caller, const struct db_kind *kind, db_done *done)
{
    struct asking *asking = operation_new(db, ctx, sizeof *asking);

    if (asking == NULL)
        return;
    asking->id = id;
    asking->caller = caller;
    operation_write(&asking->base, (struct db_op){.kind = kind, .head = {db_t(id)}},
                    done);
}

#define ID_OF(d) d ".order_id || '.' || " d ".sequence"

#define MS_OF(time) "coalesce((extract(epoch FROM " time ") * 1000)::bigint, 0)"

/* clang-format off */
#define SELECT_LETTERS                                                                   \
    "SELECT d.position, " ID_OF("d") ", d.type, d.order_id, " MS_OF("d.created_at") ","  \
    "       d.attempts, d.reason, " MS_OF("d.refused_at") ", " MS_OF("d.next_at") " "    \
    "FROM orders.dead_letters d "
/* clang-format on */
#define LETTER_SHAPE "*itttiitii"

static const char LIST[] =
    SELECT_LETTERS "WHERE d.position > $1 ORDER BY d.position LIMIT $2";

/* Reads one row more than the page, to see if there is a next page.  The table is
 * small. */
static const char NEWEST[] = SELECT_LETTERS
    "WHERE ($1 = 0 OR d.position < $1) AND ($3 = '' OR d.order_id = $3)"
    "  AND ($4 = '' OR d.payload ->> 'user_id' = $4)"
    "  AND ($5 = 0 OR $5 = CASE WHEN d.attempts = 0 THEN 3 WHEN d.next_at IS NULL THEN 2"
    "                           ELSE 1 END)"
    "  AND d.created_at >= 'epoch'::timestamptz + $6 * interval '1 ms'"
    "  AND ($7 = 0 OR d.created_at < 'epoch'::timestamptz + $7 * interval '1 ms') "
    "ORDER BY d.position DESC LIMIT $2 + 1";
_Static_assert(EVENTS__V1__DEAD_LETTER_STATE__TRIED == 1 &&
                   EVENTS__V1__DEAD_LETTER_STATE__GIVEN_UP == 2 &&
                   EVENTS__V1__DEAD_LETTER_STATE__WAITING == 3,
               "as NEWEST says");

static Events__V1__DeadLetter *make_letter(struct arena *arena,
                                           const struct db_rows *rows, int row)
{
    Events__V1__DeadLetter *letter = arena_alloc(arena, sizeof *letter);

    if (letter == NULL)
        return NULL;
    events__v1__dead_letter__init(letter);
    letter->position = db_number(rows, row, 0);
    letter->id = (char *)db_text(rows, row, 1); /* borrowed: packed while rows live */
    letter->type = (char *)db_text(rows, row, 2);
    letter->order_id = (char *)db_text(rows, row, 3);
    letter->created_at_ms = db_number(rows, row, 4);
    letter->attempts = db_number(rows, row, 5);
    letter->reason = (char *)db_text(rows, row, 6);
    letter->refused_at_ms = db_number(rows, row, 7);
    letter->next_attempt_ms = db_number(rows, row, 8);
    return letter;
}

static void on_listed(void *arg, struct err error, const struct db_rows *rows)
{
    struct asking *asking = arg;
    struct arena *arena = asking->base.ctx.arena;
    Events__V1__ListDeadLettersReply reply = EVENTS__V1__LIST_DEAD_LETTERS_REPLY__INIT;

    if (!failed(error)) {
        reply.letters =
            arena_alloc(arena, ((size_t)rows->count + 1) * sizeof *reply.letters);
        error = reply.letters == NULL ? err_memory() : ERR_NONE;
    }
    for (int i = 0; !failed(error) && i < rows->count; i++) {
        if (asking->limit > 0 && i == asking->limit) { /* the first of the next page */
            reply.next_before = reply.letters[i - 1]->position;
            break;
        }
        reply.letters[i] = make_letter(arena, rows, i);
        if (reply.letters[i] == NULL)
            error = err_memory();
        else
            reply.n_letters++;
    }
    operation_finish(&asking->base, error, &reply.base);
}

void dead_letters_list(struct db *db, const struct request_context *ctx,
                       const Events__V1__ListDeadLettersRequest *in)
{
    struct asking *asking = operation_new(db, ctx, sizeof *asking);
    struct db_query query = {.name = "dead_letters",
                             .types = "ii",
                             .rows = LETTER_SHAPE,
                             .sql = LIST,
                             .values = {db_i(in->after), db_i(in->limit)}};

    if (asking == NULL)
        return;
    if (in->newest_first) {
        asking->limit = in->limit;
        query = (struct db_query){.name = "newest_dead_letters",
                                  .types = "iittiii",
                                  .rows = LETTER_SHAPE,
                                  .sql = NEWEST,
                                  .values = {db_i(in->before), db_i(in->limit),
                                             db_t(in->order_id), db_t(in->user_id),
                                             db_i(in->state), db_i(in->since_ms),
                                             db_i(in->until_ms)}};
    }
    operation_read(&asking->base, query, on_listed);
}

/* ---- resend ------------------------------------------------------------------------ */

/* Whether request `a` selects `d`: all, `d` itself, or a later dead letter of the same
 * order. */
#define ASKED                                                                            \
    "(a.id = '' OR EXISTS (SELECT FROM orders.dead_letters w"                            \
    " WHERE w.order_id = d.order_id AND w.sequence >= d.sequence"                        \
    " AND " ID_OF("w") " = a.id))"

const struct db_kind DEAD_LETTERS_RESEND = {
    .name = "resend_dead_letters",
    .head = "t", /* the event's id, or "" for all */
    .write = "UPDATE orders.dead_letters d SET attempts = 0, next_at = now() "
             "FROM (SELECT DISTINCT id FROM unnest($1) AS u(id)) a WHERE " ASKED,
    .answer = "SELECT a.ordinal, (SELECT count(*) FROM orders.dead_letters d WHERE " ASKED
              ") FROM unnest($1) WITH ORDINALITY AS a(id, ordinal) ORDER BY a.ordinal",
    .rows = "+ii",
};

static void on_resent(void *arg, struct err error, const struct db_rows *rows)
{
    struct asking *asking = arg;
    Events__V1__ResendDeadLettersReply reply =
        EVENTS__V1__RESEND_DEAD_LETTERS_REPLY__INIT;

    if (!failed(error) && rows->count > 0)
        reply.count = db_number(rows, 0, 1);
    operation_finish(&asking->base, error, &reply.base);
}

void dead_letters_resend(struct db *db, const struct request_context *ctx,
                         const Events__V1__ResendDeadLettersRequest *request)
{
    submit(db, ctx, request->id, NULL, &DEAD_LETTERS_RESEND, on_resent);
}

/* ---- drop -------------------------------------------------------------------------- */

const struct db_kind DEAD_LETTERS_DROP = {
    .name = "drop_dead_letter",
    .head = "t", /* the event's id */
    .write = "DELETE FROM orders.dead_letters d USING unnest($1) AS a(id) "
             "WHERE " ID_OF("d") " = a.id",
};

static void on_dropped(void *arg, struct err error, const struct db_rows *rows)
{
    static const Events__V1__DropDeadLetterReply REPLY =
        EVENTS__V1__DROP_DEAD_LETTER_REPLY__INIT;
    struct asking *asking = arg;

    (void)rows;
    if (!failed(error))
        log_warn("dead_letter_dropped", "request=%s order=%.*s event_id=%s caller=%s",
                 asking->base.ctx.request, (int)strcspn(asking->id, "."), asking->id,
                 asking->id, asking->caller);
    operation_finish(&asking->base, error, &REPLY.base);
}

void dead_letters_drop(struct db *db, const struct request_context *ctx,
                       const char *caller,
                       const Events__V1__DropDeadLetterRequest *request)
{
    submit(db, ctx, request->id, caller, &DEAD_LETTERS_DROP, on_dropped);
}
