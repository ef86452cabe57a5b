/* dead_letters.c - see dead_letters.h. */
#include "orchestrator/dead_letters.h"

#include "base/log.h"

/* An operation or query under way: in the scope's arena. */
struct asking {
    struct db_op op;
    struct db_query query;
    struct scope scope;
    const char *id, *caller;
};

static struct asking *begin(const struct scope *scope, const char *id)
{
    struct asking *asking = arena_alloc(scope->arena, sizeof *asking);

    if (asking == NULL) {
        scope->done(scope->arg, err_memory(), NULL);
        return NULL;
    }
    *asking = (struct asking){.scope = *scope, .id = id};
    return asking;
}

static void submit(struct asking *asking, struct db *db, const struct db_kind *kind,
                   db_done *done)
{
    asking->op = (struct db_op){.kind = kind,
                                .head = {db_t(asking->id)},
                                .deadline_ms = asking->scope.deadline_ms,
                                .done = done,
                                .arg = asking};
    db_submit(db, &asking->op);
}

static void finish(const struct asking *asking, struct err error,
                   const ProtobufCMessage *reply)
{
    asking->scope.done(asking->scope.arg, error, failed(error) ? NULL : reply);
}

#define ID_OF(d) d ".order_id || '.' || " d ".sequence"

/* ---- list -------------------------------------------------------------------------- */

#define MS_OF(time) "coalesce((extract(epoch FROM " time ") * 1000)::bigint, 0)"

static const char LIST[] = "SELECT d.position, " ID_OF("d") ", d.type, d.order_id, " MS_OF(
    "d.created_at") ","
                    "       d.attempts, d.reason, " MS_OF("d.refused_at") ", " MS_OF(
                        "d.next_at") " "
                                     "FROM orders.dead_letters d WHERE d.position > $1 ORDER BY d.position LIMIT $2";

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
    struct arena *arena = asking->scope.arena;
    Events__V1__ListDeadLettersReply reply = EVENTS__V1__LIST_DEAD_LETTERS_REPLY__INIT;

    if (!failed(error)) {
        reply.letters =
            arena_alloc(arena, ((size_t)rows->count + 1) * sizeof *reply.letters);
        error = reply.letters == NULL ? err_memory() : ERR_NONE;
    }
    for (int i = 0; !failed(error) && i < rows->count; i++) {
        reply.letters[i] = make_letter(arena, rows, i);
        if (reply.letters[i] == NULL)
            error = err_memory();
        else
            reply.n_letters++;
    }
    finish(asking, error, &reply.base);
}

void dead_letters_list(struct db *db, const struct scope *scope,
                       const Events__V1__ListDeadLettersRequest *request)
{
    struct asking *asking = begin(scope, NULL);

    if (asking == NULL)
        return;
    asking->query =
        (struct db_query){.name = "dead_letters",
                          .types = "ii",
                          .rows = "*itttiitii",
                          .sql = LIST,
                          .values = {db_i(request->after), db_i(request->limit)},
                          .deadline_ms = scope->deadline_ms,
                          .done = on_listed,
                          .arg = asking};
    db_read(db, &asking->query);
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

void dead_letters_resend(struct db *db, const struct scope *scope,
                         const Events__V1__ResendDeadLettersRequest *request)
{
    struct asking *asking = begin(scope, request->id);

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
        log_warn("dead_letter_dropped", "event_id=%s caller=%s", asking->id, asking->caller);
    finish(asking, error, &REPLY.base);
}

void dead_letters_drop(struct db *db, const struct scope *scope, const char *caller,
                       const Events__V1__DropDeadLetterRequest *request)
{
    struct asking *asking = begin(scope, request->id);

    if (asking == NULL)
        return;
    asking->caller = caller;
    submit(asking, db, &DEAD_LETTERS_DROP, on_dropped);
}
