/* cursors.c - see cursors.h. */
#include "orchestrator/events/cursors.h"

#include <inttypes.h>

#include "orchestrator/store/operation.h"

/* A request under way: in its arena. */
struct asking {
    struct operation base;
    int64_t position;
    bool has_bus;
};

/* Writes with `op`; `position` is what the request asks for. */
static void submit(struct db *db, const struct request_context *ctx, int64_t position,
                   struct db_op op, db_done *done)
{
    struct asking *asking = operation_new(db, ctx, sizeof *asking);

    if (asking == NULL)
        return;
    asking->position = position;
    operation_write(&asking->base, op, done);
}

/* ---- commit ------------------------------------------------------------------------ */

const struct db_kind CURSORS_COMMIT = {
    .name = "commit_cursor",
    .head = "tti", /* caller, cursor, position */
    .write = "INSERT INTO orders.cursors (caller, name, position)"
             "SELECT a.caller, a.name, max(a.position)"
             "FROM unnest($1, $2, $3) AS a(caller, name, position), orders.relay r "
             "WHERE a.position <= r.placed "
             "GROUP BY a.caller, a.name ORDER BY a.caller, a.name "
             "ON CONFLICT (caller, name) DO UPDATE"
             "    SET position = greatest(cursors.position, excluded.position),"
             "        committed_at = now()",
    .rows = "+iIi",
    .answer = "SELECT a.ordinal, c.position, r.placed "
              "FROM unnest($1, $2) WITH ORDINALITY AS a(caller, name, ordinal) "
              "CROSS JOIN orders.relay r "
              "LEFT JOIN orders.cursors c ON c.caller = a.caller AND c.name = a.name "
              "ORDER BY a.ordinal",
};

static void on_committed(void *arg, struct err error, const struct db_rows *rows)
{
    struct asking *asking = arg;
    Events__V1__CommitReply reply = EVENTS__V1__COMMIT_REPLY__INIT;

    if (!failed(error) && asking->position > db_number(rows, 0, 2))
        error =
            err_make(ERR_OUT_OF_RANGE,
                     "Position %" PRId64 " was not given yet; the newest is %" PRId64 ".",
                     asking->position, db_number(rows, 0, 2));
    if (!failed(error))
        reply.position = db_number(rows, 0, 1);
    operation_finish(&asking->base, error, &reply.base);
}

void cursors_commit(struct db *db, const struct request_context *ctx, const char *caller,
                    const Events__V1__CommitRequest *request)
{
    submit(db, ctx, request->position,
           (struct db_op){
               .kind = &CURSORS_COMMIT,
               .head = {db_t(caller), db_t(request->cursor), db_i(request->position)}},
           on_committed);
}

/* ---- replay ------------------------------------------------------------------------ */

/* If it runs twice, the mark moves back twice: some events are published again. */
const struct db_kind CURSORS_REPLAY = {
    .name = "replay",
    .head = "i", /* from */
    .write = "UPDATE orders.relay r SET published = f.published "
             "FROM (SELECT min(a.start) - 1 AS published"
             "      FROM unnest($1) AS a(start), orders.relay k"
             "      WHERE a.start > k.pruned AND a.start <= k.placed) f "
             "WHERE f.published < r.published",
    .rows = "+iii",
    .answer =
        "SELECT a.ordinal, r.pruned, r.placed "
        "FROM unnest($1) WITH ORDINALITY AS a(start, ordinal) CROSS JOIN orders.relay r "
        "ORDER BY a.ordinal",
};

static void on_replayed(void *arg, struct err error, const struct db_rows *rows)
{
    struct asking *asking = arg;
    Events__V1__ReplayReply reply = EVENTS__V1__REPLAY_REPLY__INIT;

    if (!failed(error) && (asking->position <= db_number(rows, 0, 1) ||
                           asking->position > db_number(rows, 0, 2)))
        error = err_make(
            ERR_OUT_OF_RANGE,
            "Positions from %" PRId64 " to %" PRId64 " can be replayed, not %" PRId64 ".",
            db_number(rows, 0, 1) + 1, db_number(rows, 0, 2), asking->position);
    if (!failed(error))
        reply.count = db_number(rows, 0, 2) - asking->position + 1;
    operation_finish(&asking->base, error, &reply.base);
}

void cursors_replay(struct db *db, const struct request_context *ctx,
                    const Events__V1__ReplayRequest *request)
{
    submit(db, ctx, request->from,
           (struct db_op){.kind = &CURSORS_REPLAY, .head = {db_i(request->from)}},
           on_replayed);
}

/* ---- for operators ----------------------------------------------------------------- */

const struct db_kind CURSORS_RESET = {
    .name = "reset_cursor",
    .head = "tti", /* caller, cursor, position */
    .write = "UPDATE orders.cursors c SET position = a.position, committed_at = now() "
             "FROM (SELECT DISTINCT ON (caller, name) caller, name, position"
             "      FROM unnest($1, $2, $3) WITH ORDINALITY"
             "          AS a(caller, name, position, ordinal), orders.relay r"
             "      WHERE position >= r.pruned AND position <= r.placed"
             "      ORDER BY caller, name, ordinal DESC) a "
             "WHERE c.caller = a.caller AND c.name = a.name",
    .rows = "+ibii",
    .answer = "SELECT a.ordinal, c.position IS NOT NULL, r.pruned, r.placed "
              "FROM unnest($1, $2) WITH ORDINALITY AS a(caller, name, ordinal) "
              "CROSS JOIN orders.relay r "
              "LEFT JOIN orders.cursors c ON c.caller = a.caller AND c.name = a.name "
              "ORDER BY a.ordinal",
};

static void on_reset(void *arg, struct err error, const struct db_rows *rows)
{
    static const Events__V1__ResetCursorReply REPLY =
        EVENTS__V1__RESET_CURSOR_REPLY__INIT;
    struct asking *asking = arg;

    if (!failed(error) && !db_bool(rows, 0, 1))
        error = err_make(ERR_NOT_FOUND, "There is no such cursor of that caller.");
    if (!failed(error) && (asking->position < db_number(rows, 0, 2) ||
                           asking->position > db_number(rows, 0, 3)))
        error =
            err_make(ERR_OUT_OF_RANGE,
                     "A cursor can be at %" PRId64 " to %" PRId64 ", not %" PRId64 ".",
                     db_number(rows, 0, 2), db_number(rows, 0, 3), asking->position);
    operation_finish(&asking->base, error, &REPLY.base);
}

void cursors_reset(struct db *db, const struct request_context *ctx,
                   const Events__V1__ResetCursorRequest *request)
{
    submit(db, ctx, request->position,
           (struct db_op){.kind = &CURSORS_RESET,
                          .head = {db_t(request->caller), db_t(request->cursor),
                                   db_i(request->position)}},
           on_reset);
}

const struct db_kind CURSORS_DELETE = {
    .name = "delete_cursor",
    .head = "tt", /* caller, cursor */
    .write = "DELETE FROM orders.cursors c USING unnest($1, $2) AS a(caller, name) "
             "WHERE c.caller = a.caller AND c.name = a.name",
};

static void on_deleted(void *arg, struct err error, const struct db_rows *rows)
{
    static const Events__V1__DeleteCursorReply REPLY =
        EVENTS__V1__DELETE_CURSOR_REPLY__INIT;

    (void)rows;
    operation_finish(arg, error, &REPLY.base);
}

void cursors_delete(struct db *db, const struct request_context *ctx,
                    const Events__V1__DeleteCursorRequest *request)
{
    submit(db, ctx, 0,
           (struct db_op){.kind = &CURSORS_DELETE,
                          .head = {db_t(request->caller), db_t(request->cursor)}},
           on_deleted);
}

/* ---- lag --------------------------------------------------------------------------- */

#define AGE_OF(of) "coalesce((extract(epoch FROM now() - " of ") * 1000)::bigint, 0)"

/* clang-format off */
static const char LAG[] =
    "SELECT r.placed, r.published, r.pruned,"
    "       (SELECT count(*) FROM (SELECT FROM orders.outbox WHERE position IS NULL"
    "                              LIMIT 1000000) q),"
    "       " AGE_OF("(SELECT created_at FROM orders.outbox WHERE position IS NULL"
    "                  ORDER BY id LIMIT 1)") ","
    "       " AGE_OF("(SELECT created_at FROM orders.outbox e"
    "                  WHERE e.position = r.published + 1)") ","
    "       coalesce(r.holder, ''),"
    "       coalesce((extract(epoch FROM r.held_since) * 1000)::bigint, 0),"
    "       c.caller, c.name, c.position, r.placed - c.position,"
    "       (extract(epoch FROM c.committed_at) * 1000)::bigint, l.dead, l.waiting "
    "FROM orders.relay r LEFT JOIN orders.cursors c ON true "
    "CROSS JOIN (SELECT count(*) FILTER (WHERE next_at IS NULL) AS dead,"
    "                   count(next_at) AS waiting FROM orders.dead_letters) l "
    "ORDER BY c.caller, c.name LIMIT 1000";
/* clang-format on */

enum {
    COLUMN_PLACED,
    COLUMN_PUBLISHED,
    COLUMN_PRUNED,
    COLUMN_UNPLACED,
    COLUMN_UNPLACED_AGE,
    COLUMN_UNPUBLISHED_AGE,
    COLUMN_HOLDER,
    COLUMN_HELD_SINCE,
    COLUMN_CALLER,
    COLUMN_NAME,
    COLUMN_POSITION,
    COLUMN_BEHIND,
    COLUMN_COMMITTED_AT,
    COLUMN_DEAD,
    COLUMN_WAITING,
};

static bool add_cursor(struct arena *arena, const struct db_rows *rows, int row,
                       Events__V1__GetLagReply *reply)
{
    Events__V1__Cursor *cursor = arena_alloc(arena, sizeof *cursor);

    if (cursor == NULL)
        return false;
    events__v1__cursor__init(cursor);
    cursor->caller = (char *)db_text(rows, row, COLUMN_CALLER);
    cursor->name = (char *)db_text(rows, row, COLUMN_NAME);
    cursor->position = db_number(rows, row, COLUMN_POSITION);
    cursor->behind = db_number(rows, row, COLUMN_BEHIND);
    cursor->committed_at_ms = db_number(rows, row, COLUMN_COMMITTED_AT);
    reply->cursors[reply->n_cursors++] = cursor;
    return true;
}

/* Without a bus the mark in the table says only what may be pruned. */
static void fill_bus(const struct db_rows *rows, bool has_bus,
                     Events__V1__GetLagReply *reply)
{
    reply->bus = has_bus;
    reply->dead_letters = db_number(rows, 0, COLUMN_DEAD);
    reply->waiting_letters = db_number(rows, 0, COLUMN_WAITING);
    if (!has_bus)
        return;
    reply->published = db_number(rows, 0, COLUMN_PUBLISHED);
    reply->unpublished = reply->placed - reply->published;
    reply->unpublished_ms = db_number(rows, 0, COLUMN_UNPUBLISHED_AGE);
}

static struct err fill_lag(struct arena *arena, const struct db_rows *rows,
                           Events__V1__GetLagReply *reply)
{
    reply->pruned = db_number(rows, 0, COLUMN_PRUNED);
    reply->unplaced = db_number(rows, 0, COLUMN_UNPLACED);
    reply->unplaced_ms = db_number(rows, 0, COLUMN_UNPLACED_AGE);
    reply->holder = (char *)db_text(rows, 0, COLUMN_HOLDER);
    reply->held_since_ms = db_number(rows, 0, COLUMN_HELD_SINCE);
    reply->cursors = arena_alloc(arena, (size_t)rows->count * sizeof *reply->cursors);
    if (reply->cursors == NULL)
        return err_memory();
    for (int i = 0; i < rows->count && db_text(rows, i, COLUMN_NAME) != NULL; i++)
        if (!add_cursor(arena, rows, i, reply))
            return err_memory();
    return ERR_NONE;
}

static void on_lag(void *arg, struct err error, const struct db_rows *rows)
{
    struct asking *asking = arg;
    Events__V1__GetLagReply reply = EVENTS__V1__GET_LAG_REPLY__INIT;

    if (!failed(error)) {
        reply.placed = db_number(rows, 0, COLUMN_PLACED);
        fill_bus(rows, asking->has_bus, &reply);
        error = fill_lag(asking->base.ctx.arena, rows, &reply);
    }
    operation_finish(&asking->base, error, &reply.base);
}

void cursors_lag(struct db *db, const struct request_context *ctx, bool has_bus)
{
    struct asking *asking = operation_new(db, ctx, sizeof *asking);

    if (asking == NULL)
        return;
    asking->has_bus = has_bus;
    operation_read(
        &asking->base,
        (struct db_query){
            .name = "events_lag", .types = "", .rows = "+iiiiiitiTTIIIii", .sql = LAG},
        on_lag);
}
