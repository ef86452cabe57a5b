/* sender.c - see sender.h. */
#include "webhook/sender.h"

#include <inttypes.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "proto/events.pb-c.h"
#include "rpc/server/server.h"
#include "webhook/pending.h"
#include "webhook/post.h"

enum {
    BATCH = 50,
    WAIT_MS = 55000,  /* of a call for events, unless woken */
    RETRY_MS = 500,   /* after the orchestrator or the disk failed */
    PAUSED_AFTER = 5, /* failed deliveries in a row */
    RETRY_AFTER_MAX_MS = 3600000,
    DOUBLINGS_MAX = 30,
};

/* ---- reading events from the orchestrator ------------------------------------------ */

/* Lets another thread end a wait for events, even one that is about to begin.  Starts
 * zeroed. */
struct source_wait {
    atomic_bool ended; /* reset by the thread that waits */
    _Atomic channel_ticket ticket;
};

enum { CALL_MS = 10000 };

struct waiting {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool ended;
    struct err error;
    const ProtobufCMessage *reply;
};

static void on_done(void *arg, struct err error, const ProtobufCMessage *reply,
                    bool replayed)
{
    struct waiting *waiting = arg;

    (void)replayed;
    pthread_mutex_lock(&waiting->lock);
    waiting->error = error;
    waiting->reply = reply;
    waiting->ended = true;
    pthread_cond_signal(&waiting->wake);
    pthread_mutex_unlock(&waiting->lock);
}

static void source_wait_end(struct channel *channel, struct source_wait *wait)
{
    atomic_store(&wait->ended, true);
    channel_cancel(channel, atomic_load(&wait->ticket));
}

/* No race: either we see that the wait was ended, or source_wait_end sees the ticket. */
static void note_ticket(struct channel *channel, struct source_wait *wait,
                        channel_ticket ticket)
{
    atomic_store(&wait->ticket, ticket);
    if (atomic_load(&wait->ended))
        channel_cancel(channel, ticket);
}

/* Blocks; the channel completes the call by its deadline. */
static struct err call(struct channel *channel, const char *method,
                       const ProtobufCMessage *request,
                       const ProtobufCMessageDescriptor *reply_type, struct arena *arena,
                       int64_t timeout_ms, struct source_wait *wait,
                       const ProtobufCMessage **reply)
{
    struct waiting waiting = {.lock = PTHREAD_MUTEX_INITIALIZER,
                              .wake = PTHREAD_COND_INITIALIZER};
    const struct channel_call what = {
        .method = method,
        .request = request,
        .reply_type = reply_type,
        .arena = arena,
        .deadline_ms = clock_monotonic_ms() + timeout_ms,
    };

    channel_ticket ticket = channel_call(channel, &what, on_done, &waiting);
    if (wait != NULL)
        note_ticket(channel, wait, ticket);
    pthread_mutex_lock(&waiting.lock);
    while (!waiting.ended)
        pthread_cond_wait(&waiting.wake, &waiting.lock);
    pthread_mutex_unlock(&waiting.lock);
    pthread_cond_destroy(&waiting.wake);
    pthread_mutex_destroy(&waiting.lock);
    *reply = waiting.reply;
    return waiting.error;
}

/* Events after the cursor and `after`; the reply lives in the arena.  CANCELLED when
 * `wait` was ended; with a NULL `wait` the call cannot be ended. */
static struct err source_read(struct channel *channel, const char *cursor, int64_t after,
                              int32_t limit, int32_t wait_ms, struct source_wait *wait,
                              struct arena *arena, const Events__V1__ReadReply **out)
{
    Events__V1__ReadRequest request = EVENTS__V1__READ_REQUEST__INIT;
    const ProtobufCMessage *reply = NULL;

    request.cursor = (char *)cursor;
    request.after = after;
    request.limit = limit;
    request.wait_ms = wait_ms;
    struct err e =
        call(channel, "events.v1.Events/Read", &request.base,
             &events__v1__read_reply__descriptor, arena, wait_ms + CALL_MS, wait, &reply);
    *out = (const Events__V1__ReadReply *)reply;
    return e;
}

/* The oldest position after which the log can still be read. */
static struct err source_pruned(struct channel *channel, struct arena *arena,
                                int64_t *out)
{
    const Events__V1__ReadReply *reply = NULL;
    /* A reader without a cursor that starts at 0 gets the oldest event there is. */
    struct err e = source_read(channel, "", 0, 1, 0, NULL, arena, &reply);

    if (!failed(e))
        *out = reply->n_events > 0 ? reply->events[0]->position - 1 : reply->last;
    return e;
}

static struct err source_commit(struct channel *channel, const char *cursor,
                                int64_t position, struct arena *arena)
{
    Events__V1__CommitRequest request = EVENTS__V1__COMMIT_REQUEST__INIT;
    const ProtobufCMessage *reply = NULL;

    request.cursor = (char *)cursor;
    request.position = position;
    return call(channel, "events.v1.Events/Commit", &request.base,
                &events__v1__commit_reply__descriptor, arena, CALL_MS, NULL, &reply);
}

/* ---- one endpoint ------------------------------------------------------------------ */

struct sender {
    struct sender_config config;
    pthread_t thread;
    pthread_mutex_t lock; /* guards the health */
    pthread_cond_t wake;
    struct sender_health health;
    atomic_bool stopping;
    struct source_wait wait;
    char resend_path[520];
    char cursor[64];
    int64_t after; /* last position handled, committed or not */
    struct pending pending;
    struct post *post;
    struct arena *arena;             /* reset each round */
    int failures;                    /* in a row */
    char problem[POST_PROBLEM_SIZE]; /* of the last failure */
    bool failing;                    /* was logged for this failure */
    atomic_bool gone;                /* the receiver answered 410 */
    bool marked;                     /* gone, and marked so on disk */
};

static bool is_paused(const struct sender *s)
{
    return s->failures >= PAUSED_AFTER;
}

static void pause_for(struct sender *s, int64_t ms)
{
    int64_t until = clock_monotonic_ms() + ms;

    pthread_mutex_lock(&s->lock);
    while (!atomic_load(&s->stopping) && !atomic_load(&s->wait.ended) &&
           clock_cond_wait(&s->wake, &s->lock, until))
        ;
    pthread_mutex_unlock(&s->lock);
}

/* ---- one delivery ------------------------------------------------------------------ */

/* Doubles with each attempt; up to 20 % is added at random, to spread the load. */
static int64_t delay_after(const struct sender *s, int64_t attempts, int64_t asked_ms)
{
    int64_t ms = s->config.retry_first_ms;

    for (int64_t i = 1; i < attempts && i < DOUBLINGS_MAX && ms < s->config.retry_most_ms;
         i++)
        ms *= 2;
    if (ms > s->config.retry_most_ms)
        ms = s->config.retry_most_ms;
    if (asked_ms > RETRY_AFTER_MAX_MS)
        asked_ms = RETRY_AFTER_MAX_MS;
    if (ms < asked_ms)
        ms = asked_ms;
    return ms + (int64_t)randombytes_uniform((uint32_t)(ms / 5 + 1));
}

static void note_outcome(struct sender *s, const struct delivery *delivery,
                         const struct posted *posted)
{
    if (posted->received) {
        if (is_paused(s))
            log_info("endpoint_recovered", "endpoint=%s", s->config.endpoint->name);
        s->failures = 0;
        return;
    }
    log_warn("delivery_failed",
             "endpoint=%s order=%s event_id=%s attempt=%" PRId64 " problem=%s",
             s->config.endpoint->name, delivery->order_id, delivery->id,
             delivery->attempts, posted->problem);
    s->failures++;
    memcpy(s->problem, posted->problem, sizeof s->problem);
    if (s->failures == PAUSED_AFTER)
        log_warn("endpoint_paused", "endpoint=%s", s->config.endpoint->name);
}

/* Posts once.  If that fails, sets the time of the next attempt. */
static struct posted deliver(struct sender *s, struct delivery *delivery)
{
    struct posted posted = post_event(s->post, delivery->id, delivery->json);

    if (!posted.received && atomic_load(&s->stopping))
        return posted; /* aborted by us: not a failed attempt */
    delivery->attempts++;
    if (!posted.received)
        delivery->next_ms =
            clock_wall_ms() + delay_after(s, delivery->attempts, posted.retry_after_ms);
    s->gone |= posted.gone;
    note_outcome(s, delivery, &posted);
    return posted;
}

/* ---- pending events ---------------------------------------------------------------- */

/* The caller then removes it from pending. */
static struct err dead_letter(struct sender *s, size_t i, const char *problem)
{
    const struct delivery *delivery = &s->pending.items[i];
    struct err e = pending_dead_letter(&s->pending, i, problem);

    if (!failed(e))
        log_line(LOG_ERROR, "event_dead",
                 "endpoint=%s order=%s event_id=%s attempts=%" PRId64 " list=%s",
                 s->config.endpoint->name, delivery->order_id, delivery->id,
                 delivery->attempts, s->pending.dead_path);
    return e;
}

/* `done`: no longer pending, because it was received or is a dead letter. */
static struct err retry(struct sender *s, size_t i, bool *done)
{
    struct delivery *delivery = &s->pending.items[i];
    bool was_paused = is_paused(s);
    struct posted posted = deliver(s, delivery);
    struct err e = ERR_NONE;

    s->pending.changed = true;
    *done = posted.received;
    if (posted.received && was_paused)
        for (size_t n = 0; n < s->pending.count; n++)
            s->pending.items[n].next_ms = 0; /* the endpoint recovered: retry all now */
    if (posted.received || s->gone || atomic_load(&s->stopping) ||
        clock_wall_ms() - delivery->created_at_ms < s->config.give_up_ms)
        return e;
    e = dead_letter(s, i, posted.problem);
    *done = !failed(e);
    return e;
}

/* Retries what is due, by position.  An event waits for earlier events of its order. */
static struct err retry_due(struct sender *s)
{
    struct err e = ERR_NONE;
    size_t i = 0;

    while (i < s->pending.count && !failed(e) && !s->gone && !atomic_load(&s->stopping)) {
        struct delivery *delivery = &s->pending.items[i];
        bool done = false;
        if (delivery->next_ms <= clock_wall_ms() &&
            !pending_has_order(&s->pending, delivery->order_id, i))
            e = retry(s, i, &done);
        if (done)
            pending_remove(&s->pending, i);
        else
            i++;
    }
    return failed(e) ? e : pending_save(&s->pending);
}

static int64_t ms_to_next(const struct sender *s, int64_t most)
{
    int64_t now = clock_wall_ms();

    for (size_t i = 0; i < s->pending.count; i++) {
        const struct delivery *delivery = &s->pending.items[i];
        if (pending_has_order(&s->pending, delivery->order_id, i))
            continue; /* waits for an earlier event of its order */
        int64_t left = delivery->next_ms - now;
        if (left < most)
            most = left;
    }
    return most > 10 ? most : 10;
}

/* ---- new events -------------------------------------------------------------------- */

/* `handled` is false when the endpoint is paused or gone, or pending is full. */
static struct err handle(struct sender *s, const Events__V1__Event *event, bool *handled)
{
    struct delivery delivery = {.position = event->position,
                                .id = event->id,
                                .order_id = event->order_id,
                                .json = event->json,
                                .created_at_ms = event->created_at_ms};

    *handled = !is_paused(s) && !s->gone && s->pending.count < PENDING_MAX;
    if (!*handled || !endpoint_wants(s->config.endpoint, event->type) ||
        pending_has(&s->pending, event->position))
        return ERR_NONE;
    if (!pending_has_order(&s->pending, event->order_id, s->pending.count)) {
        if (deliver(s, &delivery).received)
            return ERR_NONE;
        *handled = !atomic_load(&s->stopping);
    }
    return *handled ? pending_add(&s->pending, &delivery) : ERR_NONE;
}

/* Pending is saved before the cursor moves: events behind it are not read again. */
static struct err handle_all(struct sender *s, const Events__V1__ReadReply *reply)
{
    struct err e = ERR_NONE;
    int64_t done = s->after;
    bool handled = true;

    for (size_t i = 0; i < reply->n_events && !failed(e) && handled; i++) {
        e = handle(s, reply->events[i], &handled);
        if (!failed(e) && handled)
            done = reply->events[i]->position;
    }
    struct err saved = pending_save(&s->pending);
    if (failed(saved))
        return saved;
    if (done == s->after)
        return e;
    s->after = done;
    struct err committed = source_commit(s->config.channel, s->cursor, done, s->arena);
    return failed(e) ? e : committed;
}

/* Logs that events were pruned before they were read, and continues with the oldest
 * kept. */
static struct err skip_pruned(struct sender *s, struct err error)
{
    int64_t pruned = 0;
    struct err e = source_pruned(s->config.channel, s->arena, &pruned);

    if (failed(e) || pruned <= s->after)
        return failed(e) ? e : error;
    log_error("events_missed", "endpoint=%s after=%" PRId64 " up_to=%" PRId64 " error=%s",
              s->config.endpoint->name, s->after, pruned, error.message);
    s->after = pruned;
    return ERR_NONE;
}

static struct err read_new(struct sender *s)
{
    const Events__V1__ReadReply *reply = NULL;
    struct err e =
        source_read(s->config.channel, s->cursor, s->after, BATCH,
                    (int32_t)ms_to_next(s, WAIT_MS), &s->wait, s->arena, &reply);

    if (e.code == ERR_CANCELLED && atomic_load(&s->wait.ended))
        return ERR_NONE;
    if (e.code == ERR_OUT_OF_RANGE)
        return skip_pruned(s, e);
    if (failed(e))
        return e;
    if (reply->n_events > 0)
        return handle_all(s, reply);
    if (reply->last > s->after)
        s->after = reply->last;
    return e;
}

/* ---- health ------------------------------------------------------------------------ */

static struct err endpoint_health(const struct sender *s)
{
    const char *name = s->config.endpoint->name;

    if (is_paused(s))
        return err_make(ERR_UNAVAILABLE,
                        "%s receives nothing: the last %d deliveries failed, the last of "
                        "them: %s; %zu events are pending.",
                        name, s->failures, s->problem, s->pending.count);
    if ((int64_t)s->pending.count > s->config.backlog_max ||
        s->pending.count == PENDING_MAX)
        return err_make(ERR_UNAVAILABLE,
                        "%s is behind: %zu events are pending (backlog_max is %" PRId64
                        ").",
                        name, s->pending.count, s->config.backlog_max);
    return ERR_NONE;
}

/* Called by the sender's thread after each round. */
static void note_health(struct sender *s, struct err round)
{
    struct sender_health now = {.source = round, .endpoint = endpoint_health(s)};

    if (failed(round))
        now.source = err_make(ERR_UNAVAILABLE, "%s", round.message);
    pthread_mutex_lock(&s->lock);
    s->health = now;
    pthread_mutex_unlock(&s->lock);
}

struct sender_health sender_health(struct sender *s)
{
    pthread_mutex_lock(&s->lock);
    struct sender_health health = s->health;
    pthread_mutex_unlock(&s->lock);
    return health;
}

/* ---- 410 Gone ---------------------------------------------------------------------- */

/* Marks the endpoint first.  After a crash in between, the mark or another 410 triggers
 * this again. */
static struct err dead_letter_all(struct sender *s)
{
    struct err e = ERR_NONE;

    if (!s->marked) {
        e = gone_mark(s->config.state_dir, s->config.endpoint);
        if (failed(e))
            return e;
        log_error("endpoint_gone",
                  "endpoint=%s note=\"answered 410: nothing more is sent; checkoutctl "
                  "webhooks resume %s\"",
                  s->config.endpoint->name, s->config.endpoint->name);
        s->marked = true;
    }
    while (s->pending.count > 0 && !failed(e)) {
        e = dead_letter(s, 0, "answered 410: the endpoint is gone");
        if (!failed(e))
            pending_remove(&s->pending, 0);
    }
    struct err saved = pending_save(&s->pending);
    return failed(e) ? e : saved;
}

/* Reads no events; the orchestrator keeps them. */
static struct err wait_for_resume(struct sender *s)
{
    bool still = true;
    struct err e = dead_letter_all(s);

    if (!failed(e))
        e = gone_check(s->config.state_dir, s->config.endpoint, &still);
    if (failed(e))
        return e;
    if (still) {
        pause_for(s, WAIT_MS);
        return e;
    }
    log_info("endpoint_resumed", "endpoint=%s", s->config.endpoint->name);
    s->marked = false;
    s->gone = false;
    s->failures = 0;
    return e;
}

/* ---- the thread -------------------------------------------------------------------- */

static struct err run_round(struct sender *s)
{
    atomic_store(&s->wait.ended, false);
    if (s->gone)
        return wait_for_resume(s);
    struct err e = pending_resend(&s->pending);

    if (!failed(e))
        e = retry_due(s);
    arena_reset(s->arena);
    if (failed(e) || s->gone || atomic_load(&s->stopping))
        return e;
    if (is_paused(s) || s->pending.count == PENDING_MAX) {
        pause_for(s, ms_to_next(s, WAIT_MS));
        return e;
    }
    return read_new(s);
}

static void *sender_main(void *arg)
{
    struct sender *s = arg;

    while (!atomic_load(&s->stopping)) {
        struct err e = run_round(s);
        note_health(s, e);
        if (failed(e) && !s->failing)
            log_warn("sender_failed", "endpoint=%s error=%s", s->config.endpoint->name,
                     e.message);
        else if (!failed(e) && s->failing)
            log_info("sender_recovered", "endpoint=%s", s->config.endpoint->name);
        s->failing = failed(e);
        if (failed(e))
            pause_for(s, RETRY_MS);
    }
    struct err e = pending_save(&s->pending);
    if (failed(e))
        log_warn("pending_save_failed", "error=%s", e.message);
    return NULL;
}

static void sender_free(struct sender *s)
{
    pending_close(&s->pending);
    post_free(s->post);
    arena_free(s->arena);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

struct err sender_start(const struct sender_config *config, struct sender **out)
{
    struct sender *s = calloc(1, sizeof *s);

    if (s == NULL)
        return err_memory();
    s->config = *config;
    pthread_mutex_init(&s->lock, NULL);
    clock_cond_init(&s->wake);
    snprintf(s->cursor, sizeof s->cursor, "webhook-%s", config->endpoint->name);
    snprintf(s->resend_path, sizeof s->resend_path, "%s/%s.resend", config->state_dir,
             config->endpoint->name);
    s->arena = arena_new(RPC_ARENA_MAX);
    s->post = post_new(config->endpoint, config->timeout_ms, &s->stopping);
    struct err e = s->arena == NULL || s->post == NULL ? err_memory() : ERR_NONE;
    if (!failed(e))
        e = pending_open(&s->pending, config->state_dir, config->endpoint->name);
    if (!failed(e))
        e = gone_check(config->state_dir, config->endpoint, &s->marked);
    s->gone = s->marked;
    if (!failed(e) && pthread_create(&s->thread, NULL, sender_main, s) != 0)
        e = err_make(ERR_RESOURCE_EXHAUSTED, "Cannot start a sender's thread.");
    if (failed(e)) {
        sender_free(s);
        return e;
    }
    pthread_setname_np(s->thread, "sender");
    const char *url = config->endpoint->url;
    log_info("sender_started", "endpoint=%s url=%.*s pending=%zu", config->endpoint->name,
             (int)endpoint_origin(url), url, s->pending.count);
    *out = s;
    return ERR_NONE;
}

/* Ends the sender's current wait. */
static void wake(struct sender *s)
{
    pthread_mutex_lock(&s->lock);
    source_wait_end(s->config.channel, &s->wait);
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
}

void sender_check_requests(struct sender *s)
{
    if (s->gone || access(s->resend_path, F_OK) == 0)
        wake(s);
}

void sender_stop(struct sender *s)
{
    atomic_store(&s->stopping, true);
    wake(s);
}

void sender_join(struct sender *s)
{
    pthread_join(s->thread, NULL);
    sender_free(s);
}
