/* subchannel.c - see subchannel.h. */
#include "rpc/client/subchannel.h"

#include <assert.h>
#include <nng/protocol/reqrep0/req.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/cork.h"
#include "base/log.h"
#include "rpc/nng_defects/nng_defects.h"
#include "rpc/wire/envelope.h"

enum {
    REDIAL_LEAST_MS = 10,
    REDIAL_MOST_MS = 500,
    GIVEN_UP_MS = 3 * REDIAL_MOST_MS, /* without a connection: the dialer does not try */
    SEND_WAIT_MS = 1000, /* for a connection, before another address is tried */
    AGAIN_MS = 10,       /* after an empty answer, or when memory was short */
};

/* A message under way, and the one that answers it. */
struct batch {
    struct subchannel *subchannel;
    struct batch *next; /* free ones */
    nng_aio *aio;
    nng_ctx context;
    bool receiving;
    struct requests requests; /* sent with it, and not answered */
};

/* ---------------------------------------------------------- the connection */

/* ADD_PRE comes before nng uses a new connection.  With a later event an answer could arrive
 * first, and the next call would take a hung address for the only one that is connected. */
static void on_pipe(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    struct subchannel *s = arg;
    unsigned id = (unsigned)nng_pipe_id(pipe), current = id;

    if (event == NNG_PIPE_EV_ADD_PRE) {
        pthread_mutex_lock(&s->lock);
        s->pipe = id;
        pthread_mutex_unlock(&s->lock);
        atomic_store(&s->connected, id);
        return;
    }
    atomic_store(&s->alone_since_ms, clock_monotonic_ms());
    atomic_compare_exchange_strong(&s->connected, &current, 0);
    pthread_mutex_lock(&s->lock);
    if (s->pipe == id)
        s->pipe = 0;
    if (!TAILQ_EMPTY(&s->awaiting))
        sweeper_want(s->owner->sweeper, 0);
    pthread_mutex_unlock(&s->lock);
    connection_ended();
}

/* nng's own resending is off: the server would refuse a repeated frame as a replay. */
static int prepare(struct subchannel *s)
{
    int rv = nng_socket_set_ms(s->socket, NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE);

    if (rv == 0)
        rv = nng_socket_set_size(s->socket, NNG_OPT_RECVMAXSZ, ENVELOPE_RECEIVE_MAX);
    if (rv == 0)
        rv = nng_socket_set_ms(s->socket, NNG_OPT_RECONNMINT, REDIAL_LEAST_MS);
    if (rv == 0)
        rv = nng_socket_set_ms(s->socket, NNG_OPT_RECONNMAXT, REDIAL_MOST_MS);
    if (rv == 0)
        rv = nng_pipe_notify(s->socket, NNG_PIPE_EV_ADD_PRE, on_pipe, s);
    if (rv == 0)
        rv = nng_pipe_notify(s->socket, NNG_PIPE_EV_REM_POST, on_pipe, s);
    return rv;
}

static int dial(struct subchannel *s)
{
    s->dialled_ms = clock_monotonic_ms();
    return tls_dial(s->socket, s->url, s->tls, &s->dialer);
}

struct err subchannel_open(const char *url, const struct tls_files *tls,
                           const struct subchannel_owner *owner, struct subchannel **out)
{
    struct subchannel *s = *out = calloc(1, sizeof *s);

    if (s == NULL)
        return err_memory();
    s->owner = owner;
    pthread_mutex_init(&s->lock, NULL);
    TAILQ_INIT(&s->queued);
    TAILQ_INIT(&s->awaiting);
    atomic_init(&s->connected, 0);
    atomic_init(&s->alone_since_ms, clock_monotonic_ms());
    if (strlen(url) >= URL_SIZE)
        return err_make(ERR_INVALID_ARGUMENT, "an address is at most %d bytes",
                        URL_SIZE - 1);
    memcpy(s->url, url, strlen(url) + 1);
    struct err e = tls_config(tls, TLS_CALL, url, &s->tls);
    if (failed(e))
        return e;
    int rv = nng_req0_open(&s->socket);
    s->open = rv == 0;
    if (rv == 0)
        rv = prepare(s);
    if (rv != 0)
        return err_make(ERR_UNAVAILABLE, "no socket for %s: %s", url, nng_strerror(rv));
    rv = dial(s);
    if (rv != 0)
        return err_make(ERR_INVALID_ARGUMENT, "'%s' cannot be dialled: %s", url,
                        nng_strerror(rv));
    return ERR_NONE;
}

static void batch_free(struct batch *batch)
{
    nng_aio_free(batch->aio); /* waits until its callback is over */
    free(batch);
}

void subchannel_close(struct subchannel *s)
{
    if (s->open)
        nng_close(s->socket);
    if (s->tls != NULL)
        nng_tls_config_free(s->tls);
    if (s->past_tls != NULL)
        nng_tls_config_free(s->past_tls);
    for (size_t i = 0; i < s->batch_count; i++)
        batch_free(s->batches[i]);
    rpc_batch_free(&s->outgoing);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

bool subchannel_connected(const struct subchannel *s)
{
    return atomic_load(&s->connected) > 0;
}

bool subchannel_may_answer(const struct subchannel *s)
{
    return subchannel_connected(s) ||
           atomic_load(&s->alone_since_ms) > clock_monotonic_ms() - GIVEN_UP_MS;
}

/*
 * A dialer of nng 1.5.2 stops forever when its peer dies in the middle of a handshake (it
 * takes EPIPE for its own closing).  Replacing one that still waits to try again does no
 * harm: no server listens there.
 */
void subchannel_keep_dialling(struct subchannel *s)
{
    if (subchannel_may_answer(s) || s->dialled_ms > clock_monotonic_ms() - GIVEN_UP_MS)
        return;
    nng_dialer_close(s->dialer);
    if (dial(s) != 0) /* no memory; the next call tries again */
        log_warn("dial_failed", "url=%s", s->url);
}

/* A dialer takes another configuration while it dials, as a listener does (nng_defects/watchdog.c).  A
 * closed one does not; the next dialer is made with it. */
void subchannel_set_tls(struct subchannel *s, nng_tls_config *config)
{
    int rv = nng_dialer_set_ptr(s->dialer, NNG_OPT_TLS_CONFIG, config);

    if (rv != 0 && rv != NNG_ENOENT)
        log_error("certificate_rejected", "url=%s error=%s", s->url, nng_strerror(rv));
    if (s->past_tls != NULL)
        nng_tls_config_free(s->past_tls);
    s->past_tls = s->tls;
    s->tls = config;
}

/* ---------------------------------------------------------- requests */

static struct requests *list_of(struct request *request)
{
    if (request->place == QUEUED)
        return &request->subchannel->queued;
    return request->batch != NULL ? &request->batch->requests
                                  : &request->subchannel->awaiting;
}

static struct request **chain_of(struct subchannel *s, uint32_t id)
{
    return &s->by_id[id % BY_ID_CHAINS];
}

/* Takes the request out of the subchannel.  The lock is held, here and in all
 * functions below that do not take it. */
static void take_out(struct request *request)
{
    struct request **link = chain_of(request->subchannel, request->wire_id);

    while (*link != request)
        link = &(*link)->chained;
    *link = request->chained;
    TAILQ_REMOVE(list_of(request), request, beside);
    request->subchannel->sent -= request->place == SENT;
    nng_msg_free(request->frame);
    request->frame = NULL;
    request->place = NOWHERE;
    request->batch = NULL;
}

static void take_out_all(struct requests *from, struct requests *to)
{
    struct request *request;

    while ((request = TAILQ_FIRST(from)) != NULL) {
        take_out(request);
        TAILQ_INSERT_TAIL(to, request, beside);
    }
}

/* Hands each request of the list to `end`, without the lock. */
static void end_all(struct requests *requests, void (*end)(struct request *, int),
                    int result)
{
    struct request *request;

    cork_begin();
    while ((request = TAILQ_FIRST(requests)) != NULL) {
        TAILQ_REMOVE(requests, request, beside);
        end(request, result);
    }
    cork_end();
}

void subchannel_add(struct subchannel *s, struct request *request)
{
    int64_t by_ms = request->answer_by_ms;

    pthread_mutex_lock(&s->lock);
    request->subchannel = s;
    request->batch = NULL;
    request->place = QUEUED;
    request->wire_id = s->next_id++;
    request->chained = *chain_of(s, request->wire_id);
    *chain_of(s, request->wire_id) = request;
    TAILQ_INSERT_TAIL(&s->queued, request, beside);
    pthread_mutex_unlock(&s->lock);
    sweeper_want(s->owner->sweeper, by_ms);
}

void subchannel_cancel(struct request *request)
{
    struct subchannel *s = request->subchannel;

    if (s == NULL)
        return;
    pthread_mutex_lock(&s->lock);
    if (request->place == SENDING)
        nng_aio_cancel(request->batch->aio);
    else if (request->place != NOWHERE)
        sweeper_want(s->owner->sweeper, 0);
    pthread_mutex_unlock(&s->lock);
}

/* ---------------------------------------------------------- sending */

static void on_aio(void *batch);

static struct batch *batch_new(struct subchannel *s)
{
    struct batch *batch = calloc(1, sizeof *batch);

    if (batch == NULL)
        return NULL;
    batch->subchannel = s;
    TAILQ_INIT(&batch->requests);
    if (nng_aio_alloc(&batch->aio, on_aio, batch) != 0 ||
        nng_ctx_open(&batch->context, s->socket) != 0) {
        batch_free(batch);
        return NULL;
    }
    s->batches[s->batch_count++] = batch;
    return batch;
}

/* NULL: BATCHES_MAX are outstanding, or memory is short. */
static struct batch *batch_take(struct subchannel *s)
{
    struct batch *batch = s->free;

    if (batch != NULL)
        s->free = batch->next;
    else if (s->batch_count < BATCHES_MAX)
        batch = batch_new(s);
    s->batches_outstanding += batch != NULL;
    return batch;
}

static void batch_give_back(struct batch *batch)
{
    assert(TAILQ_EMPTY(&batch->requests));
    batch->next = batch->subchannel->free;
    batch->subchannel->free = batch;
    batch->subchannel->batches_outstanding--;
}

/* A message of queued requests, which move to the batch; NULL, and none moved, when memory is
 * short. */
static nng_msg *load(struct subchannel *s, struct batch *batch)
{
    struct rpc_batch *outgoing = &s->outgoing;
    struct request *request;

    for (size_t count = 0; count < RPC_BATCH_FRAMES_MAX; count++) {
        if ((request = TAILQ_FIRST(&s->queued)) == NULL)
            break;
        size_t size = nng_msg_len(request->frame);
        if (outgoing->size + RPC_BATCH_ENTRY + size >= RPC_BATCH_MAX ||
            !rpc_batch_add(outgoing, request->wire_id, nng_msg_body(request->frame),
                           size))
            break;
        TAILQ_REMOVE(&s->queued, request, beside);
        TAILQ_INSERT_TAIL(&batch->requests, request, beside);
    }
    nng_msg *message = rpc_batch_take(outgoing);
    if (message == NULL) {
        outgoing->size = 0;
        TAILQ_CONCAT(&batch->requests, &s->queued, beside);
        TAILQ_CONCAT(&s->queued, &batch->requests, beside);
    }
    return message;
}

/* Marks a loaded batch's requests as being sent; returns the time until one is late. */
static int64_t mark_sending(struct batch *batch)
{
    int64_t by_ms = INT64_MAX;
    struct request *request;

    TAILQ_FOREACH (request, &batch->requests, beside) {
        nng_msg_free(request->frame);
        request->frame = NULL;
        request->place = SENDING;
        request->batch = batch;
        if (request->answer_by_ms < by_ms)
            by_ms = request->answer_by_ms;
    }
    return clock_remaining_ms(by_ms);
}

/* Sends one batch of queued requests, an empty one if there are none; false when it cannot. */
static bool send_one(struct subchannel *s)
{
    struct batch *batch = batch_take(s);

    if (batch == NULL)
        return false;
    nng_msg *message = load(s, batch);
    if (message == NULL) {
        batch_give_back(batch);
        sweeper_want(s->owner->sweeper, clock_monotonic_ms() + AGAIN_MS);
        return false;
    }
    int64_t left = mark_sending(batch);
    batch->receiving = false;
    nng_aio_set_msg(batch->aio, message);
    nng_aio_set_timeout(batch->aio,
                        (nng_duration)(left < SEND_WAIT_MS ? left : SEND_WAIT_MS));
    nng_ctx_send(batch->context, batch->aio);
    return true;
}

/* Sends what is queued, as far as it can.  Takes the lock. */
static void flush(struct subchannel *s)
{
    pthread_mutex_lock(&s->lock);
    while (!TAILQ_EMPTY(&s->queued) && send_one(s))
        ;
    pthread_mutex_unlock(&s->lock);
}

static void on_uncorked(void *arg)
{
    struct subchannel *s = arg;

    flush(s);
    atomic_fetch_sub(s->owner->inside, 1);
}

void subchannel_send(struct subchannel *s)
{
    switch (cork_hold(on_uncorked, s)) {
    case CORK_NONE:
        flush(s);
        break;
    case CORK_NEW:
        atomic_fetch_add(s->owner->inside, 1);
        break;
    case CORK_HELD:
        break;
    }
}

/* The server can only answer waiting requests in reply to a batch.  Takes the lock. */
static void keep_one_request_outstanding(struct subchannel *s)
{
    pthread_mutex_lock(&s->lock);
    if (s->sent > 0 && s->batches_outstanding == 0)
        send_one(s);
    pthread_mutex_unlock(&s->lock);
}

/* ---------------------------------------------------------- receiving */

static void on_sent(struct batch *batch)
{
    struct subchannel *s = batch->subchannel;
    struct request *request;

    pthread_mutex_lock(&s->lock);
    batch->receiving = true;
    TAILQ_FOREACH (request, &batch->requests, beside) {
        request->place = SENT;
        s->sent++;
        if (cancel_requested(&request->cancel))
            sweeper_want(s->owner->sweeper, 0);
    }
    nng_aio_set_timeout(batch->aio, NNG_DURATION_INFINITE);
    nng_ctx_recv(batch->context, batch->aio);
    pthread_mutex_unlock(&s->lock);
}

/* Takes out the request that was sent under that number; NULL when there is none. */
static struct request *find_sent(struct subchannel *s, uint32_t wire_id)
{
    pthread_mutex_lock(&s->lock);
    struct request *request = *chain_of(s, wire_id);
    while (request != NULL && request->wire_id != wire_id)
        request = request->chained;
    if (request != NULL && request->place != QUEUED)
        take_out(request);
    else
        request = NULL;
    pthread_mutex_unlock(&s->lock);
    return request;
}

/* A batch came back: its requests are answered by it, or wait for another one. */
static void take_batch(struct batch *batch, nng_msg *message)
{
    struct subchannel *s = batch->subchannel;
    uint32_t pipe = (uint32_t)nng_pipe_id(nng_msg_get_pipe(message)), id;
    struct request *request;
    uint8_t *frame;
    size_t size;

    pthread_mutex_lock(&s->lock);
    while ((request = TAILQ_FIRST(&batch->requests)) != NULL) {
        TAILQ_REMOVE(&batch->requests, request, beside);
        TAILQ_INSERT_TAIL(&s->awaiting, request, beside);
        request->batch = NULL;
        request->pipe = pipe;
        if (pipe != s->pipe)
            sweeper_want(s->owner->sweeper, 0);
    }
    pthread_mutex_unlock(&s->lock);
    struct rpc_batch_reader reader =
        rpc_batch_read(nng_msg_body(message), nng_msg_len(message));
    while (rpc_batch_next(&reader, &id, &frame, &size))
        if ((request = find_sent(s, id)) != NULL)
            s->owner->answered(request, frame, size);
}

/* The message is not a batch: it is used as the answer to each request of the batch. */
static void take_plain(struct batch *batch, nng_msg *message)
{
    struct subchannel *s = batch->subchannel;
    struct requests requests = TAILQ_HEAD_INITIALIZER(requests);
    struct request *request;

    pthread_mutex_lock(&s->lock);
    take_out_all(&batch->requests, &requests);
    pthread_mutex_unlock(&s->lock);
    while ((request = TAILQ_FIRST(&requests)) != NULL) {
        TAILQ_REMOVE(&requests, request, beside);
        s->owner->answered(request, nng_msg_body(message), nng_msg_len(message));
    }
}

static void on_received(struct batch *batch, nng_msg *message)
{
    struct subchannel *s = batch->subchannel;
    bool empty = nng_msg_len(message) == 1;

    cork_begin();
    if (rpc_batch_valid(nng_msg_body(message), nng_msg_len(message), SIZE_MAX))
        take_batch(batch, message);
    else
        take_plain(batch, message);
    nng_msg_free(message);
    pthread_mutex_lock(&s->lock);
    batch_give_back(batch);
    pthread_mutex_unlock(&s->lock);
    flush(s);
    if (empty)
        sweeper_want(s->owner->sweeper, clock_monotonic_ms() + AGAIN_MS);
    else
        keep_one_request_outstanding(s);
    cork_end();
}

/* The batch was not sent, or its answer will never come. */
static void on_failed(struct batch *batch, int result)
{
    struct subchannel *s = batch->subchannel;
    const struct subchannel_owner *owner = s->owner;
    struct requests requests = TAILQ_HEAD_INITIALIZER(requests);
    bool was_sent = batch->receiving;

    nng_msg_free(nng_aio_get_msg(batch->aio));
    nng_aio_set_msg(batch->aio, NULL);
    pthread_mutex_lock(&s->lock);
    take_out_all(&batch->requests, &requests);
    batch_give_back(batch);
    pthread_mutex_unlock(&s->lock);
    end_all(&requests, was_sent ? owner->lost : owner->unsent, result);
    if (result != NNG_ECLOSED)
        flush(s);
}

static void on_aio(void *arg)
{
    struct batch *batch = arg;
    int result = nng_aio_result(batch->aio);

    if (result != 0) {
        on_failed(batch, result);
    } else if (!batch->receiving) {
        on_sent(batch);
    } else {
        nng_msg *message = nng_aio_get_msg(batch->aio);
        nng_aio_set_msg(batch->aio, NULL);
        on_received(batch, message);
    }
}

/* ---------------------------------------------------------- ending what waits too long */

struct sweep {
    struct subchannel *subchannel;
    bool all;
    int64_t now_ms, next_ms;
    struct requests unsent, late, gone;
};

/* A batch that is being sent has a time-out of its own. */
static void sweep_sending(struct sweep *sweep, struct batch *batch)
{
    struct request *request;

    if (sweep->all && !TAILQ_EMPTY(&batch->requests))
        nng_aio_cancel(batch->aio);
    TAILQ_FOREACH (request, &batch->requests, beside)
        if (request->answer_by_ms < sweep->next_ms)
            sweep->next_ms = request->answer_by_ms;
}

static void sweep_list(struct sweep *sweep, struct requests *list)
{
    struct subchannel *s = sweep->subchannel;
    struct request *request, *next;

    for (request = TAILQ_FIRST(list); request != NULL; request = next) {
        next = TAILQ_NEXT(request, beside);
        bool gone = list == &s->awaiting && request->pipe != s->pipe;
        bool late = request->answer_by_ms <= sweep->now_ms;
        if (!gone && !late && !sweep->all && !cancel_requested(&request->cancel)) {
            if (request->answer_by_ms < sweep->next_ms)
                sweep->next_ms = request->answer_by_ms;
            continue;
        }
        struct requests *to = request->place == QUEUED ? &sweep->unsent
                              : gone                   ? &sweep->gone
                                                       : &sweep->late;
        take_out(request);
        TAILQ_INSERT_TAIL(to, request, beside);
    }
}

int64_t subchannel_sweep(struct subchannel *s, bool all)
{
    const struct subchannel_owner *owner = s->owner;
    struct sweep sweep = {.subchannel = s,
                          .all = all,
                          .now_ms = clock_monotonic_ms(),
                          .next_ms = INT64_MAX};

    TAILQ_INIT(&sweep.unsent);
    TAILQ_INIT(&sweep.late);
    TAILQ_INIT(&sweep.gone);
    pthread_mutex_lock(&s->lock);
    sweep_list(&sweep, &s->queued);
    sweep_list(&sweep, &s->awaiting);
    for (size_t i = 0; i < s->batch_count; i++) {
        struct batch *batch = s->batches[i];
        if (batch->receiving)
            sweep_list(&sweep, &batch->requests);
        else
            sweep_sending(&sweep, batch);
    }
    pthread_mutex_unlock(&s->lock);
    end_all(&sweep.unsent, owner->unsent, NNG_ETIMEDOUT);
    end_all(&sweep.late, owner->lost, NNG_ETIMEDOUT);
    end_all(&sweep.gone, owner->lost, NNG_ECONNRESET);
    if (!all) {
        flush(s);
        keep_one_request_outstanding(s);
    }
    return sweep.next_ms;
}
