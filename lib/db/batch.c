/* batch.c - see batch.h. */
#include "db/batch.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cork.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "db/connection/sqlstate.h"

enum {
    PATIENCE_MS = 30000, /* above statement_timeout: then the server is considered dead */
    SYNC_MS = 250,       /* for the answer to the Sync when all others are there */
    PROBE_COMMIT_MS = 600000, /* the COMMIT of a probe */
    STOP_TICK_MS = 200,       /* how often stop() is called */
    MESSAGE_SIZE = 112,
    COLUMNS_MAX = DB_HEAD_MAX + 1 + DB_LINES_MAX,
};

/* One statement that was sent, in order, and where its answer belongs. */
enum sent_kind { SENT_OTHER, SENT_BACKEND, SENT_LOCK, SENT_ANSWER, SENT_COMMIT };

struct sent {
    enum sent_kind kind;
    size_t of_kind; /* index into config->kinds, for SENT_ANSWER */
};

struct attempt {
    struct batch *batch;
    const struct db_config *config;
    struct conn *conn;
    struct slot *slots;
    size_t count;
    struct sent sent[7 + 2 * DB_KINDS_MAX];
    size_t sent_count;
    PGresult **answers;
    char state[6];              /* SQLSTATE of the first error, or "" */
    bool in_lock;               /* it was the lock statement's */
    char message[MESSAGE_SIZE]; /* its message, for operators */
    bool answers_only;          /* the second round trip: answers only */
    bool committed;
    bool moved;              /* a pooler gave it another server process than was set up */
    int64_t patience;        /* how long it may last; clock_monotonic_ms */
    bool (*stop)(void *arg); /* whether to give up once no operation waits any more */
    void *stop_arg;
};

/* ---- operations and their rows ------------------------------------------------------ */

/* Whether the operation still waits and is of that kind; `kind` NULL: any. */
static bool slot_waits(const struct slot *slot, const struct db_kind *kind)
{
    return slot->op != NULL && (kind == NULL || slot->op->kind == kind);
}

void slot_finish(struct slot *slot, struct err error, const struct db_rows *rows)
{
    static const struct db_rows NO_ROWS = {0};
    struct db_op *op = slot->op;

    slot->op = NULL;
    op->done(op->arg, error, rows != NULL ? rows : &NO_ROWS);
}

/* Passes an operation its own rows, if they have the promised shape. */
static void finish_with(struct slot *slot, const struct db_rows *rows)
{
    struct err e = rows_check_op(slot->op, rows);

    if (failed(e) && slot->op->kind->write != NULL)
        e.effect = EFFECT_UNKNOWN; /* it was committed */
    slot_finish(slot, e, rows);
}

static const char *id_of(const struct slot *slot)
{
    return slot->op->head[0].text;
}

static int compare(const struct slot *slot, const struct db_kind *kind, const char *id)
{
    if (slot->op->kind != kind)
        return slot->op->kind < kind ? -1 : 1;
    return strcmp(id_of(slot), id);
}

static int by_id(const void *a, const void *b)
{
    const struct slot *x = *(struct slot *const *)a, *y = *(struct slot *const *)b;
    int order = compare(x, y->op->kind, id_of(y));

    return order != 0 ? order : x < y ? -1 : 1;
}

/* Sorts the slots whose kind has `write_answers` by kind and id; all still wait.  Of
 * slots that share an id, all but the first are held back. */
static void slots_sort(struct slot *slots, size_t count, struct slots_by_id *sorted)
{
    sorted->count = 0;
    for (size_t i = 0; i < count; i++) {
        slots[i].held_back = false;
        if (slots[i].op->kind->write_answers)
            sorted->slots[sorted->count++] = &slots[i];
    }
    qsort(sorted->slots, sorted->count, sizeof *sorted->slots, by_id);
    for (size_t i = 1; i < sorted->count; i++) {
        const struct slot *before = sorted->slots[i - 1];
        if (compare(sorted->slots[i], before->op->kind, id_of(before)) == 0)
            sorted->slots[i]->held_back = true;
    }
}

/* Keeps those that still wait and were sent, in their order. */
static void keep_waiting(struct slots_by_id *sorted)
{
    size_t kept = 0;

    for (size_t i = 0; i < sorted->count; i++)
        if (sorted->slots[i]->op != NULL && !sorted->slots[i]->held_back)
            sorted->slots[kept++] = sorted->slots[i];
    sorted->count = kept;
}

static struct slot *find(const struct slots_by_id *sorted, const struct db_kind *kind,
                         const char *id)
{
    size_t low = 0, high = sorted->count;

    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = compare(sorted->slots[middle], kind, id);
        if (order == 0)
            return sorted->slots[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL; /* its deadline has passed meanwhile */
}

/* Finishes operations of one kind for which a write with `write_answers` returned rows;
 * the others keep waiting. */
static void answer_written(struct slot *slots, size_t count, const struct db_kind *kind,
                           const void *result, struct slots_by_id *sorted)
{
    struct db_rows all = rows_of(result);
    struct slot *slot = NULL;

    keep_waiting(sorted);
    for (int row = 0; row < all.count; row++) {
        const char *id = db_text(&all, row, 0);
        if (id == NULL)
            continue;
        if (slot == NULL || strcmp(id_of(slot), id) != 0) {
            slot = find(sorted, kind, id);
            if (slot == NULL)
                continue;
            slot->first_row = row;
        }
        slot->row_count++;
    }
    for (size_t i = 0; i < count; i++)
        if (slot_waits(&slots[i], kind) && slots[i].row_count > 0)
            finish_with(&slots[i], &(struct db_rows){result, slots[i].first_row,
                                                     slots[i].row_count});
}

/* Finishes all operations that were sent of one kind, with the rows of `answer`, which are
 * sorted by ordinal. */
static void answer_asked(struct slot *slots, size_t count, const struct db_kind *kind,
                         const void *result)
{
    struct db_rows all = rows_of(result);
    int64_t ordinal = 0;
    int row = 0;

    for (size_t i = 0; i < count; i++) {
        struct slot *slot = &slots[i];
        if (slot->kind != kind)
            continue;
        ordinal++; /* also for one whose deadline has passed: it was sent */
        struct db_rows own = {.result = result, .first = row};
        while (row < all.count && db_number(&all, row, 0) == ordinal)
            row++;
        own.count = row - own.first;
        if (slot->op != NULL)
            finish_with(slot, &own);
    }
}

/* ---- preparing ---------------------------------------------------------------------- */

static struct err prepare_kind(const struct db_kind *kind, struct conn *conn,
                               int64_t deadline)
{
    char name[64], types[COLUMNS_MAX + 1];
    struct err e = ERR_NONE;

    assert(strlen(kind->head) <= DB_HEAD_MAX);
    assert(kind->lines == NULL || strlen(kind->lines) <= DB_LINES_MAX);
    assert(!kind->write_answers || (kind->head[0] == 't' && kind->answer != NULL));
    snprintf(types, sizeof types, "%s%s%s", kind->head, kind->lines != NULL ? "i" : "",
             kind->lines != NULL ? kind->lines : "");
    for (int i = 0; i < 2 && !failed(e); i++) {
        const char *sql = i == 0 ? kind->write : kind->answer;
        snprintf(name, sizeof name, "%s_%s", kind->name, i == 0 ? "write" : "answer");
        if (sql != NULL)
            e = statement_prepare(conn, name, sql, types, true, deadline);
    }
    return e;
}

/* The statements without parameters. */
static const struct plain {
    const char *name, *sql;
} PLAIN[] = {
    {"begin", "BEGIN"},
    {"commit", "COMMIT"},
    /* A batch that is run again writes this to the WAL, so that its COMMIT waits for a
     * synchronous standby even if the rows are already there. */
    {"barrier", "SELECT pg_logical_emit_message(true, 'checkout', 'again')"},
    {"hurry", "SELECT set_config('lock_timeout', '50ms', true)"},
    /* For a probe: with so little memory the statement uses a megabyte of disk while it
     * runs.  Where temporary files are limited it uses none, because that limit says
     * nothing about the disk. */
    {"little_memory", "SELECT set_config('work_mem', '64kB', true),"
                      "       set_config('temp_tablespaces', '', true)"},
    {"room", "SELECT count(*) FROM unnest(array_fill(repeat('x', 8000), ARRAY["
             "    CASE current_setting('temp_file_limit') WHEN '-1' THEN 128"
             "    ELSE 0 END]))"},
    {"backend", "SELECT pg_backend_pid()::bigint"}, /* last: behind a pooler only */
};

struct err batch_prepare(const struct db_config *config, struct conn *conn,
                         int64_t deadline)
{
    size_t count = sizeof PLAIN / sizeof *PLAIN - (conn->backend == 0 ? 1 : 0);
    struct err e = ERR_NONE;

    for (const struct plain *p = PLAIN; p < PLAIN + count && !failed(e); p++)
        e = statement_prepare(conn, p->name, p->sql, "", true, deadline);
    if (!failed(e) && config->lock != NULL)
        e = statement_prepare(conn, "lock", config->lock, "tt", true, deadline);
    for (size_t k = 0; k < config->kind_count && !failed(e); k++)
        e = prepare_kind(config->kinds[k], conn, deadline);
    if (!failed(e) && !PQenterPipelineMode(conn->pg))
        e = err_make(ERR_UNAVAILABLE, "The database connection was lost in set-up.");
    return e;
}

/* ---- sending ------------------------------------------------------------------------ */

/* `kind` NULL: any kind. */
static bool is_sent(const struct slot *slot, const struct db_kind *kind)
{
    return slot_waits(slot, kind) && !slot->held_back;
}

static bool send_statement(struct attempt *a, struct sent sent, const char *name,
                           int count, const struct buffer *bytes, const size_t *ends)
{
    const char *values[COLUMNS_MAX] = {0};
    int lengths[COLUMNS_MAX] = {0}, formats[COLUMNS_MAX] = {0};

    for (int i = 0; i < count; i++) {
        size_t start = i == 0 ? 0 : ends[i - 1];
        values[i] = bytes->bytes + start;
        lengths[i] = (int)(ends[i] - start);
        formats[i] = 1;
    }
    assert(a->sent_count < sizeof a->sent / sizeof *a->sent);
    a->sent[a->sent_count++] = sent;
    return PQsendQueryPrepared(a->conn->pg, name, count, values, lengths, formats, 1);
}

static bool send_plain(struct attempt *a, enum sent_kind kind, const char *name)
{
    return send_statement(a, (struct sent){kind, 0}, name, 0, NULL, NULL);
}

static size_t line_columns(const struct db_op *op)
{
    return op->kind->lines == NULL ? 0 : strlen(op->kind->lines);
}

/* An array of column `c` of every head. */
static void head_array(const struct attempt *a, const struct db_kind *kind, size_t c,
                       char type, struct buffer *out)
{
    size_t length = 0;

    for (size_t i = 0; i < a->count; i++)
        length += is_sent(&a->slots[i], kind) ? 1 : 0;
    array_begin(out, type, length);
    for (size_t i = 0; i < a->count; i++)
        if (is_sent(&a->slots[i], kind))
            array_add(out, type, &a->slots[i].op->head[c]);
}

/* An array of column `c` of every line; c == -1 gives the operations' ordinals. */
static void line_array(const struct attempt *a, const struct db_kind *kind, int c,
                       char type, struct buffer *out)
{
    size_t length = 0;
    int64_t ordinal = 0;

    for (size_t i = 0; i < a->count; i++)
        if (is_sent(&a->slots[i], kind))
            length += a->slots[i].op->line_count;
    array_begin(out, type, length);
    for (size_t i = 0; i < a->count; i++) {
        if (!is_sent(&a->slots[i], kind))
            continue;
        const struct db_op *op = a->slots[i].op;
        struct db_value number = db_i(++ordinal);
        for (size_t l = 0; l < op->line_count; l++)
            array_add(out, type,
                      c < 0 ? &number : &op->lines[l * line_columns(op) + (size_t)c]);
    }
}

static bool send_lock(struct attempt *a, struct buffer *buffer)
{
    size_t ends[2];

    buffer->size = 0;
    head_array(a, NULL, 0, 't', buffer);
    ends[0] = buffer->size;
    line_array(a, NULL, 0, 't', buffer);
    ends[1] = buffer->size;
    return !buffer->failed &&
           send_statement(a, (struct sent){SENT_LOCK, 0}, "lock", 2, buffer, ends);
}

static bool send_kind(struct attempt *a, size_t k, struct buffer *buffer)
{
    const struct db_kind *kind = a->config->kinds[k];
    size_t ends[COLUMNS_MAX];
    char name[64];
    int count = 0;

    buffer->size = 0;
    for (size_t c = 0; kind->head[c] != '\0'; c++) {
        head_array(a, kind, c, kind->head[c], buffer);
        ends[count++] = buffer->size;
    }
    for (int c = -1; kind->lines != NULL && (c < 0 || kind->lines[c] != '\0'); c++) {
        line_array(a, kind, c, c < 0 ? 'i' : kind->lines[c], buffer);
        ends[count++] = buffer->size;
    }
    if (buffer->failed)
        return false;
    snprintf(name, sizeof name, "%s_write", kind->name);
    if (kind->write != NULL && !a->answers_only &&
        !send_statement(a,
                        (struct sent){kind->write_answers ? SENT_ANSWER : SENT_OTHER, k},
                        name, count, buffer, ends))
        return false;
    snprintf(name, sizeof name, "%s_answer", kind->name);
    return kind->answer == NULL || (kind->write_answers && !a->answers_only) ||
           send_statement(a, (struct sent){SENT_ANSWER, k}, name, count, buffer, ends);
}

/* Whether anything is sent of that kind, or at all when kind is NULL. */
static bool any_of(const struct attempt *a, const struct db_kind *kind)
{
    for (size_t i = 0; i < a->count; i++)
        if (is_sent(&a->slots[i], kind))
            return true;
    return false;
}

/* The flush request makes the server send all other answers before COMMIT is done, so that it
 * is known whether only the COMMIT is unanswered. */
static bool send_commit(struct attempt *a)
{
    return PQsendFlushRequest(a->conn->pg) && send_plain(a, SENT_COMMIT, "commit") &&
           PQpipelineSync(a->conn->pg);
}

static bool send_all(struct attempt *a, struct buffer *buffer)
{
    bool in_doubt = false;

    if (!send_plain(a, SENT_OTHER, "begin"))
        return false;
    if (a->conn->backend != 0 && !send_plain(a, SENT_BACKEND, "backend"))
        return false;
    if (a->batch->hurried && !send_plain(a, SENT_OTHER, "hurry"))
        return false;
    if (a->config->lock != NULL && !send_lock(a, buffer))
        return false;
    for (size_t k = 0; k < a->config->kind_count; k++)
        if (any_of(a, a->config->kinds[k]) && !send_kind(a, k, buffer))
            return false;
    for (size_t i = 0; i < a->count; i++)
        in_doubt |= a->slots[i].in_doubt;
    if (in_doubt && !send_plain(a, SENT_OTHER, "barrier"))
        return false;
    return send_commit(a);
}

/* ---- receiving ---------------------------------------------------------------------- */

/* Ends operations whose deadline has passed; returns when to look again, at most
 * `limit`. */
static int64_t finish_late(const struct attempt *a, int64_t limit)
{
    int64_t now = clock_monotonic_ms();

    for (size_t i = 0; i < a->count; i++) {
        struct slot *slot = &a->slots[i];
        if (slot->op == NULL)
            continue;
        if (slot->op->deadline_ms <= now)
            slot_finish(slot,
                        err_unknown(ERR_DEADLINE_EXCEEDED,
                                    "The database did not answer in time; the outcome is "
                                    "unknown."),
                        NULL);
        else if (slot->op->deadline_ms < limit)
            limit = slot->op->deadline_ms;
    }
    return limit;
}

/* Never true for a probe. */
static bool any_waits(const struct attempt *a)
{
    for (size_t i = 0; i < a->count; i++)
        if (a->slots[i].op != NULL)
            return true;
    return false;
}

/* Sends (conn_push) or waits for a result (conn_wait), and ends late operations
 * meanwhile. */
static bool wait_for(struct attempt *a,
                     int (*wait)(struct conn *conn, int64_t deadline_ms),
                     int64_t patience)
{
    int ready = wait(a->conn, 0); /* mostly the result is there already */

    if (ready != 0)
        return ready > 0;
    for (;;) {
        int64_t tick = clock_monotonic_ms() + STOP_TICK_MS;
        ready = wait(a->conn, finish_late(a, tick < patience ? tick : patience));
        if (ready != 0)
            return ready > 0;
        if (clock_monotonic_ms() >= patience || (!any_waits(a) && a->stop(a->stop_arg)))
            return false;
    }
}

/* The first error of an attempt is the cause; later ones follow from it.  Request and order
 * are known only when the batch has one operation. */
static void note_error(struct attempt *a, const struct sent *sent, const PGresult *result)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const struct db_op *op = a->count == 1 ? a->slots[0].op : NULL;
    struct log_record line;
    char words[WORDS_SIZE];

    words_for_log(a->conn->pg, result, words);
    if (log_begin_limited(&line, LOG_WARN, "database_error")) {
        if (op != NULL)
            log_subject(&line, op->request, op->order);
        log_pair(&line, "database", a->config->name);
        log_pair_number(&line, "operations", (int64_t)a->count);
        log_pair(&line, "sqlstate", state != NULL ? state : "none");
        log_pair(&line, "message", words);
        log_end(&line);
    }
    if (a->state[0] != '\0')
        return;
    a->in_lock = sent->kind == SENT_LOCK;
    snprintf(a->state, sizeof a->state, "%s", state != NULL ? state : "08006");
    snprintf(a->message, sizeof a->message, "%.*s", (int)sizeof a->message - 1, words);
}

static void take_result(struct attempt *a, const struct sent *sent, PGresult *result)
{
    const struct db_rows rows = rows_of(result);

    switch (PQresultStatus(result)) {
    case PGRES_FATAL_ERROR:
        note_error(a, sent, result);
        break;
    case PGRES_TUPLES_OK:
        if (sent->kind == SENT_ANSWER && a->answers[sent->of_kind] == NULL) {
            a->answers[sent->of_kind] = result;
            return; /* kept */
        }
        if (sent->kind == SENT_BACKEND)
            a->moved = rows.count != 1 || db_number(&rows, 0, 0) != a->conn->backend;
        break;
    case PGRES_COMMAND_OK:
        if (sent->kind == SENT_COMMIT)
            a->committed = strcmp(PQcmdStatus(result), "COMMIT") == 0;
        break;
    default:
        break;
    }
    PQclear(result);
}

/* An error of libpq, not of the server: the connection is lost, or there is no memory for a
 * result.  Then even the answer to the Sync may not come. */
static bool is_libpqs_own(const PGresult *result)
{
    return PQresultStatus(result) == PGRES_FATAL_ERROR &&
           PQresultErrorField(result, PG_DIAG_SQLSTATE) == NULL;
}

/* Reads until the Sync is answered.  False: the connection is unusable. */
static bool receive_all(struct attempt *a)
{
    int64_t patience = a->patience;
    size_t at = 0;

    for (;;) {
        if (!wait_for(a, conn_wait, patience))
            return false;
        PGresult *result = PQgetResult(a->conn->pg);
        if (result == NULL) {
            if (PQstatus(a->conn->pg) != CONNECTION_OK)
                return false;
            /* The end of one statement's results.  The answer to the Sync comes with the last
             * one; if libpq has no memory for it, it reports nothing and waits. */
            a->batch->committing =
                ++at < a->sent_count && a->sent[at].kind == SENT_COMMIT;
            if (at == a->sent_count)
                patience = clock_monotonic_ms() + SYNC_MS;
            else if (a->batch->committing && a->slots == NULL) /* of a probe */
                patience = clock_monotonic_ms() + PROBE_COMMIT_MS;
            continue;
        }
        if (PQresultStatus(result) == PGRES_PIPELINE_SYNC) {
            PQclear(result);
            return true;
        }
        if (at >=
            a->sent_count) { /* an error at the very end, after the last statement */
            PQclear(result);
            return false;
        }
        bool own = is_libpqs_own(result);
        take_result(a, &a->sent[at], result);
        if (own)
            return false;
    }
}

/* A further exchange over the connection, for the same operations. */
static struct attempt follow_up(const struct attempt *a)
{
    struct attempt next = *a;

    next.sent_count = 0;
    next.state[0] = next.message[0] = '\0';
    next.in_lock = next.answers_only = next.committed = next.moved = false;
    return next;
}

/* Ends a transaction that failed. */
static bool roll_back(struct attempt *a)
{
    struct attempt undo = follow_up(a);

    if (PQtransactionStatus(a->conn->pg) == PQTRANS_IDLE)
        return true;
    undo.sent[undo.sent_count++] = (struct sent){SENT_OTHER, 0};
    return PQsendQueryParams(a->conn->pg, "ROLLBACK", 0, NULL, NULL, NULL, NULL, 1) &&
           PQpipelineSync(a->conn->pg) && wait_for(&undo, conn_push, undo.patience) &&
           receive_all(&undo) && undo.state[0] == '\0';
}

/* ---- finishing ---------------------------------------------------------------------- */

static void clear_answers(PGresult **answers)
{
    for (size_t k = 0; k < DB_KINDS_MAX; k++) {
        PQclear(answers[k]);
        answers[k] = NULL;
    }
}

static struct verdict in_doubt(struct attempt *a)
{
    for (size_t i = 0; i < a->count; i++)
        a->slots[i].in_doubt = true;
    struct verdict lost = {
        .kind = VERDICT_LOST,
        .error = err_unknown(ERR_UNAVAILABLE, "The database connection was lost; the "
                                              "outcome is unknown."),
        .why = err_make(ERR_UNAVAILABLE, "The database connection was lost."),
    };

    lost.why.subject = sqlstate_words(NULL);
    return lost;
}

/* The message is for operators and has PostgreSQL's own; the subject is for clients. */
static struct err why_not(const char *state, const char *message)
{
    struct err why =
        err_make(ERR_UNAVAILABLE, "Cannot write: %s. PostgreSQL says: %s (SQLSTATE %s).",
                 sqlstate_words(state), message, state);

    why.subject = sqlstate_words(state);
    return why;
}

/* An error that leaves the connection usable. */
static struct verdict failure(const struct attempt *a)
{
    static const enum verdict_kind VERDICTS[] = {
        [SQLSTATE_DATA] = VERDICT_DATA,      [SQLSTATE_RACE] = VERDICT_AGAIN,
        [SQLSTATE_LOCKED] = VERDICT_LOCKED,  [SQLSTATE_UNIQUE] = VERDICT_UNIQUE,
        [SQLSTATE_UNABLE] = VERDICT_REFUSED, [SQLSTATE_READ_ONLY] = VERDICT_READ_ONLY,
    };
    struct verdict verdict = {.kind = VERDICTS[sqlstate_meaning(a->state)],
                              .error = sqlstate_err(a->state),
                              .why = why_not(a->state, a->message),
                              .in_lock = a->in_lock};

    if (a->answers_only)
        verdict.error.effect = EFFECT_UNKNOWN;
    return verdict;
}

static void finish_kinds(struct attempt *a)
{
    cork_begin(); /* RPCs sent by the completions go out together */
    for (size_t k = 0; k < a->config->kind_count; k++)
        if (a->config->kinds[k]->write_answers && !a->answers_only)
            answer_written(a->slots, a->count, a->config->kinds[k], a->answers[k],
                           &a->batch->by_id);
        else
            answer_asked(a->slots, a->count, a->config->kinds[k], a->answers[k]);
    cork_end();
    clear_answers(a->answers);
}

/* Runs `answer` for committed operations for which no write returned a row, if any. */
static struct verdict ask(struct attempt *committed)
{
    const struct verdict done = {.kind = VERDICT_COMMITTED};
    struct attempt a = follow_up(committed);
    bool sent = true;

    a.answers_only = true;
    for (size_t i = 0; i < a.count; i++) {
        a.slots[i].kind = a.slots[i].op == NULL ? NULL : a.slots[i].op->kind;
        a.slots[i].held_back = false;
    }
    if (!any_of(&a, NULL))
        return done;
    struct verdict lost = in_doubt(&a); /* they committed, even if the answer is lost */
    for (size_t k = 0; k < a.config->kind_count && sent; k++)
        sent = !any_of(&a, a.config->kinds[k]) || send_kind(&a, k, &a.batch->parameters);
    a.batch->parameters.failed = false;
    if (!sent || !PQpipelineSync(a.conn->pg) || !wait_for(&a, conn_push, a.patience) ||
        !receive_all(&a))
        return lost;
    if (a.state[0] != '\0')
        return sqlstate_meaning(a.state) == SQLSTATE_CONNECTION ? lost : failure(&a);
    finish_kinds(&a);
    return done;
}

static struct verdict judge(struct attempt *a)
{
    enum sqlstate_meaning meaning = sqlstate_meaning(a->state);

    if (a->moved) /* without our settings, so perhaps not on disk */
        return in_doubt(a);
    if (a->committed && !a->conn->warned) {
        finish_kinds(a);
        return ask(a);
    }
    /* A warning during COMMIT may be "canceling the wait for synchronous replication":
     * committed here, perhaps nowhere else. */
    if (a->committed || (a->state[0] != '\0' && meaning == SQLSTATE_CONNECTION))
        return in_doubt(a);
    if (!roll_back(a))
        return in_doubt(a);
    if (a->state[0] == '\0') /* COMMIT answered ROLLBACK */
        return (struct verdict){
            .kind = VERDICT_AGAIN,
            .error = err_make(ERR_UNAVAILABLE, "The database rolled back.")};
    return failure(a);
}

static void finish_unknown(const struct attempt *a)
{
    for (size_t i = 0; i < a->count; i++)
        if (a->slots[i].op != NULL)
            slot_finish(&a->slots[i],
                        err_unknown(ERR_UNAVAILABLE, "The outcome is unknown."), NULL);
}

/*
 * Faults of test builds.  Before: refused; or the connection is cut before sending; or
 * (repeat) it is sent and its answer is lost.  After: the outcome is unknown; or the
 * answer is lost.
 */
static struct fault pass_commit(const struct attempt *a, const char *edge)
{
    struct fault fault = {FAULT_NONE, 0};

    for (size_t k = 0; k < a->config->kind_count && fault.kind == FAULT_NONE; k++)
        for (size_t i = 0; i < a->count; i++)
            if (a->slots[i].kind == a->config->kinds[k]) {
                fault = failpoint("commit", a->config->kinds[k]->name, edge);
                break;
            }
    if (fault.kind == FAULT_LATE)
        usleep((useconds_t)fault.late_ms * 1000);
    return fault;
}

static struct attempt attempt_start(struct batch *batch, const struct db_config *config,
                                    struct conn *conn, bool (*stop)(void *arg), void *arg)
{
    conn->warned = batch->committing = false;
    return (struct attempt){.batch = batch,
                            .config = config,
                            .conn = conn,
                            .answers = batch->answers,
                            .patience = clock_monotonic_ms() + PATIENCE_MS,
                            .stop = stop,
                            .stop_arg = arg};
}

struct verdict batch_attempt(struct batch *batch, const struct db_config *config,
                             struct conn *conn, struct slot *slots, size_t count,
                             bool (*stop)(void *arg), void *arg)
{
    struct attempt a = attempt_start(batch, config, conn, stop, arg);

    a.slots = slots;
    a.count = count;
    slots_sort(slots, count, &batch->by_id);
    for (size_t i = 0; i < count; i++) {
        slots[i].kind = slots[i].held_back ? NULL : slots[i].op->kind;
        slots[i].row_count = 0;
    }
    struct fault before = pass_commit(&a, "before");
    if (before.kind == FAULT_ERROR)
        return (struct verdict){.kind = VERDICT_REFUSED,
                                .error = sqlstate_err("53100"),
                                .why = why_not("53100", "a failpoint")};
    if (before.kind == FAULT_DROP)
        return in_doubt(&a);
    if (!send_all(&a, &batch->parameters)) {
        if (!batch->parameters.failed)
            return in_doubt(&a);
        batch->parameters.failed = false;
        conn_close(conn); /* its buffer has half a batch, without a COMMIT */
        return (struct verdict){.kind = VERDICT_DATA, .error = err_memory()};
    }
    bool alive = wait_for(&a, conn_push, a.patience) && receive_all(&a);
    struct fault after = pass_commit(&a, "after");
    if (after.kind == FAULT_DROP || after.kind == FAULT_REPEAT ||
        before.kind == FAULT_REPEAT)
        alive = false;
    if (after.kind == FAULT_ERROR)
        finish_unknown(&a);
    struct verdict verdict = alive ? judge(&a) : in_doubt(&a);
    clear_answers(batch->answers);
    batch->committing = false;
    return verdict;
}

/* ---- probing ------------------------------------------------------------------------ */

static bool send_probe(struct attempt *a, struct buffer *buffer)
{
    if (!send_plain(a, SENT_OTHER, "begin") ||
        !send_plain(a, SENT_OTHER, "little_memory") || !send_plain(a, SENT_OTHER, "room"))
        return false;
    if (a->config->lock != NULL && !send_lock(a, buffer))
        return false;
    for (size_t k = 0; k < a->config->kind_count; k++)
        if (!send_kind(a, k, buffer))
            return false;
    return send_plain(a, SENT_OTHER, "barrier") && send_commit(a);
}

static struct verdict judge_probe(struct attempt *a)
{
    if (a->committed && !a->conn->warned)
        return (struct verdict){.kind = VERDICT_COMMITTED};
    if (a->committed) /* somebody cancelled the wait for the standby */
        return (struct verdict){.kind = VERDICT_AGAIN};
    if (a->state[0] == '\0' || sqlstate_meaning(a->state) == SQLSTATE_CONNECTION ||
        !roll_back(a))
        return in_doubt(a);
    return failure(a);
}

struct verdict batch_probe(struct batch *batch, const struct db_config *config,
                           struct conn *conn, bool (*stop)(void *arg), void *arg)
{
    struct attempt a = attempt_start(batch, config, conn, stop, arg);

    bool sent = send_probe(&a, &batch->parameters);
    batch->parameters.failed = false;
    bool alive = sent && wait_for(&a, conn_push, a.patience) && receive_all(&a);
    clear_answers(batch->answers);
    batch->committing = false;
    return alive ? judge_probe(&a) : in_doubt(&a);
}

void batch_free(struct batch *batch)
{
    free(batch->parameters.bytes);
    free(batch->by_id.slots);
    clear_answers(batch->answers);
}
