/*
 * connection.c - messages in, and the replies to them out; see server_internal.h.
 *
 * There are in_flight_max calls, and some more reply slots, made once; each slot has its
 * own nng context and aio:
 *
 *      RECEIVING --message--> HELD --a message to send--> SENDING --> RECEIVING ...
 *          |                                                 |
 *          +--------------------- closed --------------------+--> IDLE
 *
 * REQ gets exactly one message back for each that it sent.  A message has one request,
 * and is answered with its reply; or it is a bundle of requests, and is answered with a
 * bundle of whatever replies of its connection are ready:
 *
 *      bundle read --> connection->slots ----+
 *                                            +--> one message with all replies ready
 *      call replied -> connection->pending --+
 *
 * So no reply waits for a slower call: it goes with the first slot.  The client keeps one
 * request outstanding as long as it waits for replies.  A connection keeps a few slots;
 * any more are sent back empty, so that they can receive again and no client holds slots
 * that others need.
 *
 * Requests are taken in the order they came, each when a call is free for it.  Every slot
 * that is not IDLE and every call in use keeps the server's memory, and so does its owner
 * until rpc_server_stop: a handler may reply even after a stop that did not wait for it.
 */
#include "rpc/server/server_internal.h"

#include <assert.h>
#include <stdlib.h>

#include "base/cork.h"
#include "base/log.h"

enum {
    SEND_WAIT_MS = 2000, /* a caller that does not read its replies is disconnected */
    SLOTS_KEPT = 4,      /* by a connection whose caller is known */
};

void connection_cut(nng_pipe pipe)
{
    log_error("no_memory_for_reply", "%s", "");
    nng_pipe_close(pipe);
}

/* Drops one user of the server's memory; the last one frees an abandoned server. */
static void release_server(struct rpc_server *server)
{
    pthread_mutex_lock(&server->lock);
    server->busy--;
    bool last = server->busy == 0 && server->abandoned;
    pthread_mutex_unlock(&server->lock);
    if (last)
        server_free(server);
}

/* ---------------------------------------------------------- slots */

void slot_receive(struct reply_slot *slot)
{
    if (atomic_load(&slot->server->closed)) {
        atomic_store(&slot->state, IDLE);
        release_server(slot->server);
        return;
    }
    atomic_store(&slot->state, RECEIVING);
    nng_aio_set_timeout(slot->aio, NNG_DURATION_INFINITE);
    nng_ctx_recv(slot->context, slot->aio);
}

static void slot_send(struct reply_slot *slot, nng_msg *message)
{
    atomic_store(&slot->state, SENDING);
    nng_aio_set_msg(slot->aio, message);
    nng_aio_set_timeout(slot->aio, SEND_WAIT_MS);
    nng_ctx_send(slot->context, slot->aio);
}

/* ---------------------------------------------------------- connections */

static struct connection **chain_of(struct rpc_server *server, uint32_t pipe)
{
    return &server->connections[pipe % CONNECTION_CHAINS];
}

/* NULL when it has ended.  The lock is held. */
static struct connection *connection_of(struct rpc_server *server, nng_pipe pipe)
{
    uint32_t id = (uint32_t)nng_pipe_id(pipe);
    struct connection *connection = *chain_of(server, id);

    while (connection != NULL && connection->pipe != id)
        connection = connection->next;
    return connection;
}

static void connection_free(struct connection *connection)
{
    rpc_batch_free(&connection->pending);
    free(connection);
}

/* Closed before it is served when there is no memory for it. */
static void on_connected(struct rpc_server *server, nng_pipe pipe)
{
    struct connection *connection = calloc(1, sizeof *connection);

    if (connection == NULL) {
        nng_pipe_close(pipe);
        return;
    }
    connection->pipe = (uint32_t)nng_pipe_id(pipe);
    TAILQ_INIT(&connection->slots);
    pthread_mutex_lock(&server->lock);
    connection->next = *chain_of(server, connection->pipe);
    *chain_of(server, connection->pipe) = connection;
    pthread_mutex_unlock(&server->lock);
}

/* Out of the tables.  The lock is held. */
static void unlink_connection(struct rpc_server *server, struct connection *connection)
{
    struct connection **link = chain_of(server, connection->pipe);

    while (*link != connection)
        link = &(*link)->next;
    *link = connection->next;
    if (connection->in_to_flush)
        TAILQ_REMOVE(&server->to_flush, connection, entry);
    connection->in_to_flush = false;
    connection->gone = true;
}

static void on_disconnected(struct rpc_server *server, nng_pipe pipe)
{
    struct reply_slots slots = TAILQ_HEAD_INITIALIZER(slots);
    struct reply_slot *slot;

    pthread_mutex_lock(&server->lock);
    struct connection *connection = connection_of(server, pipe);
    if (connection != NULL) {
        unlink_connection(server, connection);
        TAILQ_CONCAT(&slots, &connection->slots, entry);
        server->held_count -= connection->slot_count;
        if (connection->calls == 0)
            connection_free(connection);
    }
    pthread_mutex_unlock(&server->lock);
    while ((slot = TAILQ_FIRST(&slots)) != NULL) {
        TAILQ_REMOVE(&slots, slot, entry);
        slot_receive(slot);
    }
    call_cancel_pipe(server, (uint32_t)nng_pipe_id(pipe));
}

void connection_on_pipe(nng_pipe pipe, nng_pipe_ev event, void *server)
{
    if (event == NNG_PIPE_EV_ADD_PRE)
        on_connected(server, pipe);
    else
        on_disconnected(server, pipe);
    if (event == NNG_PIPE_EV_REM_POST)
        connection_ended();
}

/* ---------------------------------------------------------- pending replies out */

bool connections_any_pending(const struct rpc_server *server)
{
    for (size_t i = 0; i < CONNECTION_CHAINS; i++)
        for (struct connection *c = server->connections[i]; c != NULL; c = c->next)
            if (c->pending.size > 0)
                return true;
    return false;
}

/* The lock is held. */
static struct reply_slot *take_slot(struct connection *connection)
{
    struct reply_slot *slot = TAILQ_FIRST(&connection->slots);

    TAILQ_REMOVE(&connection->slots, slot, entry);
    connection->slot_count--;
    slot->server->held_count--;
    return slot;
}

/* The next message to send (NULL: no memory) and its slot; false when there is none.  The
 * lock is held. */
static bool next_message(struct rpc_server *server, struct reply_slot **slot,
                         nng_msg **message)
{
    struct connection *connection;

    while ((connection = TAILQ_FIRST(&server->to_flush)) != NULL) {
        bool may_keep =
            connection->trusted && server->held_count <= server->slot_count / 2;
        bool ready = connection->pending.size > 0 && connection->slot_count > 0;
        if (ready || connection->slot_count > (may_keep ? SLOTS_KEPT : 0)) {
            *slot = take_slot(connection);
            *message = rpc_batch_take(&connection->pending);
            return true;
        }
        TAILQ_REMOVE(&server->to_flush, connection, entry);
        connection->in_to_flush = false;
    }
    return false;
}

static void flush(struct rpc_server *server)
{
    struct reply_slot *slot;
    nng_msg *message;

    for (;;) {
        pthread_mutex_lock(&server->lock);
        bool any = next_message(server, &slot, &message);
        pthread_mutex_unlock(&server->lock);
        if (!any)
            return;
        if (message != NULL) {
            slot_send(slot, message);
        } else {
            connection_cut(slot->pipe);
            slot_receive(slot);
        }
    }
}

static void on_uncorked(void *arg)
{
    struct rpc_server *server = arg;

    flush(server);
    release_server(server);
}

/* Sends what can be sent; now, or with what else this thread has (base/cork.h). */
static void flush_or_hold(struct rpc_server *server)
{
    switch (cork_hold(on_uncorked, server)) {
    case CORK_NONE:
        flush(server);
        break;
    case CORK_NEW:
        pthread_mutex_lock(&server->lock);
        server->busy++;
        pthread_mutex_unlock(&server->lock);
        break;
    case CORK_HELD:
        break;
    }
}

/* The lock is held. */
static void want_flush(struct rpc_server *server, struct connection *connection)
{
    if (connection->in_to_flush)
        return;
    TAILQ_INSERT_TAIL(&server->to_flush, connection, entry);
    connection->in_to_flush = true;
}

/* The slot's bundle was read: from now on the slot waits for replies. */
static void hold_slot(struct reply_slot *slot)
{
    struct rpc_server *server = slot->server;

    pthread_mutex_lock(&server->lock);
    struct connection *connection = connection_of(server, slot->pipe);
    if (connection != NULL) {
        TAILQ_INSERT_TAIL(&connection->slots, slot, entry);
        connection->slot_count++;
        server->held_count++;
        want_flush(server, connection);
    }
    pthread_mutex_unlock(&server->lock);
    if (connection == NULL)
        slot_receive(slot);
    else
        flush_or_hold(server);
}

/* Adds the reply (NULL: none) of a call that came in a bundle; takes the frame.  The call
 * no longer counts for the connection.  False: memory was short. */
static bool add_pending(struct rpc_call *call, nng_msg *frame)
{
    struct rpc_server *server = call->server;
    struct connection *connection = call->connection;
    bool kept = true;

    pthread_mutex_lock(&server->lock);
    connection->calls--;
    if (!connection->gone) {
        if (frame != NULL)
            kept = rpc_batch_add(&connection->pending, call->wire_id, nng_msg_body(frame),
                                 nng_msg_len(frame));
        want_flush(server, connection);
    } else if (connection->calls == 0) {
        connection_free(connection);
    }
    pthread_mutex_unlock(&server->lock);
    nng_msg_free(frame);
    flush_or_hold(server);
    return kept;
}

/* ---------------------------------------------------------- frames to calls */

void slot_frame_read(struct reply_slot *slot)
{
    struct rpc_server *server = slot->server;

    pthread_mutex_lock(&server->lock);
    bool last = --slot->readers == 0 && slot->unread.left == 0;
    pthread_mutex_unlock(&server->lock);
    if (!last)
        return;
    nng_msg_free(slot->message);
    slot->message = NULL;
    if (slot->bundled)
        hold_slot(slot);
}

/* A frame that arrived and a free call for it; false when either is missing.  The lock is
 * held. */
static bool next_frame(struct rpc_server *server, struct rpc_call **out,
                       struct reply_slot **from, uint8_t **frame, size_t *size)
{
    struct reply_slot *slot = TAILQ_FIRST(&server->arrived);
    struct rpc_call *call = server->free;

    if (slot == NULL || call == NULL)
        return false;
    server->free = call->next;
    server->calls_in_use++;
    server->busy++;
    call->pipe = slot->pipe;
    call->slot = NULL;
    call->connection = NULL;
    if (slot->bundled) {
        (void)rpc_batch_next(&slot->unread, &call->wire_id, frame, size);
        call->connection = connection_of(server, slot->pipe);
        if (call->connection != NULL)
            call->connection->calls++;
    } else {
        call->slot = slot;
        *frame = slot->unread.at;
        *size = slot->unread.left;
        slot->unread.left = 0;
    }
    slot->readers++;
    if (slot->unread.left == 0)
        TAILQ_REMOVE(&server->arrived, slot, entry);
    *out = call;
    *from = slot;
    return true;
}

/* Serves what arrived, as far as calls are free.  A handler that replies at once frees
 * its call: the loop that is running goes on with it, and no other begins inside. */
static void serve_arrived(struct rpc_server *server)
{
    static _Thread_local bool serving;
    struct rpc_call *call;
    struct reply_slot *slot;
    uint8_t *frame;
    size_t size;

    if (serving)
        return;
    serving = true;
    cork_begin();
    for (;;) {
        pthread_mutex_lock(&server->lock);
        bool any = next_frame(server, &call, &slot, &frame, &size);
        pthread_mutex_unlock(&server->lock);
        if (!any)
            break;
        atomic_store(&call->serving, true);
        call_serve(call, slot, frame, size);
    }
    serving = false;
    cork_end();
}

/* Another request may be served with the call. */
static void free_call(struct rpc_call *call)
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
        serve_arrived(server);
    release_server(server);
}

void call_end(struct rpc_call *call, nng_msg *frame)
{
    struct reply_slot *slot = call->slot;
    nng_pipe pipe = call->pipe;
    bool kept = true;

    if (call->connection != NULL)
        kept = add_pending(call, frame);
    else if (slot == NULL) /* the connection had ended when the call came */
        nng_msg_free(frame);
    free_call(call);
    if (!kept)
        connection_cut(pipe);
    if (slot == NULL)
        return;
    if (frame != NULL)
        slot_send(slot, frame);
    else
        slot_receive(slot);
}

/* ---------------------------------------------------------- messages in */

static void on_sent(struct reply_slot *slot, int result)
{
    if (result != 0) {
        nng_msg_free(nng_aio_get_msg(slot->aio));
        nng_aio_set_msg(slot->aio, NULL);
        if (result == NNG_ETIMEDOUT)
            nng_pipe_close(slot->pipe);
    }
    slot_receive(slot);
}

/* Anything but a bundle is treated as a frame; call.c checks whether it is one. */
static void on_received(struct reply_slot *slot, nng_msg *message)
{
    struct rpc_server *server = slot->server;
    uint8_t *body = nng_msg_body(message);
    size_t size = nng_msg_len(message);

    atomic_store(&slot->state, HELD);
    slot->message = message;
    slot->pipe = nng_msg_get_pipe(message);
    slot->bundled = rpc_batch_valid(body, size, RPC_BATCH_FRAMES_MAX);
    slot->unread = slot->bundled ? rpc_batch_read(body, size)
                                 : (struct rpc_batch_reader){body, size};
    slot->readers = 0;
    if (slot->bundled && slot->unread.left == 0) {
        slot->readers = 1;
        slot_frame_read(slot);
        return;
    }
    pthread_mutex_lock(&server->lock);
    TAILQ_INSERT_TAIL(&server->arrived, slot, entry);
    pthread_mutex_unlock(&server->lock);
    serve_arrived(server);
}

void slot_on_aio(void *arg)
{
    struct reply_slot *slot = arg;
    int result = nng_aio_result(slot->aio);

    if (atomic_load(&slot->state) == SENDING) {
        on_sent(slot, result);
    } else if (result == 0) {
        nng_msg *message = nng_aio_get_msg(slot->aio);
        nng_aio_set_msg(slot->aio, NULL);
        on_received(slot, message);
    } else {
        slot_receive(slot); /* or becomes IDLE */
    }
}
