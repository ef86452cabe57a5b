/*
 * sequencer.c - see sequencer.h.
 *
 * There are two leader tasks, so that readers do not wait for an unavailable bus.  The
 * sequencer, here, assigns positions, sends to live listeners and prunes.  The publisher
 * (publisher.h), which runs only with a bus, publishes placed events and marks the
 * acknowledged ones.
 */
#include "orchestrator/events/sequencer.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "orchestrator/events/bus/event.h"
#include "orchestrator/events/leader.h"
#include "orchestrator/events/publisher.h"

enum {
    PLACE_MOST = 1000, /* events given a position in one transaction */
    PRUNE_MOST = 2000,
    SWEEP_EVERY_MS = 10000,
    LISTEN_EVERY_MS = 1000, /* while the address is in use */
    REPORT_EVERY_MS = 2000,
    REPORT_AT_REST_MS = 10000,
    WARN_EVERY_MS = 10000,
    BACKLOG_LOGGED = 2 * PLACE_MOST, /* a larger backlog is logged */
    COUNTED_MOST = 100000,
};

static const int64_t SEQUENCER_LOCK = 0x6f7574626f78; /* "outbox", in ASCII */

struct sequencer {
    struct sequencer_config config;
    struct leader *leader;
    struct publisher *publisher;
    struct gauge *active, *unplaced, *unpublished, *lag_ms, *dead, *waiting;
    atomic_llong waiting_for_place, waiting_for_bus,
        oldest_ms; /* the same, for the health */

    /* Of the leader's thread. */
    int64_t floor;   /* only the sweep reads ids up to here */
    int64_t before;  /* the next floor: the highest id placed before the last sweep */
    int64_t highest; /* id placed so far */
    int64_t sweep_ms, prune_ms, report_ms, listen_ms; /* when due; clock_monotonic_ms */
    int64_t warned_ms;
    int64_t placed_ms; /* when something was placed last */
};

/* ---- placing ----------------------------------------------------------------------- */

/*
 * The partial index of unplaced rows still has dead entries for rows placed since the
 * last VACUUM, and very many during a long transaction.  So ids up to a floor are read
 * only by the sweep, every ten seconds, which finds transactions that committed long
 * after higher ids were placed.  Neither order nor completeness depends on the floor: an
 * event waits while an earlier one of its order is unplaced.
 *
 * Without a bus the published mark follows the placed events, so that old events are
 * pruned; no event is recorded as published then.
 *
 * $1 how many, $2 the floor, $3 whether there is no bus, $4 whether to return rows.
 */
static const char PLACE[] =
    "WITH next AS ("
    "    SELECT o.id, row_number() OVER (ORDER BY o.id) AS n, count(*) OVER () AS total"
    "    FROM (SELECT id FROM orders.outbox o"
    "          WHERE position IS NULL AND id > $2"
    "            AND (sequence = 1 OR NOT EXISTS"
    "                 (SELECT FROM orders.outbox b WHERE b.order_id = o.order_id"
    "                  AND b.sequence < o.sequence AND b.position IS NULL))"
    "          ORDER BY id LIMIT $1) o"
    "), moved AS ("
    "    UPDATE orders.relay r SET placed = r.placed + t.total,"
    "        published = CASE WHEN $3 THEN r.placed + t.total ELSE r.published END"
    "    FROM (SELECT total FROM next LIMIT 1) t RETURNING r.placed - t.total AS base"
    "), e AS ("
    "    UPDATE orders.outbox o SET position = m.base + n.n"
    "    FROM next n, moved m WHERE o.id = n.id RETURNING o.*"
    "), placed AS ("
    "    SELECT count(*) AS count, max(id) AS id FROM e"
    ")"
    "SELECT p.count, p.id, " EVENT_COLUMNS "FROM placed p LEFT JOIN e ON $4 "
    "ORDER BY e.position";

/* Runs first, since usually there is nothing to place.  $1 the floor. */
static const char ANY_UNPLACED[] =
    "SELECT EXISTS (SELECT FROM orders.outbox WHERE position IS NULL AND id > $1)";

static void on_answer(void *yes, const struct db_rows *rows)
{
    *(bool *)yes = rows->count == 1 && db_bool(rows, 0, 0);
}

struct placing {
    struct sequencer *outbox;
    int64_t count;
};

static void on_placed(void *arg, const struct db_rows *rows)
{
    struct placing *placing = arg;
    struct sequencer *s = placing->outbox;

    placing->count = db_number(rows, 0, 0);
    if (placing->count > 0 && db_number(rows, 0, 1) > s->highest)
        s->highest = db_number(rows, 0, 1);
    for (int i = 0; s->config.local != NULL && placing->count > 0 && i < rows->count;
         i++) {
        struct event event;
        if (!failed(event_read(rows, i, 2, &event)))
            bus_local_publish(s->config.local, &event);
    }
}

/* Wakes the publisher and the readers; more events are likely soon. */
static void notify_placed(struct sequencer *s)
{
    s->placed_ms = clock_monotonic_ms();
    leader_wake(s->leader);
    publisher_wake(s->publisher);
    if (s->config.on_placed != NULL)
        s->config.on_placed(s->config.arg);
}

static void notify_relay(const struct sequencer *s, bool here)
{
    if (s->config.on_relay != NULL)
        s->config.on_relay(s->config.arg, here);
}

/* A sweep reads all ids. */
static struct err place(struct sequencer *s, struct db_session *connection, bool sweep,
                        bool *more)
{
    struct placing placing = {.outbox = s};
    struct db_query query = leader_query("place", "iibb", "+iI" EVENT_SHAPE_MAYBE, PLACE);
    struct db_query any = leader_query("any_unplaced", "i", "+b", ANY_UNPLACED);
    bool found = false;

    any.values[0] = db_i(sweep ? 0 : s->floor);
    struct err e = db_session_run(connection, &any, false, on_answer, &found);
    if (failed(e) || !found)
        return e;
    query.values[0] = db_i(PLACE_MOST);
    query.values[1] = any.values[0];
    query.values[2] = db_i(s->config.nats == NULL);
    query.values[3] = db_i(s->config.local != NULL);
    e = db_session_run(connection, &query, true, on_placed, &placing);
    *more = placing.count == PLACE_MOST;
    if (!failed(e) && placing.count > 0)
        notify_placed(s);
    return e;
}

/* ---- pruning ----------------------------------------------------------------------- */

/*
 * Deletes only a prefix, so that the rest has no gap: up to the first event not old
 * enough.  $1 how long they are kept, $2 how many.
 */
static const char PRUNE[] =
    "WITH look AS ("
    "    SELECT e.position, e.created_at, coalesce(e.published_at, e.created_at)"
    "           < now() - $1 * interval '1 ms' AS old"
    "    FROM orders.relay r, orders.outbox e"
    "    WHERE e.position > r.pruned AND e.position <= r.published"
    "    ORDER BY e.position LIMIT $2"
    "), gone AS ("
    "    DELETE FROM orders.outbox e USING look l"
    "    WHERE e.position = l.position AND l.position <"
    "        coalesce((SELECT min(position) FROM look WHERE NOT old), 9223372036854775807)"
    "    RETURNING e.position, e.created_at"
    "), moved AS ("
    "    UPDATE orders.relay r SET pruned = g.position, pruned_to = greatest(r.pruned_to, g.at)"
    "    FROM (SELECT max(position) AS position, max(created_at) AS at, count(*) AS count"
    "          FROM gone) g"
    "    WHERE g.count > 0 RETURNING r.pruned, g.count"
    ")"
    "SELECT m.pruned, m.count,"
    "       (SELECT count(*) FROM orders.cursors c" /* that this pruning passed */
    "        WHERE c.position < m.pruned AND c.position >= m.pruned - m.count) "
    "FROM moved m";

/* Whether the oldest event is old enough.  $1 how long they are kept. */
static const char ANY_OLD[] =
    "SELECT EXISTS (SELECT FROM orders.relay r, orders.outbox e"
    "               WHERE e.position = r.pruned + 1 AND r.pruned < r.published"
    "                 AND coalesce(e.published_at, e.created_at)"
    "                     < now() - $1 * interval '1 ms')";

static void on_pruned(void *more, const struct db_rows *rows)
{
    if (rows->count == 0)
        return;
    *(bool *)more = db_number(rows, 0, 1) == PRUNE_MOST;
    log_info("events_pruned", "up_to=%" PRId64 " count=%" PRId64, db_number(rows, 0, 0),
             db_number(rows, 0, 1));
    if (db_number(rows, 0, 2) > 0)
        log_warn("cursors_behind_pruning",
                 "cursors=%" PRId64 " note=\"they were too far behind\"",
                 db_number(rows, 0, 2));
}

static struct err prune(struct sequencer *s, struct db_session *connection, bool *more)
{
    struct db_query query = leader_query("prune_events", "ii", "*iii", PRUNE);
    struct db_query any = leader_query("any_old", "i", "+b", ANY_OLD);
    bool found = false;

    any.values[0] = db_i(s->config.keep_ms);
    struct err e = db_session_run(connection, &any, false, on_answer, &found);
    if (failed(e) || !found)
        return e;
    query.values[0] = db_i(s->config.keep_ms);
    query.values[1] = db_i(PRUNE_MOST);
    return db_session_run(connection, &query, true, on_pruned, more);
}

/* ---- reporting --------------------------------------------------------------------- */

/* $1 how far to count. */
static const char BACKLOG[] =
    "SELECT (SELECT count(*) FROM (SELECT FROM orders.outbox WHERE position IS NULL"
    "                              LIMIT $1) q),"
    "       r.placed - r.published,"
    "       (extract(epoch FROM now() - coalesce("
    "           (SELECT created_at FROM orders.outbox e WHERE e.position = r.published + 1),"
    "           (SELECT created_at FROM orders.outbox WHERE position IS NULL"
    "            ORDER BY id LIMIT 1), now())) * 1000)::bigint,"
    "       l.dead, l.waiting "
    "FROM orders.relay r CROSS JOIN"
    "    (SELECT count(*) FILTER (WHERE next_at IS NULL) AS dead, count(next_at) AS waiting"
    "     FROM orders.dead_letters) l";

struct backlog {
    int64_t unplaced, unpublished, lag_ms, dead, waiting;
};

static void set_gauges(struct sequencer *s, struct backlog backlog)
{
    gauge_set(s->unplaced, backlog.unplaced);
    gauge_set(s->unpublished, backlog.unpublished);
    gauge_set(s->lag_ms, backlog.lag_ms);
    gauge_set(s->dead, backlog.dead);
    gauge_set(s->waiting, backlog.waiting);
    atomic_store(&s->waiting_for_place, backlog.unplaced);
    atomic_store(&s->waiting_for_bus, backlog.unpublished);
    atomic_store(&s->oldest_ms, backlog.lag_ms);
}

static struct err too_many(struct sequencer *s, long long count, const char *what)
{
    if (count <= s->config.backlog_max)
        return ERR_NONE;
    return err_make(
        ERR_UNAVAILABLE,
        "%lld events wait for %s, the oldest for %lld s (backlog_max is %" PRId64 ").",
        count, what, atomic_load(&s->oldest_ms) / 1000, s->config.backlog_max);
}

struct sequencer_health sequencer_health(struct sequencer *s)
{
    struct sequencer_health health = {.events = leader_health(s->leader),
                                      .nats = ERR_NONE};

    if (!failed(health.events))
        health.events = too_many(s, atomic_load(&s->waiting_for_place), "a position");
    if (s->publisher != NULL)
        health.nats = publisher_health(s->publisher);
    if (s->publisher != NULL && !failed(health.nats))
        health.nats = too_many(s, atomic_load(&s->waiting_for_bus), "NATS");
    return health;
}

static void on_backlog(void *arg, const struct db_rows *rows)
{
    struct sequencer *s = arg;
    int64_t now = clock_monotonic_ms();
    const struct backlog b = {db_number(rows, 0, 0), db_number(rows, 0, 1),
                              db_number(rows, 0, 2), db_number(rows, 0, 3),
                              db_number(rows, 0, 4)};

    set_gauges(s, b);
    if (b.unplaced + b.unpublished < BACKLOG_LOGGED || now < s->warned_ms)
        return;
    log_warn("events_backlog",
             "unplaced=%" PRId64 " unpublished=%" PRId64 " oldest_ms=%" PRId64,
             b.unplaced, b.unpublished, b.lag_ms);
    s->warned_ms = now + WARN_EVERY_MS;
}

static struct err report(struct sequencer *s, struct db_session *connection)
{
    struct db_query query = leader_query("backlog", "i", "+iiiii", BACKLOG);

    query.values[0] = db_i(COUNTED_MOST);
    return db_session_run(connection, &query, false, on_backlog, s);
}

/* ---- the leader task -------------------------------------------------------------------- */

static struct err sequencer_begin(void *arg, struct db_session *connection)
{
    struct sequencer *s = arg;
    struct db_query query = leader_query(
        "hold", "t", NULL, "UPDATE orders.relay SET holder = $1, held_since = now()");

    s->floor = s->before = s->highest = 0;
    s->sweep_ms = s->prune_ms = s->report_ms = s->listen_ms = s->warned_ms = 0;
    gauge_set(s->active, 1);
    notify_relay(s, true);
    query.values[0] = db_t(s->config.owner);
    return db_session_run(connection, &query, true, NULL, NULL);
}

static bool due(int64_t *when_ms, int64_t every_ms)
{
    int64_t now = clock_monotonic_ms();

    if (now < *when_ms)
        return false;
    *when_ms = now + every_ms;
    return true;
}

static bool at_rest(const struct sequencer *s)
{
    return clock_monotonic_ms() - s->placed_ms > REPORT_AT_REST_MS;
}

static struct err sequencer_work(void *arg, struct db_session *connection, bool *more)
{
    struct sequencer *s = arg;
    bool pruned_more = false, sweep = due(&s->sweep_ms, SWEEP_EVERY_MS);
    struct err e = ERR_NONE;

    if (s->config.local != NULL && due(&s->listen_ms, LISTEN_EVERY_MS))
        bus_local_listen(s->config.local);
    if (due(&s->report_ms, at_rest(s) ? REPORT_AT_REST_MS : REPORT_EVERY_MS))
        e = report(s, connection);
    if (!failed(e))
        e = place(s, connection, sweep, more);
    if (failed(e))
        return e; /* unplaced events stay above the floor */
    if (sweep && *more) {
        s->sweep_ms = 0; /* it did not reach the end */
    } else if (sweep) {
        s->floor = s->before;
        s->before = s->highest;
    }
    if (!*more && due(&s->prune_ms, s->config.prune_every_ms))
        e = prune(s, connection, &pruned_more);
    if (pruned_more)
        s->prune_ms = 0;
    return e;
}

static void sequencer_end(void *arg)
{
    struct sequencer *s = arg;

    notify_relay(s, false); /* first: closing a socket takes time */
    if (s->config.local != NULL)
        bus_local_unlisten(s->config.local);
    gauge_set(s->active, 0);
    set_gauges(s, (struct backlog){0}); /* another replica reports it now */
}

/* ---- life -------------------------------------------------------------------------- */

static struct err start_sequencer(struct sequencer *s)
{
    return leader_start(&(struct leader_config){.name = "sequencer",
                                                .database_url = s->config.database_url,
                                                .lock = SEQUENCER_LOCK,
                                                .takeover_ms = s->config.takeover_ms,
                                                .every_ms = s->config.every_ms,
                                                .begin = sequencer_begin,
                                                .work = sequencer_work,
                                                .end = sequencer_end,
                                                .arg = s},
                        &s->leader);
}

static struct err start_publisher(struct sequencer *s)
{
    return publisher_start(
        &(struct publisher_config){.database_url = s->config.database_url,
                                   .every_ms = s->config.every_ms,
                                   .takeover_ms = s->config.takeover_ms,
                                   .attempts = s->config.nats_attempts,
                                   .nats = s->config.nats,
                                   .metrics = s->config.metrics},
        &s->publisher);
}

struct err sequencer_start(const struct sequencer_config *config, struct sequencer **out)
{
    struct sequencer *s = calloc(1, sizeof *s);

    if (s == NULL)
        return err_memory();
    s->config = *config;
    s->active = metrics_gauge(config->metrics, "relay_active", "task=sequencer");
    s->unplaced = metrics_gauge(config->metrics, "events_unplaced", "");
    if (config->nats != NULL) { /* of a bus */
        s->unpublished = metrics_gauge(config->metrics, "events_unpublished", "");
        s->dead = metrics_gauge(config->metrics, "events_dead_letters", "state=given_up");
        s->waiting = metrics_gauge(config->metrics, "events_dead_letters", "state=tried");
    }
    s->lag_ms = metrics_gauge(config->metrics, "events_lag_ms", "");
    struct err e = config->nats != NULL ? start_publisher(s) : ERR_NONE;
    if (!failed(e)) /* last: it wakes the other */
        e = start_sequencer(s);
    if (failed(e))
        sequencer_stop(s);
    else
        *out = s;
    return e;
}

void sequencer_wake(struct sequencer *s)
{
    if (s != NULL)
        leader_wake(s->leader);
}

void sequencer_stop(struct sequencer *s)
{
    if (s == NULL)
        return;
    leader_stop(s->leader);
    publisher_stop(s->publisher);
    free(s);
}
