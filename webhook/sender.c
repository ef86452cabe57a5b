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

#include "base/clock.h"
#include "base/log.h"
#include "rpc/server/server.h"
#include "webhook/gone.h"
#include "webhook/pending.h"
#include "webhook/post.h"
#include "webhook/resend.h"
#include "webhook/source.h"

enum {
    BATCH = 50,
    WAIT_MS = 55000, /* for an event; ended by sender_look and sender_stop */
    PAUSE_MS = 500,  /* after the orchestrator or the disk failed */
    RESTS_AFTER = 5, /* deliveries in a row that failed */
    RETRY_AFTER_MAX_MS = 3600000,
    DOUBLINGS_MAX = 30,
};

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
    int64_t after; /* handled up to here, whether committed or not */
    struct pending pending;
    struct post *post;
    struct arena *arena;             /* of one round */
    int failures;                    /* in a row */
    char problem[POST_PROBLEM_SIZE]; /* of the last of them */
    bool troubled;                   /* told of it */
    atomic_bool gone;                /* the receiver answered 410; */
    bool marked;                     /* and that is on the disk */
};

static bool resting(const struct sender *s)
{
    return s->failures >= RESTS_AFTER;
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

/* Doubled each time, and up to a fifth more, so that many do not come at once. */
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

static void note_outcome(struct sender *s, const struct letter *letter,
                         const struct posted *posted)
{
    if (posted->received) {
        if (resting(s))
            log_info("endpoint_back", "endpoint=%s", s->config.endpoint->name);
        s->failures = 0;
        return;
    }
    log_warn("delivery_failed",
             "endpoint=%s order=%s event_id=%s attempt=%" PRId64 " problem=%s",
             s->config.endpoint->name, letter->order_id, letter->id, letter->attempts,
             posted->problem);
    s->failures++;
    memcpy(s->problem, posted->problem, sizeof s->problem);
    if (s->failures == RESTS_AFTER)
        log_warn("endpoint_rests", "endpoint=%s", s->config.endpoint->name);
}

/* Posts once; gives whether it was received, and else puts off the next time. */
static struct posted deliver(struct sender *s, struct letter *letter)
{
    struct posted posted = post_event(s->post, letter->id, letter->json);

    if (!posted.received && atomic_load(&s->stopping))
        return posted; /* it was we who ended it */
    letter->attempts++;
    if (!posted.received)
        letter->next_ms =
            clock_wall_ms() + delay_after(s, letter->attempts, posted.retry_after_ms);
    s->gone |= posted.gone;
    note_outcome(s, letter, &posted);
    return posted;
}

/* ---- what is pending --------------------------------------------------------------- */

/* It is still to be removed. */
static struct err bury(struct sender *s, size_t i, const char *problem)
{
    const struct letter *letter = &s->pending.letters[i];
    struct err e = pending_bury(&s->pending, i, problem);

    if (!failed(e))
        log_line(LOG_ERROR, "event_dead",
                 "endpoint=%s order=%s event_id=%s attempts=%" PRId64 " list=%s",
                 s->config.endpoint->name, letter->order_id, letter->id, letter->attempts,
                 s->pending.dead_path);
    return e;
}

/* True when it is no longer pending: received, or dead. */
static struct err retry(struct sender *s, size_t i, bool *gone)
{
    struct letter *letter = &s->pending.letters[i];
    bool was_resting = resting(s);
    struct posted posted = deliver(s, letter);
    struct err e = ERR_NONE;

    s->pending.changed = true;
    *gone = posted.received;
    if (posted.received && was_resting)
        for (size_t n = 0; n < s->pending.count; n++)
            s->pending.letters[n].next_ms = 0; /* it is back: all of them now */
    if (posted.received || s->gone || atomic_load(&s->stopping) ||
        clock_wall_ms() - letter->created_at_ms < s->config.give_up_ms)
        return e;
    e = bury(s, i, posted.problem);
    *gone = !failed(e);
    return e;
}

/* Whatever is due, in order; an event whose order has an earlier one pending waits for
 * it. */
static struct err retry_due(struct sender *s)
{
    struct err e = ERR_NONE;
    size_t i = 0;

    while (i < s->pending.count && !failed(e) && !s->gone && !atomic_load(&s->stopping)) {
        struct letter *letter = &s->pending.letters[i];
        bool gone = false;
        if (letter->next_ms <= clock_wall_ms() &&
            !pending_has_order(&s->pending, letter->order_id, i))
            e = retry(s, i, &gone);
        if (gone)
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
        const struct letter *letter = &s->pending.letters[i];
        if (pending_has_order(&s->pending, letter->order_id, i))
            continue; /* it waits for that one */
        int64_t left = letter->next_ms - now;
        if (left < most)
            most = left;
    }
    return most > 10 ? most : 10;
}

/* ---- what is new ------------------------------------------------------------------- */

/* False when the endpoint or the pending file takes no more now; it is then not handled.
 */
static struct err handle(struct sender *s, const Events__V1__Event *event, bool *handled)
{
    struct letter letter = {.position = event->position,
                            .id = event->id,
                            .order_id = event->order_id,
                            .json = event->json,
                            .created_at_ms = event->created_at_ms};

    *handled = !resting(s) && !s->gone && s->pending.count < PENDING_MAX;
    if (!*handled || !endpoint_wants(s->config.endpoint, event->type) ||
        pending_has(&s->pending, event->position))
        return ERR_NONE;
    if (!pending_has_order(&s->pending, event->order_id, s->pending.count)) {
        if (deliver(s, &letter).received)
            return ERR_NONE;
        *handled = !atomic_load(&s->stopping);
    }
    return *handled ? pending_add(&s->pending, &letter) : ERR_NONE;
}

/* Saved before the cursor moves: from then on it is ours to remember. */
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

/* What was kept for too short a time is gone: say so, and go on with the oldest there is.
 */
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

/* ---- how it is --------------------------------------------------------------------- */

static struct err endpoint_health(const struct sender *s)
{
    const char *name = s->config.endpoint->name;

    if (resting(s))
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

/* After each round, by the sender's own thread. */
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

/* ---- gone -------------------------------------------------------------------------- */

/* A process that dies in between finds the mark, or is answered 410 once more. */
static struct err bury_all(struct sender *s)
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
        e = bury(s, 0, "answered 410: the endpoint is gone");
        if (!failed(e))
            pending_remove(&s->pending, 0);
    }
    struct err saved = pending_save(&s->pending);
    return failed(e) ? e : saved;
}

/* Nothing is read; what comes stays with the orchestrator. */
static struct err stay_gone(struct sender *s)
{
    bool still = true;
    struct err e = bury_all(s);

    if (!failed(e))
        e = gone_look(s->config.state_dir, s->config.endpoint, &still);
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

static struct err go_round(struct sender *s)
{
    atomic_store(&s->wait.ended, false);
    if (s->gone)
        return stay_gone(s);
    struct err e = resend_asked(&s->pending);

    if (!failed(e))
        e = retry_due(s);
    arena_reset(s->arena);
    if (failed(e) || s->gone || atomic_load(&s->stopping))
        return e;
    if (resting(s) || s->pending.count == PENDING_MAX) {
        pause_for(s, ms_to_next(s, WAIT_MS));
        return e;
    }
    return read_new(s);
}

static void *sender_main(void *arg)
{
    struct sender *s = arg;

    while (!atomic_load(&s->stopping)) {
        struct err e = go_round(s);
        note_health(s, e);
        if (failed(e) && !s->troubled)
            log_warn("sender_troubled", "endpoint=%s error=%s", s->config.endpoint->name,
                     e.message);
        else if (!failed(e) && s->troubled)
            log_info("sender_well", "endpoint=%s", s->config.endpoint->name);
        s->troubled = failed(e);
        if (failed(e))
            pause_for(s, PAUSE_MS);
    }
    struct err e = pending_save(&s->pending);
    if (failed(e))
        log_warn("not_saved", "error=%s", e.message);
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
        e = gone_look(config->state_dir, config->endpoint, &s->marked);
    s->gone = s->marked;
    if (!failed(e) && pthread_create(&s->thread, NULL, sender_main, s) != 0)
        e = err_make(ERR_RESOURCE_EXHAUSTED, "Cannot start a sender's thread.");
    if (failed(e)) {
        sender_free(s);
        return e;
    }
    pthread_setname_np(s->thread, "sender");
    const char *url = config->endpoint->url;
    log_info("sending", "endpoint=%s url=%.*s pending=%zu", config->endpoint->name,
             (int)endpoint_origin(url), url, s->pending.count);
    *out = s;
    return ERR_NONE;
}

/* Ends whatever the sender waits for. */
static void wake(struct sender *s)
{
    pthread_mutex_lock(&s->lock);
    source_wait_end(s->config.channel, &s->wait);
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
}

void sender_look(struct sender *s)
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
