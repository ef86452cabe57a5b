/* feed.c - see feed.h. */
#include "orchestrator/events/feed.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/program/worker.h"
#include "db/db.h"
#include "orchestrator/events/bus/event.h"

enum {
    LIMIT_DEFAULT = 100,
    END_QUERY_MS = 1000,     /* for one read of the end of the log */
    END_PAUSE_MS = 2000,     /* at most, between two such reads */
    IDLE_MS = 60000,         /* likewise, when no call is parked */
    ANSWER_MS = 200,         /* reserved of a call's time for its answer to arrive */
    REPLY_ROOM = 900 * 1024, /* bytes of events in one reply, of RPC_MESSAGE_MAX */
    EVENT_OVERHEAD = 128,    /* of an event's other fields, packed */
};

/* A call under way: in its arena. */
struct reading {
    struct db_query query;
    struct request_context ctx;
    struct feed *feed;
    int64_t until_ms; /* end of its wait; clock_monotonic_ms */
    int64_t start;    /* the position to read after, from the last query */
    int64_t placed;
    uint64_t placings; /* feed->placings when the query began */
    struct reading *next;
};

struct feed {
    struct db *db;
    struct worker *worker;
    size_t parked_max;
    pthread_mutex_t lock; /* guards those below */
    struct reading *parked;
    size_t parked_count;
    bool stopping;
    bool relayed;      /* by this process: feed_placed is called each time */
    uint64_t placings; /* calls of feed_placed and feed_relay so far */
    uint64_t seen;     /* `placings` at the last read of the end of the log */
};

/*
 * Reads after the caller's cursor or `after`, whichever is later.  0 means from the
 * oldest event kept.  $1 after, $2 caller, $3 cursor or "", $4 limit.
 */
static const char READ[] =
    "SELECT s.placed, s.pruned, s.start, " EVENT_COLUMNS
    "FROM (SELECT r.placed, r.pruned,"
    "             CASE WHEN greatest($1, coalesce(c.position, 0)) = 0 THEN r.pruned"
    "                  ELSE greatest($1, coalesce(c.position, 0)) END AS start"
    "      FROM orders.relay r"
    "      LEFT JOIN orders.cursors c ON c.caller = $2 AND c.name = $3) s "
    "LEFT JOIN LATERAL ("
    "    SELECT * FROM orders.outbox o WHERE o.position > s.start ORDER BY o.position LIMIT $4"
    ") e ON true ORDER BY e.position";

enum { COLUMN_PLACED, COLUMN_PRUNED, COLUMN_START, COLUMN_EVENT };

/* ---- the answer -------------------------------------------------------------------- */

static void finish(struct reading *reading, struct err error,
                   const Events__V1__ReadReply *reply)
{
    reading->ctx.done(reading->ctx.arg, error, failed(error) ? NULL : &reply->base);
}

static void finish_empty(struct reading *reading)
{
    Events__V1__ReadReply reply = EVENTS__V1__READ_REPLY__INIT;

    reply.last = reading->start;
    reply.placed = reading->placed;
    finish(reading, ERR_NONE, &reply);
}

static Events__V1__Event *make_event(struct arena *arena, const struct event *row,
                                     size_t size)
{
    Events__V1__Event *event = arena_alloc(arena, sizeof *event);
    char *json = arena_alloc(arena, size + 1);

    if (event == NULL || json == NULL)
        return NULL;
    events__v1__event__init(event);
    event_json(row, json, size + 1);
    event->json = json;
    event->position = row->position;
    event->created_at_ms = row->created_at_ms;
    event->id = arena_strdup(arena, row->id);
    event->type = (char *)row->type; /* borrowed: the reply is packed while rows live */
    event->order_id = (char *)row->order_id;
    return event->id == NULL ? NULL : event;
}

static struct err fill(struct arena *arena, const struct db_rows *rows,
                       Events__V1__ReadReply *reply)
{
    size_t room = REPLY_ROOM;

    reply->events = arena_alloc(arena, (size_t)rows->count * sizeof *reply->events);
    if (reply->events == NULL)
        return err_memory();
    for (int i = 0; i < rows->count; i++) {
        struct event row;
        struct err e = event_read(rows, i, COLUMN_EVENT, &row);
        if (failed(e))
            return i == 0 ? e : ERR_NONE; /* those before it can be read */
        size_t size = event_json_size(&row);
        if (size + EVENT_OVERHEAD > room)
            break;
        room -= size + EVENT_OVERHEAD;
        reply->events[i] = make_event(arena, &row, size);
        if (reply->events[i] == NULL)
            return err_memory();
        reply->n_events++;
        reply->last = row.position;
    }
    return ERR_NONE;
}

static struct err check_range(const struct db_rows *rows)
{
    int64_t start = db_number(rows, 0, COLUMN_START),
            pruned = db_number(rows, 0, COLUMN_PRUNED);
    int64_t placed = db_number(rows, 0, COLUMN_PLACED);

    if (start < pruned)
        return err_make(ERR_OUT_OF_RANGE,
                        "Events after %" PRId64 " are asked for, but those up to %" PRId64
                        " were pruned.",
                        start, pruned);
    if (start > placed)
        return err_make(ERR_OUT_OF_RANGE,
                        "Events after %" PRId64
                        " are asked for, but the newest is %" PRId64
                        "; is this another database?",
                        start, placed);
    return ERR_NONE;
}

/* ---- parking ----------------------------------------------------------------------- */

/* Runs the query.  It may miss events that are placed after this point. */
static void start_query(struct reading *reading)
{
    struct feed *feed = reading->feed;

    pthread_mutex_lock(&feed->lock);
    reading->placings = feed->placings;
    pthread_mutex_unlock(&feed->lock);
    db_read(feed->db, &reading->query);
}

/* Parks the call.  False when it cannot wait: *full if too many calls wait, *missed if
 * events may have been placed since its query. */
static bool park(struct reading *reading, bool *full, bool *missed)
{
    struct feed *feed = reading->feed;

    pthread_mutex_lock(&feed->lock);
    *full = feed->parked_count >= feed->parked_max;
    *missed = feed->placings != reading->placings;
    bool may = !feed->stopping && clock_monotonic_ms() < reading->until_ms;
    bool parked = may && !*full && !*missed;
    *missed = *missed && may;
    if (parked) {
        reading->next = feed->parked;
        feed->parked = reading;
        feed->parked_count++;
        if (feed->relayed)
            worker_run_by(feed->worker, reading->until_ms);
        else
            worker_reset_backoff(feed->worker);
    }
    pthread_mutex_unlock(&feed->lock);
    return parked;
}

void feed_relay(void *arg, bool here)
{
    struct feed *feed = arg;

    pthread_mutex_lock(&feed->lock);
    feed->relayed = here;
    feed->placings++; /* the previous relay may have placed events */
    if (!feed->stopping)
        worker_reset_backoff(feed->worker);
    pthread_mutex_unlock(&feed->lock);
}

void feed_placed(void *arg)
{
    struct feed *feed = arg;

    pthread_mutex_lock(&feed->lock);
    feed->placings++;
    if (!feed->stopping && feed->parked != NULL)
        worker_run_now(feed->worker);
    pthread_mutex_unlock(&feed->lock);
}

static void on_rows(void *arg, struct err error, const struct db_rows *rows)
{
    struct reading *reading = arg;
    Events__V1__ReadReply reply = EVENTS__V1__READ_REPLY__INIT;
    bool full = false, missed = false;

    if (!failed(error))
        error = check_range(rows);
    if (failed(error)) {
        finish(reading, error, NULL);
        return;
    }
    reading->start = reply.last = db_number(rows, 0, COLUMN_START);
    reading->placed = reply.placed = db_number(rows, 0, COLUMN_PLACED);
    if (db_size(rows, 0, COLUMN_EVENT) > 0) {
        error = fill(reading->ctx.arena, rows, &reply);
        finish(reading, error, &reply);
    } else if (park(reading, &full, &missed)) {
        return; /* no longer ours */
    } else if (missed) {
        start_query(reading);
    } else if (full) {
        finish(reading,
               err_make(ERR_RESOURCE_EXHAUSTED, "Too many calls wait for events."), NULL);
    } else {
        finish_empty(reading);
    }
}

/* Removes the calls that are due: their wait is over, there are events after their start,
 * or they were cancelled. */
static struct reading *take_due(struct feed *feed, int64_t now_ms, int64_t placed)
{
    struct reading *due = NULL, **at = &feed->parked;

    pthread_mutex_lock(&feed->lock);
    while (*at != NULL) {
        struct reading *reading = *at;
        if (reading->until_ms > now_ms && reading->start >= placed &&
            !cancel_requested(reading->ctx.cancel)) {
            at = &reading->next;
            continue;
        }
        *at = reading->next;
        reading->next = due;
        due = reading;
        feed->parked_count--;
    }
    pthread_mutex_unlock(&feed->lock);
    return due;
}

/* Whether to read the end of the log, and how long to pause afterwards. */
static bool end_due(struct feed *feed, int64_t *rest_ms)
{
    int64_t now_ms = clock_monotonic_ms(), most = IDLE_MS;

    pthread_mutex_lock(&feed->lock);
    for (const struct reading *r = feed->parked; r != NULL; r = r->next)
        if (r->until_ms - now_ms < most)
            most = r->until_ms - now_ms > 0 ? r->until_ms - now_ms : 1;
    bool due = feed->parked != NULL && (!feed->relayed || feed->seen != feed->placings);
    feed->seen = feed->placings;
    if (feed->parked != NULL && !feed->relayed && most > END_PAUSE_MS)
        most = END_PAUSE_MS;
    pthread_mutex_unlock(&feed->lock);
    *rest_ms = most;
    return due;
}

static void on_end(void *placed, const struct db_rows *rows)
{
    if (rows->count > 0)
        *(int64_t *)placed = db_number(rows, 0, 0);
}

static int64_t read_end(struct feed *feed)
{
    int64_t placed = 0;
    struct db_query query = {
        .name = "events_end",
        .types = "",
        .rows = "*i",
        .sql = "SELECT placed FROM orders.relay",
        .deadline_ms = clock_monotonic_ms() + END_QUERY_MS,
    };
    struct err e = db_read_wait(feed->db, &query, on_end, &placed);

    if (failed(e))
        log_debug("events_end_read_failed", "error=%s", e.message);
    return placed;
}

static int64_t serve_parked(void *arg)
{
    struct feed *feed = arg;
    int64_t rest_ms;

    int64_t placed = end_due(feed, &rest_ms) ? read_end(feed) : 0;
    struct reading *next, *reading = take_due(feed, clock_monotonic_ms(), placed);
    for (; reading != NULL; reading = next) {
        next = reading->next;
        if (reading->start < placed)
            start_query(reading);
        else
            finish_empty(reading);
    }
    return rest_ms;
}

/* ---- opening, reading, stopping ---------------------------------------------------------- */

void feed_read(struct feed *feed, const struct request_context *ctx, const char *caller,
               const Events__V1__ReadRequest *request)
{
    struct reading *reading = arena_alloc(ctx->arena, sizeof *reading);
    int64_t until = clock_monotonic_ms() + request->wait_ms;

    if (reading == NULL) {
        ctx->done(ctx->arg, err_memory(), NULL);
        return;
    }
    *reading = (struct reading){
        .query = {.name = "read_events",
                  .types = "itti",
                  .rows = "+iii" EVENT_SHAPE_MAYBE,
                  .sql = READ,
                  .values = {db_i(request->after), db_t(caller), db_t(request->cursor),
                             db_i(request->limit == 0 ? LIMIT_DEFAULT : request->limit)},
                  .deadline_ms = ctx->deadline_ms,
                  .request = ctx->request,
                  .done = on_rows,
                  .arg = reading},
        .ctx = *ctx,
        .feed = feed,
        .until_ms =
            until < ctx->deadline_ms - ANSWER_MS ? until : ctx->deadline_ms - ANSWER_MS,
    };
    start_query(reading);
}

struct err feed_open(struct db *db, int64_t every_ms, size_t parked_max,
                     struct feed **out)
{
    struct feed *feed = calloc(1, sizeof *feed);

    if (feed == NULL)
        return err_memory();
    feed->db = db;
    feed->parked_max = parked_max;
    pthread_mutex_init(&feed->lock, NULL);
    struct err e =
        worker_start_with_backoff("feed", every_ms, serve_parked, feed, &feed->worker);
    if (failed(e))
        feed_free(feed);
    else
        *out = feed;
    return e;
}

void feed_stop(struct feed *feed)
{
    if (feed == NULL)
        return;
    pthread_mutex_lock(&feed->lock);
    feed->stopping = true;
    struct worker *worker = feed->worker;
    feed->worker = NULL;
    pthread_mutex_unlock(&feed->lock);
    worker_stop(worker);
    struct reading *next, *reading = take_due(feed, INT64_MAX, 0);
    for (; reading != NULL; reading = next) {
        next = reading->next;
        finish_empty(reading);
    }
}

void feed_free(struct feed *feed)
{
    if (feed == NULL)
        return;
    pthread_mutex_destroy(&feed->lock);
    free(feed);
}
