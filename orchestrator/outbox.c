/*
 * outbox.c - see outbox.h.
 *
 * Two duties, so that a bus that is away holds up nobody who reads: the placer, here,
 * gives positions, tells live listeners and prunes; the courier (courier.h), only with a
 * bus, publishes what is placed and marks what was acknowledged.
 */
#include "orchestrator/outbox.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "orchestrator/courier.h"
#include "orchestrator/duty.h"
#include "orchestrator/event.h"

enum {
    PLACE_MOST = 1000, /* events given a position in one transaction */
    PRUNE_MOST = 2000,
    QUERY_MS = 10000,
    SWEEP_EVERY_MS = 10000,
    LISTEN_EVERY_MS = 1000, /* while the address is another's */
    REPORT_EVERY_MS = 2000,
    REPORT_AT_REST_MS = 10000,
    TELL_EVERY_MS = 10000,
    BACKLOG_TOLD = 2 * PLACE_MOST, /* from here on it is worth a line in the log */
    COUNTED_MOST = 100000,
};

static const int64_t PLACER_LOCK = 0x6f7574626f78; /* "outbox", in ASCII */

struct outbox {
    struct outbox_config config;
    struct duty *placer;
    struct courier *courier;
    struct gauge *active, *unplaced, *unpublished, *lag_ms, *dead, *waiting;
    atomic_llong waiting_for_place, waiting_for_bus,
        oldest_ms; /* the same, for who asks how it is */

    /* the placer's */
    int64_t floor;   /* ids up to here are only looked at by the sweep */
    int64_t before;  /* the floor's next: the highest id placed when the last sweep was */
    int64_t highest; /* id placed so far */
    int64_t sweep_ms, prune_ms, report_ms, listen_ms; /* when due; clock_monotonic_ms */
    int64_t told_ms;
    int64_t placed_ms; /* when something was placed last */
};

/* `rows` as of struct db_query. */
static struct db_query query_of(const char *name, const char *types, const char *rows,
                                const char *sql)
{
    return (struct db_query){.name = name,
                             .types = types,
                             .rows = rows,
                             .sql = sql,
                             .deadline_ms = clock_monotonic_ms() + QUERY_MS};
}

/* ---- placing ----------------------------------------------------------------------- */

/*
 * The partial index of what is unplaced also leads through the entries of rows placed
 * since the last VACUUM; with a long transaction about these are very many.  So ids up to
 * a floor are only looked at by the sweep, every ten seconds, for transactions that
 * committed so long after others had placed higher ones.  Neither order nor completeness
 * depends on the floor: an event waits while one before it of its order is unplaced.
 *
 * Without a bus the mark of what is published goes along, so that old events are pruned;
 * no event is noted as published then.
 *
 * $1 how many, $2 the floor, $3 whether there is no bus, $4 whether rows are wanted.
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

/* Asked first, as it is mostly the only answer.  $1 the floor. */
static const char ANY_UNPLACED[] =
    "SELECT EXISTS (SELECT FROM orders.outbox WHERE position IS NULL AND id > $1)";

static void on_answer(void *yes, const struct db_rows *rows)
{
    *(bool *)yes = rows->count == 1 && db_bool(rows, 0, 0);
}

struct placing {
    struct outbox *outbox;
    int64_t count;
};

static void on_placed(void *arg, const struct db_rows *rows)
{
    struct placing *placing = arg;
    struct outbox *o = placing->outbox;

    placing->count = db_number(rows, 0, 0);
    if (placing->count > 0 && db_number(rows, 0, 1) > o->highest)
        o->highest = db_number(rows, 0, 1);
    for (int i = 0; o->config.local != NULL && placing->count > 0 && i < rows->count;
         i++) {
        struct event event;
        if (!failed(event_read(rows, i, 2, &event)))
            bus_local_publish(o->config.local, &event);
    }
}

/* Where there was something there is soon more; the courier and who reads have it now. */
static void tell_placed(struct outbox *o)
{
    o->placed_ms = clock_monotonic_ms();
    duty_stir(o->placer);
    courier_stir(o->courier);
    if (o->config.on_placed != NULL)
        o->config.on_placed(o->config.arg);
}

static void tell_relay(const struct outbox *o, bool here)
{
    if (o->config.on_relay != NULL)
        o->config.on_relay(o->config.arg, here);
}

/* A sweep looks at all ids. */
static struct err place(struct outbox *o, struct db_session *connection, bool sweep,
                        bool *more)
{
    struct placing placing = {.outbox = o};
    struct db_query query = query_of("place", "iibb", "+iI" EVENT_SHAPE_MAYBE, PLACE);
    struct db_query any = query_of("any_unplaced", "i", "+b", ANY_UNPLACED);
    bool found = false;

    any.values[0] = db_i(sweep ? 0 : o->floor);
    struct err e = db_session_run(connection, &any, false, on_answer, &found);
    if (failed(e) || !found)
        return e;
    query.values[0] = db_i(PLACE_MOST);
    query.values[1] = any.values[0];
    query.values[2] = db_i(o->config.nats == NULL);
    query.values[3] = db_i(o->config.local != NULL);
    e = db_session_run(connection, &query, true, on_placed, &placing);
    *more = placing.count == PLACE_MOST;
    if (!failed(e) && placing.count > 0)
        tell_placed(o);
    return e;
}

/* ---- pruning ----------------------------------------------------------------------- */

/*
 * Always a prefix, so that what is left has no gap: up to the first that is not old enough.
 * $1 how long they are kept, $2 how many.
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
    "       (SELECT count(*) FROM orders.cursors c" /* that were passed by this very time */
    "        WHERE c.position < m.pruned AND c.position >= m.pruned - m.count) "
    "FROM moved m";

/* Whether the oldest there is is old enough.  $1 how long they are kept. */
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
        log_warn("cursors_passed",
                 "cursors=%" PRId64 " note=\"they were too far behind\"",
                 db_number(rows, 0, 2));
}

static struct err prune(struct outbox *o, struct db_session *connection, bool *more)
{
    struct db_query query = query_of("prune_events", "ii", "*iii", PRUNE);
    struct db_query any = query_of("any_old", "i", "+b", ANY_OLD);
    bool found = false;

    any.values[0] = db_i(o->config.keep_ms);
    struct err e = db_session_run(connection, &any, false, on_answer, &found);
    if (failed(e) || !found)
        return e;
    query.values[0] = db_i(o->config.keep_ms);
    query.values[1] = db_i(PRUNE_MOST);
    return db_session_run(connection, &query, true, on_pruned, more);
}

/* ---- reporting --------------------------------------------------------------------- */

/* $1 how far it is worth counting. */
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

static void show(struct outbox *o, struct backlog backlog)
{
    gauge_set(o->unplaced, backlog.unplaced);
    gauge_set(o->unpublished, backlog.unpublished);
    gauge_set(o->lag_ms, backlog.lag_ms);
    gauge_set(o->dead, backlog.dead);
    gauge_set(o->waiting, backlog.waiting);
    atomic_store(&o->waiting_for_place, backlog.unplaced);
    atomic_store(&o->waiting_for_bus, backlog.unpublished);
    atomic_store(&o->oldest_ms, backlog.lag_ms);
}

static struct err too_many(struct outbox *o, long long count, const char *what)
{
    if (count <= o->config.backlog_max)
        return ERR_NONE;
    return err_make(
        ERR_UNAVAILABLE,
        "%lld events wait for %s, the oldest for %lld s (backlog_max is %" PRId64 ").",
        count, what, atomic_load(&o->oldest_ms) / 1000, o->config.backlog_max);
}

struct outbox_health outbox_health(struct outbox *o)
{
    struct outbox_health health = {.events = duty_health(o->placer), .nats = ERR_NONE};

    if (!failed(health.events))
        health.events = too_many(o, atomic_load(&o->waiting_for_place), "a position");
    if (o->courier != NULL)
        health.nats = courier_health(o->courier);
    if (o->courier != NULL && !failed(health.nats))
        health.nats = too_many(o, atomic_load(&o->waiting_for_bus), "NATS");
    return health;
}

static void on_backlog(void *arg, const struct db_rows *rows)
{
    struct outbox *o = arg;
    int64_t now = clock_monotonic_ms();
    const struct backlog b = {db_number(rows, 0, 0), db_number(rows, 0, 1),
                              db_number(rows, 0, 2), db_number(rows, 0, 3),
                              db_number(rows, 0, 4)};

    show(o, b);
    if (b.unplaced + b.unpublished < BACKLOG_TOLD || now < o->told_ms)
        return;
    log_warn("events_backlog",
             "unplaced=%" PRId64 " unpublished=%" PRId64 " oldest_ms=%" PRId64,
             b.unplaced, b.unpublished, b.lag_ms);
    o->told_ms = now + TELL_EVERY_MS;
}

static struct err report(struct outbox *o, struct db_session *connection)
{
    struct db_query query = query_of("backlog", "i", "+iiiii", BACKLOG);

    query.values[0] = db_i(COUNTED_MOST);
    return db_session_run(connection, &query, false, on_backlog, o);
}

/* ---- the placer -------------------------------------------------------------------- */

static struct err placer_begin(void *arg, struct db_session *connection)
{
    struct outbox *o = arg;
    struct db_query query = query_of(
        "hold", "t", NULL, "UPDATE orders.relay SET holder = $1, held_since = now()");

    o->floor = o->before = o->highest = 0;
    o->sweep_ms = o->prune_ms = o->report_ms = o->listen_ms = o->told_ms = 0;
    gauge_set(o->active, 1);
    tell_relay(o, true);
    query.values[0] = db_t(o->config.owner);
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

static bool at_rest(const struct outbox *o)
{
    return clock_monotonic_ms() - o->placed_ms > REPORT_AT_REST_MS;
}

static struct err placer_work(void *arg, struct db_session *connection, bool *more)
{
    struct outbox *o = arg;
    bool pruned_more = false, sweep = due(&o->sweep_ms, SWEEP_EVERY_MS);
    struct err e = ERR_NONE;

    if (o->config.local != NULL && due(&o->listen_ms, LISTEN_EVERY_MS))
        bus_local_listen(o->config.local);
    if (due(&o->report_ms, at_rest(o) ? REPORT_AT_REST_MS : REPORT_EVERY_MS))
        e = report(o, connection);
    if (!failed(e))
        e = place(o, connection, sweep, more);
    if (failed(e))
        return e; /* what a sweep did not see stays above the floor */
    if (sweep && *more) {
        o->sweep_ms = 0; /* it did not see the end */
    } else if (sweep) {
        o->floor = o->before;
        o->before = o->highest;
    }
    if (!*more && due(&o->prune_ms, o->config.prune_every_ms))
        e = prune(o, connection, &pruned_more);
    if (pruned_more)
        o->prune_ms = 0;
    return e;
}

static void placer_end(void *arg)
{
    struct outbox *o = arg;

    tell_relay(o, false); /* first: closing a socket takes its time */
    if (o->config.local != NULL)
        bus_local_leave(o->config.local);
    gauge_set(o->active, 0);
    show(o, (struct backlog){0}); /* another tells it now */
}

/* ---- life -------------------------------------------------------------------------- */

static struct err start_placer(struct outbox *o)
{
    return duty_start(&(struct duty_config){.name = "placer",
                                            .database_url = o->config.database_url,
                                            .lock = PLACER_LOCK,
                                            .takeover_ms = o->config.takeover_ms,
                                            .every_ms = o->config.every_ms,
                                            .begin = placer_begin,
                                            .work = placer_work,
                                            .end = placer_end,
                                            .arg = o},
                      &o->placer);
}

static struct err start_courier(struct outbox *o)
{
    return courier_start(&(struct courier_config){.database_url = o->config.database_url,
                                                  .every_ms = o->config.every_ms,
                                                  .takeover_ms = o->config.takeover_ms,
                                                  .attempts = o->config.nats_attempts,
                                                  .nats = o->config.nats,
                                                  .metrics = o->config.metrics},
                         &o->courier);
}

struct err outbox_start(const struct outbox_config *config, struct outbox **out)
{
    struct outbox *o = calloc(1, sizeof *o);

    if (o == NULL)
        return err_memory();
    o->config = *config;
    o->active = metrics_gauge(config->metrics, "relay_active", "duty=placer");
    o->unplaced = metrics_gauge(config->metrics, "events_unplaced", "");
    if (config->nats != NULL) { /* without a bus there is nothing to be told of it */
        o->unpublished = metrics_gauge(config->metrics, "events_unpublished", "");
        o->dead = metrics_gauge(config->metrics, "events_dead_letters", "state=given_up");
        o->waiting = metrics_gauge(config->metrics, "events_dead_letters", "state=tried");
    }
    o->lag_ms = metrics_gauge(config->metrics, "events_lag_ms", "");
    struct err e = config->nats != NULL ? start_courier(o) : ERR_NONE;
    if (!failed(e)) /* last: it stirs the other */
        e = start_placer(o);
    if (failed(e))
        outbox_stop(o);
    else
        *out = o;
    return e;
}

void outbox_stir(struct outbox *o)
{
    if (o != NULL)
        duty_stir(o->placer);
}

void outbox_stop(struct outbox *o)
{
    if (o == NULL)
        return;
    duty_stop(o->placer);
    courier_stop(o->courier);
    free(o);
}
