/* source.c - see source.h. */
#include "webhook/source.h"

#include <pthread.h>

#include "base/clock.h"

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

void source_wait_end(struct channel *channel, struct source_wait *wait)
{
    atomic_store(&wait->ended, true);
    channel_cancel(channel, atomic_load(&wait->ticket));
}

/* Either we see that it was ended, or whoever ends it sees the ticket. */
static void note_ticket(struct channel *channel, struct source_wait *wait,
                        channel_ticket ticket)
{
    atomic_store(&wait->ticket, ticket);
    if (atomic_load(&wait->ended))
        channel_cancel(channel, ticket);
}

/* The channel answers by the deadline, so there is none here. */
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

struct err source_read(struct channel *channel, const char *cursor, int64_t after,
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

struct err source_pruned(struct channel *channel, struct arena *arena, int64_t *out)
{
    const Events__V1__ReadReply *reply = NULL;
    /* A reader without a cursor that begins at 0 begins with the oldest there is. */
    struct err e = source_read(channel, "", 0, 1, 0, NULL, arena, &reply);

    if (!failed(e))
        *out = reply->n_events > 0 ? reply->events[0]->position - 1 : reply->last;
    return e;
}

struct err source_commit(struct channel *channel, const char *cursor, int64_t position,
                         struct arena *arena)
{
    Events__V1__CommitRequest request = EVENTS__V1__COMMIT_REQUEST__INIT;
    const ProtobufCMessage *reply = NULL;

    request.cursor = (char *)cursor;
    request.position = position;
    return call(channel, "events.v1.Events/Commit", &request.base,
                &events__v1__commit_reply__descriptor, arena, CALL_MS, NULL, &reply);
}
