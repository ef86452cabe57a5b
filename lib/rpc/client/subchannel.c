/* subchannel.c - see subchannel.h. */
#include "rpc/client/subchannel.h"

#include <assert.h>
#include <nng/protocol/reqrep0/req.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/cork.h"
#include "base/log.h"
#include "rpc/nng_defects/ended.h"
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

/* Runs before nng uses a new connection.  Later an answer could come through it first, and
 * the next call would take a hung address for the only one there is. */
static void on_pipe(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    struct subchannel *subchannel = arg;
    unsigned id = (unsigned)nng_pipe_id(pipe), current = id;

    if (event == NNG_PIPE_EV_ADD_PRE) {
        pthread_mutex_lock(&subchannel->lock);
        subchannel->pipe = id;
        pthread_mutex_unlock(&subchannel->lock);
        atomic_store(&subchannel->connected, id);
        return;
    }
    atomic_store(&subchannel->alone_since_ms, clock_monotonic_ms());
    atomic_compare_exchange_strong(&subchannel->connected, &current, 0);
    pthread_mutex_lock(&subchannel->lock);
    if (subchannel->pipe == id)
        subchannel->pipe = 0;
    if (!TAILQ_EMPTY(&subchannel->awaiting))
        sweeper_want(subchannel->owner->sweeper, 0);
    pthread_mutex_unlock(&subchannel->lock);
    ended_count();
}

/* nng's own resending is off: the server would refuse a repeated frame as a replay. */
static int prepare(struct subchannel *subchannel)
{
    nng_socket socket = subchannel->socket;
    int rv = nng_socket_set_ms(socket, NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE);

    if (rv == 0)
        rv = nng_socket_set_size(socket, NNG_OPT_RECVMAXSZ, ENVELOPE_RECEIVE_MAX);
    if (rv == 0)
        rv = nng_socket_set_ms(socket, NNG_OPT_RECONNMINT, REDIAL_LEAST_MS);
    if (rv == 0)
        rv = nng_socket_set_ms(socket, NNG_OPT_RECONNMAXT, REDIAL_MOST_MS);
    if (rv == 0)
        rv = nng_pipe_notify(socket, NNG_PIPE_EV_ADD_PRE, on_pipe, subchannel);
    if (rv == 0)
        rv = nng_pipe_notify(socket, NNG_PIPE_EV_REM_POST, on_pipe, subchannel);
    return rv;
}

static int dial(struct subchannel *subchannel)
{
    subchannel->dialled_ms = clock_monotonic_ms();
    return tls_dial(subchannel->socket, subchannel->url, subchannel->tls,
                    &subchannel->dialer);
}

struct err subchannel_open(const char *url, const struct tls_files *tls,
                           const struct subchannel_owner *owner, struct subchannel **out)
{
    struct subchannel *subchannel = *out = calloc(1, sizeof *subchannel);

    if (subchannel == NULL)
        return err_memory();
    subchannel->owner = owner;
    pthread_mutex_init(&subchannel->lock, NULL);
    TAILQ_INIT(&subchannel->queued);
    TAILQ_INIT(&subchannel->awaiting);
    atomic_init(&subchannel->connected, 0);
    atomic_init(&subchannel->alone_since_ms, clock_monotonic_ms());
    if (strlen(url) >= URL_SIZE)
        return err_make(ERR_INVALID_ARGUMENT, "an address is at most %d bytes",
                        URL_SIZE - 1);
    memcpy(subchannel->url, url, strlen(url) + 1);
    struct err e = tls_config(tls, TLS_CALL, url, &subchannel->tls);
    if (failed(e))
        return e;
    int rv = nng_req0_open(&subchannel->socket);
    subchannel->open = rv == 0;
    if (rv == 0)
        rv = prepare(subchannel);
    if (rv != 0)
        return err_make(ERR_UNAVAILABLE, "no socket for %s: %s", url, nng_strerror(rv));
    rv = dial(subchannel);
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

void subchannel_close(struct subchannel *subchannel)
{
    if (subchannel->open)
        nng_close(subchannel->socket);
    if (subchannel->tls != NULL)
        nng_tls_config_free(subchannel->tls);
    if (subchannel->past_tls != NULL)
        nng_tls_config_free(subchannel->past_tls);
    for (size_t i = 0; i < subchannel->batch_count; i++)
        batch_free(subchannel->batches[i]);
    rpc_batch_free(&subchannel->outgoing);
    pthread_mutex_destroy(&subchannel->lock);
    free(subchannel);
}

bool subchannel_connected(const struct subchannel *subchannel)
{
    return atomic_load(&subchannel->connected) > 0;
}

bool subchannel_may_answer(const struct subchannel *subchannel)
{
    return subchannel_connected(subchannel) ||
           atomic_load(&subchannel->alone_since_ms) > clock_monotonic_ms() - GIVEN_UP_MS;
}

/*
 * A dialer of nng 1.5.2 stops for good when its peer dies in the middle of a handshake (it
 * takes EPIPE for its own closing).  Replacing one that still waits to try again does no
 * harm: no server listens there.
 */
void subchannel_keep_dialling(struct subchannel *subchannel)
{
    if (subchannel_may_answer(subchannel) ||
        subchannel->dialled_ms > clock_monotonic_ms() - GIVEN_UP_MS)
        return;
    nng_dialer_close(subchannel->dialer);
    if (dial(subchannel) != 0) /* no memory; the next call tries again */
        log_warn("not_dialled", "url=%s", subchannel->url);
}

/* A dialer takes another configuration while it dials, as a listener does (watch.c).  A
 * closed one does not; the next dialer is made with it. */
void subchannel_set_tls(struct subchannel *subchannel, nng_tls_config *config)
{
    int rv = nng_dialer_set_ptr(subchannel->dialer, NNG_OPT_TLS_CONFIG, config);

    if (rv != 0 && rv != NNG_ENOENT)
        log_error("certificate_not_used", "url=%s error=%s", subchannel->url,
                  nng_strerror(rv));
    if (subchannel->past_tls != NULL)
        nng_tls_config_free(subchannel->past_tls);
    subchannel->past_tls = subchannel->tls;
    subchannel->tls = config;
}

/* ---------------------------------------------------------- requests */

static struct requests *list_of(struct request *request)
{
    if (request->place == QUEUED)
        return &request->subchannel->queued;
    return request->batch != NULL ? &request->batch->requests
                                  : &request->subchannel->awaiting;
}

static struct request **chain_of(struct subchannel *subchannel, uint32_t id)
{
    return &subchannel->by_id[id % BY_ID_CHAINS];
}

/* From here on the request is the caller's.  The lock is held, as for all that follow but for
 * those that take it. */
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

void subchannel_add(struct subchannel *subchannel, struct request *request)
{
    int64_t by_ms = request->answer_by_ms;

    pthread_mutex_lock(&subchannel->lock);
    request->subchannel = subchannel;
    request->batch = NULL;
    request->place = QUEUED;
    request->wire_id = subchannel->next_id++;
    request->chained = *chain_of(subchannel, request->wire_id);
    *chain_of(subchannel, request->wire_id) = request;
    TAILQ_INSERT_TAIL(&subchannel->queued, request, beside);
    pthread_mutex_unlock(&subchannel->lock);
    sweeper_want(subchannel->owner->sweeper, by_ms);
}

void subchannel_cancel(struct request *request)
{
    struct subchannel *subchannel = request->subchannel;

    if (subchannel == NULL)
        return;
    pthread_mutex_lock(&subchannel->lock);
    if (request->place == SENDING)
        nng_aio_cancel(request->batch->aio);
    else if (request->place != NOWHERE)
        sweeper_want(subchannel->owner->sweeper, 0);
    pthread_mutex_unlock(&subchannel->lock);
}

/* ---------------------------------------------------------- sending */

static void on_aio(void *batch);

static struct batch *batch_new(struct subchannel *subchannel)
{
    struct batch *batch = calloc(1, sizeof *batch);

    if (batch == NULL)
        return NULL;
    batch->subchannel = subchannel;
    TAILQ_INIT(&batch->requests);
    if (nng_aio_alloc(&batch->aio, on_aio, batch) != 0 ||
        nng_ctx_open(&batch->context, subchannel->socket) != 0) {
        batch_free(batch);
        return NULL;
    }
    subchannel->batches[subchannel->batch_count++] = batch;
    return batch;
}

/* NULL: BATCHES_MAX are outstanding, or memory is short. */
static struct batch *batch_take(struct subchannel *subchannel)
{
    struct batch *batch = subchannel->free;

    if (batch != NULL)
        subchannel->free = batch->next;
    else if (subchannel->batch_count < BATCHES_MAX)
        batch = batch_new(subchannel);
    subchannel->batches_outstanding += batch != NULL;
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
static nng_msg *load(struct subchannel *subchannel, struct batch *batch)
{
    struct rpc_batch *outgoing = &subchannel->outgoing;
    struct request *request;

    for (size_t count = 0; count < RPC_BATCH_FRAMES_MAX; count++) {
        if ((request = TAILQ_FIRST(&subchannel->queued)) == NULL)
            break;
        size_t size = nng_msg_len(request->frame);
        if (outgoing->size + RPC_BATCH_ENTRY + size >= RPC_BATCH_MAX ||
            !rpc_batch_add(outgoing, request->wire_id, nng_msg_body(request->frame),
                           size))
            break;
        TAILQ_REMOVE(&subchannel->queued, request, beside);
        TAILQ_INSERT_TAIL(&batch->requests, request, beside);
    }
    nng_msg *message = rpc_batch_take(outgoing);
    if (message == NULL) {
        outgoing->size = 0;
        TAILQ_CONCAT(&batch->requests, &subchannel->queued, beside);
        TAILQ_CONCAT(&subchannel->queued, &batch->requests, beside);
    }
    return message;
}

/* Marks a loaded batch's requests as being sent; gives the time until the first is late. */
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

/* Sends one batch of what is queued, be it nothing; false when it cannot. */
static bool send_one(struct subchannel *subchannel)
{
    struct batch *batch = batch_take(subchannel);

    if (batch == NULL)
        return false;
    nng_msg *message = load(subchannel, batch);
    if (message == NULL) {
        batch_give_back(batch);
        sweeper_want(subchannel->owner->sweeper, clock_monotonic_ms() + AGAIN_MS);
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
static void flush(struct subchannel *subchannel)
{
    pthread_mutex_lock(&subchannel->lock);
    while (!TAILQ_EMPTY(&subchannel->queued) && send_one(subchannel))
        ;
    pthread_mutex_unlock(&subchannel->lock);
}

static void on_uncorked(void *arg)
{
    struct subchannel *subchannel = arg;

    flush(subchannel);
    atomic_fetch_sub(subchannel->owner->inside, 1);
}

void subchannel_send(struct subchannel *subchannel)
{
    switch (cork_hold(on_uncorked, subchannel)) {
    case CORK_NONE:
        flush(subchannel);
        break;
    case CORK_NEW:
        atomic_fetch_add(subchannel->owner->inside, 1);
        break;
    case CORK_HELD:
        break;
    }
}

/* The server can only answer waiting requests in reply to a batch.  Takes the lock. */
static void keep_one_request_outstanding(struct subchannel *subchannel)
{
    pthread_mutex_lock(&subchannel->lock);
    if (subchannel->sent > 0 && subchannel->batches_outstanding == 0)
        send_one(subchannel);
    pthread_mutex_unlock(&subchannel->lock);
}

/* ---------------------------------------------------------- receiving */

static void on_sent(struct batch *batch)
{
    struct subchannel *subchannel = batch->subchannel;
    struct request *request;

    pthread_mutex_lock(&subchannel->lock);
    batch->receiving = true;
    TAILQ_FOREACH (request, &batch->requests, beside) {
        request->place = SENT;
        subchannel->sent++;
        if (cancel_asked(&request->cancel))
            sweeper_want(subchannel->owner->sweeper, 0);
    }
    nng_aio_set_timeout(batch->aio, NNG_DURATION_INFINITE);
    nng_ctx_recv(batch->context, batch->aio);
    pthread_mutex_unlock(&subchannel->lock);
}

/* The request that was sent under that number, taken out; NULL when none waits under it. */
static struct request *find_sent(struct subchannel *subchannel, uint32_t wire_id)
{
    pthread_mutex_lock(&subchannel->lock);
    struct request *request = *chain_of(subchannel, wire_id);
    while (request != NULL && request->wire_id != wire_id)
        request = request->chained;
    if (request != NULL && request->place != QUEUED)
        take_out(request);
    else
        request = NULL;
    pthread_mutex_unlock(&subchannel->lock);
    return request;
}

/* A batch came back: its requests are answered by it, or wait for another one. */
static void take_batch(struct batch *batch, nng_msg *message)
{
    struct subchannel *subchannel = batch->subchannel;
    uint32_t pipe = (uint32_t)nng_pipe_id(nng_msg_get_pipe(message)), id;
    struct request *request;
    uint8_t *frame;
    size_t size;

    pthread_mutex_lock(&subchannel->lock);
    while ((request = TAILQ_FIRST(&batch->requests)) != NULL) {
        TAILQ_REMOVE(&batch->requests, request, beside);
        TAILQ_INSERT_TAIL(&subchannel->awaiting, request, beside);
        request->batch = NULL;
        request->pipe = pipe;
        if (pipe != subchannel->pipe)
            sweeper_want(subchannel->owner->sweeper, 0);
    }
    pthread_mutex_unlock(&subchannel->lock);
    struct rpc_batch_reader reader =
        rpc_batch_read(nng_msg_body(message), nng_msg_len(message));
    while (rpc_batch_next(&reader, &id, &frame, &size))
        if ((request = find_sent(subchannel, id)) != NULL)
            subchannel->owner->answered(request, frame, size);
}

/* What came is no batch: it is taken for the answer to each request of the batch. */
static void take_plain(struct batch *batch, nng_msg *message)
{
    struct subchannel *subchannel = batch->subchannel;
    struct requests requests = TAILQ_HEAD_INITIALIZER(requests);
    struct request *request;

    pthread_mutex_lock(&subchannel->lock);
    take_out_all(&batch->requests, &requests);
    pthread_mutex_unlock(&subchannel->lock);
    while ((request = TAILQ_FIRST(&requests)) != NULL) {
        TAILQ_REMOVE(&requests, request, beside);
        subchannel->owner->answered(request, nng_msg_body(message), nng_msg_len(message));
    }
}

static void on_received(struct batch *batch, nng_msg *message)
{
    struct subchannel *subchannel = batch->subchannel;
    bool empty = nng_msg_len(message) == 1;

    cork_begin();
    if (rpc_batch_valid(nng_msg_body(message), nng_msg_len(message), SIZE_MAX))
        take_batch(batch, message);
    else
        take_plain(batch, message);
    nng_msg_free(message);
    pthread_mutex_lock(&subchannel->lock);
    batch_give_back(batch);
    pthread_mutex_unlock(&subchannel->lock);
    flush(subchannel);
    if (empty)
        sweeper_want(subchannel->owner->sweeper, clock_monotonic_ms() + AGAIN_MS);
    else
        keep_one_request_outstanding(subchannel);
    cork_end();
}

/* The batch was not sent, or its answer will never come. */
static void on_failed(struct batch *batch, int result)
{
    struct subchannel *subchannel = batch->subchannel;
    const struct subchannel_owner *owner = subchannel->owner;
    struct requests requests = TAILQ_HEAD_INITIALIZER(requests);
    bool was_sent = batch->receiving;

    nng_msg_free(nng_aio_get_msg(batch->aio));
    nng_aio_set_msg(batch->aio, NULL);
    pthread_mutex_lock(&subchannel->lock);
    take_out_all(&batch->requests, &requests);
    batch_give_back(batch);
    pthread_mutex_unlock(&subchannel->lock);
    end_all(&requests, was_sent ? owner->lost : owner->unsent, result);
    if (result != NNG_ECLOSED)
        flush(subchannel);
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
    struct subchannel *subchannel = sweep->subchannel;
    struct request *request, *next;

    for (request = TAILQ_FIRST(list); request != NULL; request = next) {
        next = TAILQ_NEXT(request, beside);
        bool gone = list == &subchannel->awaiting && request->pipe != subchannel->pipe;
        bool late = request->answer_by_ms <= sweep->now_ms;
        if (!gone && !late && !sweep->all && !cancel_asked(&request->cancel)) {
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

int64_t subchannel_sweep(struct subchannel *subchannel, bool all)
{
    const struct subchannel_owner *owner = subchannel->owner;
    struct sweep sweep = {.subchannel = subchannel,
                          .all = all,
                          .now_ms = clock_monotonic_ms(),
                          .next_ms = INT64_MAX};

    TAILQ_INIT(&sweep.unsent);
    TAILQ_INIT(&sweep.late);
    TAILQ_INIT(&sweep.gone);
    pthread_mutex_lock(&subchannel->lock);
    sweep_list(&sweep, &subchannel->queued);
    sweep_list(&sweep, &subchannel->awaiting);
    for (size_t i = 0; i < subchannel->batch_count; i++) {
        struct batch *batch = subchannel->batches[i];
        if (batch->receiving)
            sweep_list(&sweep, &batch->requests);
        else
            sweep_sending(&sweep, batch);
    }
    pthread_mutex_unlock(&subchannel->lock);
    end_all(&sweep.unsent, owner->unsent, NNG_ETIMEDOUT);
    end_all(&sweep.late, owner->lost, NNG_ETIMEDOUT);
    end_all(&sweep.gone, owner->lost, NNG_ECONNRESET);
    if (!all) {
        flush(subchannel);
        keep_one_request_outstanding(subchannel);
    }
    return sweep.next_ms;
}
