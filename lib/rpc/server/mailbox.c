/*
 * mailbox.c - the answers to bundles, put into the messages that a connection is owed.
 *
 *      bundle read --> held --------+
 *                                   +--> a message with every answer that is ready
 *      call answered --> ready -----+
 *
 * An answer never waits for another call's: it goes with the first message owed.  The client
 * sees to it that one is, as long as it waits for answers.  More than a few are given back
 * empty, so that the exchanges are free to receive, and nobody can hold what others need.
 */
#include "rpc/nng_defects/ended.h"
#include "rpc/server/serving.h"

#include <stdlib.h>

#include "base/cork.h"
#include "base/log.h"

enum { KEPT = 4 }; /* messages owed to a connection whose other side is known */

/* ---------------------------------------------------------- connections */

static struct mailbox **chain_of(struct rpc_server *server, uint32_t pipe)
{
    return &server->mailboxes[pipe % MAILBOX_CHAINS];
}

struct mailbox *mailbox_of(struct rpc_server *server, nng_pipe pipe)
{
    uint32_t id = (uint32_t)nng_pipe_id(pipe);
    struct mailbox *mailbox = *chain_of(server, id);

    while (mailbox != NULL && mailbox->pipe != id)
        mailbox = mailbox->next;
    return mailbox;
}

static void mailbox_free(struct mailbox *mailbox)
{
    rpc_batch_free(&mailbox->ready);
    free(mailbox);
}

/* Refused before it is served when there is no memory for it. */
static void come(struct rpc_server *server, nng_pipe pipe)
{
    struct mailbox *mailbox = calloc(1, sizeof *mailbox);

    if (mailbox == NULL) {
        nng_pipe_close(pipe);
        return;
    }
    mailbox->pipe = (uint32_t)nng_pipe_id(pipe);
    TAILQ_INIT(&mailbox->held);
    pthread_mutex_lock(&server->lock);
    mailbox->next = *chain_of(server, mailbox->pipe);
    *chain_of(server, mailbox->pipe) = mailbox;
    pthread_mutex_unlock(&server->lock);
}

/* Out of the tables.  The lock is held. */
static void unlink_mailbox(struct rpc_server *server, struct mailbox *mailbox)
{
    struct mailbox **link = chain_of(server, mailbox->pipe);

    while (*link != mailbox)
        link = &(*link)->next;
    *link = mailbox->next;
    if (mailbox->listed)
        TAILQ_REMOVE(&server->stirred, mailbox, beside);
    mailbox->listed = false;
    mailbox->gone = true;
}

static void go(struct rpc_server *server, nng_pipe pipe)
{
    struct exchanges held = TAILQ_HEAD_INITIALIZER(held);
    struct exchange *exchange;

    pthread_mutex_lock(&server->lock);
    struct mailbox *mailbox = mailbox_of(server, pipe);
    if (mailbox != NULL) {
        unlink_mailbox(server, mailbox);
        TAILQ_CONCAT(&held, &mailbox->held, beside);
        server->held_count -= mailbox->held_count;
        if (mailbox->calls == 0)
            mailbox_free(mailbox);
    }
    pthread_mutex_unlock(&server->lock);
    while ((exchange = TAILQ_FIRST(&held)) != NULL) {
        TAILQ_REMOVE(&held, exchange, beside);
        serving_receive(exchange);
    }
    serving_cancel_pipe(server, (uint32_t)nng_pipe_id(pipe));
}

void mailbox_on_pipe(nng_pipe pipe, nng_pipe_ev event, void *server)
{
    if (event == NNG_PIPE_EV_ADD_PRE)
        come(server, pipe);
    else
        go(server, pipe);
    if (event == NNG_PIPE_EV_REM_POST)
        ended_count();
}

/* ---------------------------------------------------------- sending */

/* The lock is held. */
static struct exchange *take_held(struct mailbox *mailbox)
{
    struct exchange *exchange = TAILQ_FIRST(&mailbox->held);

    TAILQ_REMOVE(&mailbox->held, exchange, beside);
    mailbox->held_count--;
    exchange->server->held_count--;
    return exchange;
}

/* The next message to send and what it goes with; false when there is none.  The lock is
 * held. */
static bool next_message(struct rpc_server *server, struct exchange **exchange,
                         nng_msg **message)
{
    struct mailbox *mailbox;

    while ((mailbox = TAILQ_FIRST(&server->stirred)) != NULL) {
        size_t most =
            mailbox->trusted && server->held_count <= server->count / 2 ? KEPT : 0;
        bool ready = mailbox->ready.size > 0 && mailbox->held_count > 0;
        if (ready || mailbox->held_count > most) {
            *exchange = take_held(mailbox);
            *message = rpc_batch_take(&mailbox->ready);
            return true;
        }
        TAILQ_REMOVE(&server->stirred, mailbox, beside);
        mailbox->listed = false;
    }
    return false;
}

static void flush(struct rpc_server *server)
{
    struct exchange *exchange;
    nng_msg *message;

    for (;;) {
        pthread_mutex_lock(&server->lock);
        bool any = next_message(server, &exchange, &message);
        pthread_mutex_unlock(&server->lock);
        if (!any)
            return;
        if (message != NULL) {
            serving_send(exchange, message);
        } else { /* the caller learns it by its connection's end, and may ask again */
            log_error("no_memory_to_answer", "%s", "");
            nng_pipe_close(exchange->pipe);
            serving_receive(exchange);
        }
    }
}

static void on_uncorked(void *arg)
{
    struct rpc_server *server = arg;

    flush(server);
    serving_leave(server);
}

/* Sends what can be sent; now, or with what else this thread has. */
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
static void stir(struct rpc_server *server, struct mailbox *mailbox)
{
    if (mailbox->listed)
        return;
    TAILQ_INSERT_TAIL(&server->stirred, mailbox, beside);
    mailbox->listed = true;
}

void mailbox_hold(struct exchange *exchange)
{
    struct rpc_server *server = exchange->server;

    pthread_mutex_lock(&server->lock);
    struct mailbox *mailbox = mailbox_of(server, exchange->pipe);
    if (mailbox != NULL) {
        TAILQ_INSERT_TAIL(&mailbox->held, exchange, beside);
        mailbox->held_count++;
        server->held_count++;
        stir(server, mailbox);
    }
    pthread_mutex_unlock(&server->lock);
    if (mailbox == NULL)
        serving_receive(exchange);
    else
        flush_or_hold(server);
}

bool mailbox_deliver(struct rpc_call *call, nng_msg *frame)
{
    struct rpc_server *server = call->server;
    struct mailbox *mailbox = call->mailbox;
    bool kept = true;

    pthread_mutex_lock(&server->lock);
    mailbox->calls--;
    if (!mailbox->gone) {
        if (frame != NULL)
            kept = rpc_batch_add(&mailbox->ready, call->wire_id, nng_msg_body(frame),
                                 nng_msg_len(frame));
        stir(server, mailbox);
    } else if (mailbox->calls == 0) {
        mailbox_free(mailbox);
    }
    pthread_mutex_unlock(&server->lock);
    nng_msg_free(frame);
    flush_or_hold(server);
    return kept;
}

bool mailbox_any_ready(const struct rpc_server *server)
{
    for (size_t i = 0; i < MAILBOX_CHAINS; i++)
        for (struct mailbox *m = server->mailboxes[i]; m != NULL; m = m->next)
            if (m->ready.size > 0)
                return true;
    return false;
}
