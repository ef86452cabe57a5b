/*
 * exchange.c - messages as they come, and what is sent for them; see serving.h.
 *
 * There are in_flight_max calls, and some more exchanges, made once; each of these has its own
 * nng context and aio:
 *
 *      RECEIVING --message--> HELD --its answer, or a mailbox's--> SENDING --> RECEIVING ...
 *          |                                                          |
 *          +------------------------- closed -------------------------+--> IDLE
 *
 * A message has one request, and its answer is what is owed for it; or it is a bundle of
 * them, and mailbox.c pays.  Requests are taken in the order they came, each when a call is
 * free for it.
 *
 * Every exchange that is not IDLE and every call in use holds the server, and so does its
 * owner until rpc_server_stop: a handler may answer even after a stop that would not wait.
 */
#include "rpc/server/serving.h"

#include <assert.h>

#include "base/cork.h"

enum { SEND_WAIT_MS = 2000 }; /* a caller that does not read its answers is cut off */

/* ---------------------------------------------------------- frames and calls */

void exchange_read(struct exchange *exchange)
{
    struct rpc_server *server = exchange->server;

    pthread_mutex_lock(&server->lock);
    bool last = --exchange->readers == 0 && exchange->unread.left == 0;
    pthread_mutex_unlock(&server->lock);
    if (!last)
        return;
    nng_msg_free(exchange->message);
    exchange->message = NULL;
    if (exchange->bundled)
        mailbox_hold(exchange);
}

/* A frame that arrived and a call for it; false when there is not both.  The lock is held. */
static bool next_frame(struct rpc_server *server, struct rpc_call **out,
                       struct exchange **from, uint8_t **frame, size_t *size)
{
    struct exchange *exchange = TAILQ_FIRST(&server->arrived);
    struct rpc_call *call = server->free;

    if (exchange == NULL || call == NULL)
        return false;
    server->free = call->next;
    server->calls_in_use++;
    server->busy++;
    call->pipe = exchange->pipe;
    call->exchange = NULL;
    call->mailbox = NULL;
    if (exchange->bundled) {
        (void)rpc_batch_next(&exchange->unread, &call->wire_id, frame, size);
        call->mailbox = mailbox_of(server, exchange->pipe);
        if (call->mailbox != NULL)
            call->mailbox->calls++;
    } else {
        call->exchange = exchange;
        *frame = exchange->unread.at;
        *size = exchange->unread.left;
        exchange->unread.left = 0;
    }
    exchange->readers++;
    if (exchange->unread.left == 0)
        TAILQ_REMOVE(&server->arrived, exchange, beside);
    *out = call;
    *from = exchange;
    return true;
}

/* Serves what arrived, as far as calls are free.  What a handler answers at once frees its
 * call: the loop that is running goes on with it, and none begins inside. */
static void take_in(struct rpc_server *server)
{
    static _Thread_local bool taking_in;
    struct rpc_call *call;
    struct exchange *exchange;
    uint8_t *frame;
    size_t size;

    if (taking_in)
        return;
    taking_in = true;
    cork_begin();
    for (;;) {
        pthread_mutex_lock(&server->lock);
        bool any = next_frame(server, &call, &exchange, &frame, &size);
        pthread_mutex_unlock(&server->lock);
        if (!any)
            break;
        atomic_store(&call->serving, true);
        serving_take_frame(call, exchange, frame, size);
    }
    taking_in = false;
    cork_end();
}

void serving_free_call(struct rpc_call *call)
{
    struct rpc_server *server = call->server;

    if (call->arena != NULL)
        arena_reset(call->arena);
    call->request = NULL;
    bool before = atomic_exchange(&call->serving, false);
    assert(before); /* a handler replies exactly once */
    (void)before;
    pthread_mutex_lock(&server->lock);
    call->next = server->free;
    server->free = call;
    server->calls_in_use--;
    bool more = !TAILQ_EMPTY(&server->arrived);
    pthread_mutex_unlock(&server->lock);
    if (more)
        take_in(server);
    serving_leave(server);
}

/* ---------------------------------------------------------- nng's side */

void serving_receive(struct exchange *exchange)
{
    if (atomic_load(&exchange->server->closed)) {
        atomic_store(&exchange->state, IDLE);
        serving_leave(exchange->server);
        return;
    }
    atomic_store(&exchange->state, RECEIVING);
    nng_aio_set_timeout(exchange->aio, NNG_DURATION_INFINITE);
    nng_ctx_recv(exchange->context, exchange->aio);
}

void serving_send(struct exchange *exchange, nng_msg *message)
{
    atomic_store(&exchange->state, SENDING);
    nng_aio_set_msg(exchange->aio, message);
    nng_aio_set_timeout(exchange->aio, SEND_WAIT_MS);
    nng_ctx_send(exchange->context, exchange->aio);
}

static void on_sent(struct exchange *exchange, int result)
{
    if (result != 0) {
        nng_msg_free(nng_aio_get_msg(exchange->aio));
        nng_aio_set_msg(exchange->aio, NULL);
        if (result == NNG_ETIMEDOUT)
            nng_pipe_close(exchange->pipe);
    }
    serving_receive(exchange);
}

/* What is no bundle is taken for a frame: it says itself whether it is one. */
static void on_received(struct exchange *exchange, nng_msg *message)
{
    struct rpc_server *server = exchange->server;
    uint8_t *body = nng_msg_body(message);
    size_t size = nng_msg_len(message);

    atomic_store(&exchange->state, HELD);
    exchange->message = message;
    exchange->pipe = nng_msg_get_pipe(message);
    exchange->bundled = rpc_batch_valid(body, size, RPC_BATCH_FRAMES_MAX);
    exchange->unread = exchange->bundled ? rpc_batch_read(body, size)
                                         : (struct rpc_batch_reader){body, size};
    exchange->readers = 0;
    if (exchange->bundled && exchange->unread.left == 0) {
        exchange->readers = 1;
        exchange_read(exchange);
        return;
    }
    pthread_mutex_lock(&server->lock);
    TAILQ_INSERT_TAIL(&server->arrived, exchange, beside);
    pthread_mutex_unlock(&server->lock);
    take_in(server);
}

void serving_on_aio(void *arg)
{
    struct exchange *exchange = arg;
    int result = nng_aio_result(exchange->aio);

    if (atomic_load(&exchange->state) == SENDING) {
        on_sent(exchange, result);
    } else if (result == 0) {
        nng_msg *message = nng_aio_get_msg(exchange->aio);
        nng_aio_set_msg(exchange->aio, NULL);
        on_received(exchange, message);
    } else {
        serving_receive(exchange); /* or rests */
    }
}

void serving_leave(struct rpc_server *server)
{
    pthread_mutex_lock(&server->lock);
    server->busy--;
    bool last = server->busy == 0 && server->abandoned;
    pthread_mutex_unlock(&server->lock);
    if (last)
        server_free(server);
}
