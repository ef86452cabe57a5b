/* publisher.c - see publisher.h. */
#include "orchestrator/events/publisher.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "orchestrator/events/dead_letters.h"
#include "orchestrator/events/leader.h"

enum {
    BATCH_MOST = 2000,    /* events published together */
    PING_EVERY_MS = 1000, /* of the database, while nothing is published */
    WARN_EVERY_MS = 10000,
    RETRY_FIRST_MS = 100, /* after the bus failed, doubling */
    RETRY_UNAVAILABLE_MS = 1600,
    RETRY_REFUSED_MS = 10000,
};

static const int64_t PUBLISHER_LOCK = 0x6f7574626f79; /* the sequencer's + 1 */

/* Why nothing is published: logged when it begins, then periodically. */
enum trouble { TROUBLE_NONE, TROUBLE_UNAVAILABLE, TROUBLE_REFUSED };

struct publisher {
    struct publisher_config config;
    struct leader *leader;
    struct gauge *active, *refused;
    pthread_mutex_t lock; /* guards what follows */
    struct err bus;       /* the last error of the bus */
    /* from here on used by the leader's thread only */
    int64_t published;      /* the mark: events up to here are published */
    size_t passed;          /* leading events of the batch that are stored or refused */
    json_t *refused_events; /* those of them that become dead letters */
    bool more;              /* there are events beyond what is passed */
    bool letters_due;       /* some dead letters are to be published again */
    struct err outcome;     /* of the batch */
    enum trouble trouble;
    struct err warned; /* of what, and when */
    int64_t warned_ms;
    int64_t ping_ms;  /* of the last statement */
    int64_t retry_ms; /* earliest next attempt; clock_monotonic_ms */
    int64_t pause_ms; /* the last one */
};

/* ---- the state of the bus ---------------------------------------------------------------- */

static enum trouble trouble_of(struct err outcome)
{
    if (!failed(outcome))
        return TROUBLE_NONE;
    return outcome.code == ERR_FAILED_PRECONDITION ? TROUBLE_REFUSED
                                                   : TROUBLE_UNAVAILABLE;
}

static int64_t next_pause(int64_t last_ms, enum trouble trouble)
{
    int64_t most = trouble == TROUBLE_REFUSED ? RETRY_REFUSED_MS : RETRY_UNAVAILABLE_MS;

    if (trouble == TROUBLE_NONE)
        return 0;
    if (last_ms == 0)
        return RETRY_FIRST_MS;
    return 2 * last_ms < most ? 2 * last_ms : most;
}

static void log_trouble(const struct publisher *p, struct err outcome)
{
    if (p->trouble == TROUBLE_REFUSED)
        log_error("publish_refused",
                  "error=%s published=%" PRId64
                  " note=\"events wait in the outbox until the server takes them\"",
                  outcome.message, p->published);
    else
        log_warn("bus_unavailable", "error=%s published=%" PRId64, outcome.message,
                 p->published);
}

static void set_bus(struct publisher *p, struct err outcome)
{
    pthread_mutex_lock(&p->lock);
    p->bus =
        failed(outcome) ? err_make(ERR_UNAVAILABLE, "%s", outcome.message) : ERR_NONE;
    pthread_mutex_unlock(&p->lock);
}

struct err publisher_health(struct publisher *p)
{
    struct err e = leader_health(p->leader);

    if (failed(e))
        return e;
    pthread_mutex_lock(&p->lock);
    e = p->bus;
    pthread_mutex_unlock(&p->lock);
    return e;
}

/* An error of the bus never releases the leader lock. */
static void record_bus(struct publisher *p, struct err outcome)
{
    int64_t now = clock_monotonic_ms();
    enum trouble before = p->trouble;

    set_bus(p, outcome);
    p->trouble = trouble_of(outcome);
    if (p->trouble == TROUBLE_NONE && before != TROUBLE_NONE)
        log_info("bus_recovered", "published=%" PRId64, p->published);
    bool news = p->trouble != before || (p->trouble == TROUBLE_REFUSED &&
                                         strcmp(outcome.message, p->warned.message) != 0);
    if (p->trouble != TROUBLE_NONE && (news || now - p->warned_ms > WARN_EVERY_MS)) {
        log_trouble(p, outcome);
        p->warned = outcome;
        p->warned_ms = now;
    }
    gauge_set(p->refused, p->trouble == TROUBLE_REFUSED);
    p->pause_ms = next_pause(p->pause_ms, p->trouble);
    p->retry_ms = now + p->pause_ms;
}

/* ---- loading a batch --------------------------------------------------------------- */

/* The columns of a batch's rows, from a table `e` with a column `held` (see below). */
#define BATCH_COLUMNS "e.held, " EVENT_COLUMNS
#define BATCH_SHAPE   "B" EVENT_SHAPE_MAYBE

struct batch {
    struct event *events; /* all of the batch */
    bool *held; /* of each: an earlier event of its order is a dead letter, so it
                           * becomes one as well and is not published */
    size_t count;
    struct event *given;             /* to the bus: those that are not held */
    struct bus_delivery *deliveries; /* the result of each given one */
    size_t given_count;
};

static void batch_free(struct batch *batch)
{
    free(batch->events);
    free(batch->given);
    free(batch->held);
    free(batch->deliveries);
}

/* Whether the rows, whose BATCH_COLUMNS begin at column `first`, contain any event. */
static bool batch_any(const struct db_rows *rows, int first)
{
    return rows->count > 0 && db_size(rows, 0, first + 1) > 0;
}

/* Few orders have two events. */
static bool has_order(const struct event *events, size_t count, const char *order_id)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(events[i].order_id, order_id) == 0)
            return true;
    return false;
}

/*
 * Loads events until an order would have a second one, because no two may be published
 * together (bus_nats.h), or until a damaged event, whose error it returns.  Texts are
 * borrowed from the rows.  Free the batch in any case.
 */
static struct err batch_load(struct batch *batch, const struct db_rows *rows, int first)
{
    size_t most = (size_t)rows->count;

    *batch = (struct batch){.events = calloc(most, sizeof *batch->events),
                            .given = calloc(most, sizeof *batch->given),
                            .held = calloc(most, sizeof *batch->held),
                            .deliveries = calloc(most, sizeof *batch->deliveries)};
    if (batch->events == NULL || batch->given == NULL || batch->held == NULL ||
        batch->deliveries == NULL)
        return err_memory();
    for (int i = 0; i < rows->count; i++) {
        struct event event;
        struct err e = event_read(rows, i, first + 1, &event);
        if (failed(e)) /* events before it can be published */
            return e;
        if (event.sequence > 1 && has_order(batch->events, batch->count, event.order_id))
            break;
        batch->held[batch->count] = db_bool(rows, i, first);
        if (!batch->held[batch->count])
            batch->given[batch->given_count++] = event;
        batch->events[batch->count++] = event;
    }
    return ERR_NONE;
}

/* ---- reading the answers ----------------------------------------------------------- */

/* The number of given events up to and including the last one that was stored. */
static size_t count_taken(const struct batch *batch)
{
    size_t taken = batch->given_count;

    while (taken > 0 && batch->deliveries[taken - 1].answer != BUS_STORED)
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

/* Adds event `i` to the dead letters, unless it was stored; false: no memory. */
static bool add_refused(const struct batch *batch, size_t i,
                        const struct bus_delivery *delivery, json_t *refused)
{
    const struct event *event = &batch->events[i];

    if (batch->held[i])
        return dead_letters_add(refused, event, 0,
                                "an earlier event of its order was refused");
    if (bus_stored(delivery))
        return true;
    log_error(
        "event_refused",
        "order=%s event_id=%s position=%" PRId64 " reason=%s"
        " note=\"it is retried, other orders do not wait: checkoutctl events dead\"",
        event->order_id, event->id, event->position, delivery->reason);
    return dead_letters_add(refused, event, 1, delivery->reason);
}

/*
 * After `deliveries` were filled: computes how many leading events the mark may pass, and
 * which of them become dead letters (`refused`).  Returns why the next event cannot be
 * passed: FAILED_PRECONDITION if the bus refuses it, else `error`, that of publishing.
 *
 *      stored | stored | refused | stored | refused | silent
 *      ------------ passed ------------ >| the mark stops here
 *                        `-- dead letter
 *
 * If an event is refused while a later one is stored, the event is at fault.  If no later
 * one is stored, the bus may be at fault, and all events wait.
 */
static struct err batch_judge(const struct batch *batch, struct err error,
                              json_t *refused, size_t *passed)
{
    size_t given = 0, taken = count_taken(batch);

    json_array_clear(refused);
    for (*passed = 0; *passed < batch->count; ++*passed) {
        const struct bus_delivery *delivery = &batch->deliveries[given];
        bool held = batch->held[*passed];
        if (!held && !bus_stored(delivery) &&
            (delivery->answer != BUS_REFUSED || given >= taken))
            return explain(&batch->events[*passed], delivery, error);
        if (!add_refused(batch, *passed, delivery, refused))
            return err_memory();
        given += !held;
    }
    return ERR_NONE;
}

/* ---- publishing it ------------------------------------------------------------------ */

/* LIMIT 1 tells the planner that there is one row: for a table without statistics it assumes
 * 800, and compiles (JIT) what it takes for an expensive query. */
static const char NEXT_BATCH[] =
    "SELECT r.published, r.placed, " DEAD_LETTERS_DUE ", " BATCH_COLUMNS
    "FROM (SELECT published, placed FROM orders.relay LIMIT 1) r LEFT JOIN LATERAL ("
    "    SELECT *, " DEAD_LETTERS_HOLD " AS held FROM orders.outbox o"
    "    WHERE o.position > r.published ORDER BY o.position LIMIT $1"
    ") e ON true ORDER BY e.position";

enum { COLUMN_PUBLISHED, COLUMN_PLACED, COLUMN_DUE, COLUMN_BATCH };

/* The failpoint `bus`: an error before means an unavailable bus, an error after means a
 * lost acknowledgement. */
static struct err pass(const char *edge, bool *repeat)
{
    struct fault fault = failpoint("bus", "deliver", edge);

    if (fault.kind == FAULT_LATE)
        nanosleep(
            &(struct timespec){fault.late_ms / 1000, fault.late_ms % 1000 * 1000000},
            NULL);
    *repeat = fault.kind == FAULT_REPEAT;
    return fault.kind == FAULT_ERROR || fault.kind == FAULT_DROP
               ? err_make(ERR_UNAVAILABLE, "NATS is away (a failpoint).")
               : ERR_NONE;
}

static struct err publish(struct publisher *p, const struct batch *batch)
{
    struct err e = bus_nats_publish(p->config.nats, batch->given, batch->given_count,
                                    batch->deliveries);

    return batch_judge(batch, e, p->refused_events, &p->passed);
}

static struct err deliver(struct publisher *p, const struct batch *batch)
{
    bool repeat = false;
    struct err e = pass("before", &repeat);

    if (!failed(e))
        e = publish(p, batch);
    if (!failed(e) && repeat)
        e = publish(p, batch);
    if (failed(e))
        return e;
    e = pass("after", &repeat);
    if (failed(e))
        p->passed = 0;
    return e;
}

static void on_batch(void *arg, const struct db_rows *rows)
{
    struct publisher *p = arg;
    struct batch batch;

    p->passed = 0;
    p->more = false;
    p->outcome = ERR_NONE;
    if (rows->count == 0)
        return;
    p->published = db_number(rows, 0, COLUMN_PUBLISHED);
    p->letters_due = db_bool(rows, 0, COLUMN_DUE);
    if (!batch_any(rows, COLUMN_BATCH))
        return;
    p->outcome = batch_load(&batch, rows, COLUMN_BATCH);
    if (batch.count > 0)
        p->outcome = deliver(p, &batch);
    p->more = db_number(rows, 0, COLUMN_PLACED) > p->published + (int64_t)p->passed;
    batch_free(&batch);
}

/* Only if a replay has not moved the mark meanwhile.  $1 from, $2 to, $3 the new dead
 * letters. */
static const char PUBLISHED[] =
    "WITH aside AS ("
    "    SELECT * FROM jsonb_to_recordset($3::text::jsonb)"
    "        AS a(position bigint, attempts bigint, reason text)"
    "), moved AS ("
    "    UPDATE orders.relay SET published = $2 WHERE published = $1 RETURNING 1"
    "), kept AS (" DEAD_LETTERS_ADD ")"
    "UPDATE orders.outbox SET published_at = now() "
    "WHERE position > $1 AND position <= $2 AND published_at IS NULL"
    "  AND EXISTS (SELECT FROM moved) AND position NOT IN (SELECT a.position FROM aside a)";

static struct err mark(struct publisher *p, struct db_session *connection)
{
    struct db_query query = leader_query("publish", "iit", NULL, PUBLISHED);
    char *refused = json_dumps(p->refused_events, JSON_COMPACT);

    if (refused == NULL)
        return err_memory();
    query.values[0] = db_i(p->published);
    query.values[1] = db_i(p->published + (int64_t)p->passed);
    query.values[2] = db_t(refused);
    struct err e = db_session_run(connection, &query, true, NULL, NULL);
    free(refused);
    return e;
}

static struct err publish_next(struct publisher *p, struct db_session *connection,
                               bool *more)
{
    struct db_query query =
        leader_query("next_batch", "i", "+iib" BATCH_SHAPE, NEXT_BATCH);

    query.values[0] = db_i(BATCH_MOST);
    struct err e = db_session_run(connection, &query, false, on_batch, p);
    if (failed(e))
        return e;
    record_bus(p, p->outcome);
    *more = p->letters_due;
    if (p->passed == 0)
        return e;
    leader_wake(p->leader);
    *more |= p->more && !failed(p->outcome);
    return mark(p, connection);
}

/* The next batch is published in another round, since the bus may have to reconnect
 * first. */
static struct err retry_letters(struct publisher *p, struct db_session *connection,
                                bool *more)
{
    struct err bus = ERR_NONE;
    struct err e =
        dead_letters_retry(connection, p->config.nats, p->config.attempts, &bus);

    p->letters_due = false;
    *more = true;
    if (!failed(e) && failed(bus))
        record_bus(p, bus);
    return e;
}

/* ---- the leader task ---------------------------------------------------------------------- */

static struct err publisher_begin(void *arg, struct db_session *connection)
{
    struct publisher *p = arg;

    (void)connection;
    gauge_set(p->active, 1);
    p->retry_ms = p->pause_ms = 0;
    p->letters_due = false;
    return ERR_NONE;
}

/* A periodic statement keeps the lock (leader.h). */
static struct err keep_lock(struct publisher *p, struct db_session *connection)
{
    struct db_query query = leader_query("ping", "", NULL, "SELECT");

    if (clock_monotonic_ms() - p->ping_ms < PING_EVERY_MS)
        return ERR_NONE;
    p->ping_ms = clock_monotonic_ms();
    return db_session_run(connection, &query, false, NULL, NULL);
}

/* Connecting and publishing each take time, so each is preceded by a statement. */
static struct err publisher_work(void *arg, struct db_session *connection, bool *more)
{
    struct publisher *p = arg;

    struct err e = keep_lock(p, connection);
    if (p->trouble != TROUBLE_NONE)
        leader_wake(p->leader); /* retry soon: no long pause */
    if (failed(e) || clock_monotonic_ms() < p->retry_ms)
        return e;
    e = bus_nats_ready(p->config.nats);
    if (!failed(e))
        return p->letters_due && p->trouble != TROUBLE_REFUSED
                   ? retry_letters(p, connection, more)
                   : publish_next(p, connection, more);
    record_bus(p, e);
    return ERR_NONE;
}

static void publisher_end(void *arg)
{
    struct publisher *p = arg;

    gauge_set(p->active, 0);
    gauge_set(p->refused, 0);
    set_bus(p, ERR_NONE); /* the new leader reports it */
}

static void publisher_free(struct publisher *p)
{
    pthread_mutex_destroy(&p->lock);
    json_decref(p->refused_events);
    free(p);
}

struct err publisher_start(const struct publisher_config *config, struct publisher **out)
{
    struct publisher *p = calloc(1, sizeof *p);

    if (p == NULL)
        return err_memory();
    p->config = *config;
    pthread_mutex_init(&p->lock, NULL);
    p->refused_events = json_array();
    p->active = metrics_gauge(config->metrics, "relay_active", "task=publisher");
    p->refused = metrics_gauge(config->metrics, "events_refused", "");
    struct leader_config leader = {.name = "publisher",
                                   .database_url = config->database_url,
                                   .lock = PUBLISHER_LOCK,
                                   .takeover_ms = config->takeover_ms,
                                   .every_ms = config->every_ms,
                                   .begin = publisher_begin,
                                   .work = publisher_work,
                                   .end = publisher_end,
                                   .arg = p};
    if (leader.takeover_ms < 2 * BUS_NATS_WAIT_MS)
        leader.takeover_ms = 2 * BUS_NATS_WAIT_MS;
    struct err e =
        p->refused_events == NULL ? err_memory() : leader_start(&leader, &p->leader);
    if (failed(e))
        publisher_free(p);
    else
        *out = p;
    return e;
}

void publisher_wake(struct publisher *p)
{
    if (p != NULL)
        leader_wake(p->leader);
}

void publisher_stop(struct publisher *p)
{
    if (p == NULL)
        return;
    leader_stop(p->leader);
    publisher_free(p);
}
