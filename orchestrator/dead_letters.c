/* dead_letters.c - see dead_letters.h. */
#include "orchestrator/dead_letters.h"

#include <string.h>

#include "base/log.h"

/* An operation or query under way: in the request's arena. */
struct asking {
    struct db_op op;
    struct db_query query;
    struct request_context ctx;
    const char *id, *caller;
    int64_t limit; /* of a page from new to old */
};

static struct asking *begin(const struct request_context *ctx, const char *id)
{
    struct asking *asking = arena_alloc(ctx->arena, sizeof *asking);

    if (asking == NULL) {
        ctx->done(ctx->arg, err_memory(), NULL);
        return NULL;
    }
    *asking = (struct asking){.ctx = *ctx, .id = id};
    return asking;
}

static void submit(struct asking *asking, struct db *db, const struct db_kind *kind,
                   db_done *done)
{
    asking->op = (struct db_op){.kind = kind,
                                .head = {db_t(asking->id)},
                                .deadline_ms = asking->ctx.deadline_ms,
                                .request = asking->ctx.request,
                                .done = done,
                                .arg = asking};
    db_submit(db, &asking->op);
}

static void finish(const struct asking *asking, struct err error,
                   const ProtobufCMessage *reply)
{
    asking->ctx.done(asking->ctx.arg, error, failed(error) ? NULL : reply);
}

#define ID_OF(d) d ".order_id || '.' || " d ".sequence"

/* ---- list -------------------------------------------------------------------------- */

#define MS_OF(time) "coalesce((extract(epoch FROM " time ") * 1000)::bigint, 0)"

#define LETTER                                                                            \
    "SELECT d.position, " ID_OF("d") ", d.type, d.order_id, " MS_OF(                      \
        "d.created_at") ","                                                               \
                        "       d.attempts, d.reason, " MS_OF("d.refused_at") ", " MS_OF( \
                            "d.next_at") " "                                              \
                                         "FROM orders.dead_letters d "
#define LETTER_SHAPE "*itttiitii"

static const char LIST[] = LETTER "WHERE d.position > $1 ORDER BY d.position LIMIT $2";

/* One more than the page has, which tells that there is a next one.  They are few. */
static const char NEWEST[] = LETTER
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
    struct arena *arena = asking->ctx.arena;
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
    finish(asking, error, &reply.base);
}

static void ask(struct db *db, struct asking *asking, struct db_query query)
{
    asking->query = query;
    asking->query.deadline_ms = asking->ctx.deadline_ms;
    asking->query.request = asking->ctx.request;
    asking->query.done = on_listed;
    asking->query.arg = asking;
    db_read(db, &asking->query);
}

void dead_letters_list(struct db *db, const struct request_context *ctx,
                       const Events__V1__ListDeadLettersRequest *request)
{
    struct asking *asking = begin(ctx, NULL);

    if (asking == NULL)
        return;
    if (!request->newest_first) {
        ask(db, asking,
            (struct db_query){.name = "dead_letters",
                              .types = "ii",
                              .rows = LETTER_SHAPE,
                              .sql = LIST,
                              .values = {db_i(request->after), db_i(request->limit)}});
        return;
    }
    asking->limit = request->limit;
    ask(db, asking,
        (struct db_query){.name = "newest_dead_letters",
                          .types = "iittiii",
                          .rows = LETTER_SHAPE,
                          .sql = NEWEST,
                          .values = {db_i(request->before), db_i(request->limit),
                                     db_t(request->order_id), db_t(request->user_id),
                                     db_i(request->state), db_i(request->since_ms),
                                     db_i(request->until_ms)}});
}

/* ---- resend ------------------------------------------------------------------------ */

/* The dead letter `d` is asked for by `a`: all are, it is, or it stands before that one. */
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
    finish(asking, error, &reply.base);
}

void dead_letters_resend(struct db *db, const struct request_context *ctx,
                         const Events__V1__ResendDeadLettersRequest *request)
{
    struct asking *asking = begin(ctx, request->id);

    if (asking != NULL)
        submit(asking, db, &DEAD_LETTERS_RESEND, on_resent);
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
                 asking->ctx.request, (int)strcspn(asking->id, "."), asking->id,
                 asking->id, asking->caller);
    finish(asking, error, &REPLY.base);
}

void dead_letters_drop(struct db *db, const struct request_context *ctx,
                       const char *caller,
                       const Events__V1__DropDeadLetterRequest *request)
{
    struct asking *asking = begin(ctx, request->id);

    if (asking == NULL)
        return;
    asking->caller = caller;
    submit(asking, db, &DEAD_LETTERS_DROP, on_dropped);
}
