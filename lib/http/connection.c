/* connection.c - see connection.h. */
#include "http/connection.h"

#include <assert.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/tls.h"

enum {
    KEPT_ROOM = 4096,    /* least size of an allocated buffer */
    ROUND_REQUESTS = 16, /* of one connection before the others are served */
    ROUND_LINGER = 16,   /* reads of a lingering connection, likewise */
    RECORD_MAX = 16384,  /* bytes of a TLS record */
};

static const char CONTINUE[] = "HTTP/1.1 100 Continue\r\n\r\n";
static const char BLANK_LINE[] = "\r\n\r\n";

static int64_t now(const struct connection *c)
{
    return c->server->now_ms;
}

static void set_timer(struct connection *c, enum wait_kind kind)
{
    timers_set(&c->server->timers, &c->timer, kind, now(c));
}

static const struct http_handler *handler(const struct connection *c)
{
    return c->server->config.handler;
}

/* Continues in the next round, after the other connections. */
static void defer(struct connection *c)
{
    if (c->deferred)
        return;
    c->deferred = true;
    c->deferred_next = c->server->deferred;
    c->server->deferred = c;
}

/* ---- the end ---- */

static void end_exchange(struct connection *c)
{
    struct http_exchange *x = &c->exchange;

    if (x->arena == NULL)
        return;
    handler(c)->on_end(c->server->config.arg, x);
    loop_arena_give(c->server, x->arena);
    *x = (struct http_exchange){.connection = c};
    c->bytes = NULL;
    c->bytes_size = c->bytes_room = c->discarded = 0;
    c->server->running--;
}

static void free_input(struct connection *c)
{
    if (!c->input.borrowed)
        free(c->input.bytes);
    c->input = (struct buffer){.bytes = NULL};
}

static void close_socket(struct connection *c)
{
    struct http_server *server = c->server;

    timers_clear(&c->timer);
    SSL_free(c->tls);
    c->tls = NULL;
    close(c->fd); /* also removes it from epoll */
    c->fd = -1;
    free_input(c);
    addresses_leave(server->addresses, c->address);
    server->connections--;
    server->over_limit_count -= c->over_limit;
}

static void unlink_connection(struct connection *c)
{
    struct http_server *server = c->server;

    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        server->first = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
    c->state = CONNECTION_DEAD;
    c->next = server->to_free;
    server->to_free = c;
}

/* Does not interrupt a request that is being handled. */
void connection_close(struct connection *c)
{
    if (c->state == CONNECTION_BROKEN || c->state == CONNECTION_DEAD)
        return;
    close_socket(c);
    if (c->state == CONNECTION_HANDLING) {
        c->state = CONNECTION_BROKEN;
        handler(c)->on_gone(c->server->config.arg, &c->exchange);
        return;
    }
    end_exchange(c);
    unlink_connection(c);
}

/* ---- bytes in ---- */

enum { RECEIVED_NONE = -1, RECEIVED_BROKEN = -2 }; /* 0: the end */

static ssize_t receive_tls(struct connection *c, char *at, size_t room)
{
    ERR_clear_error();
    int got = SSL_read(c->tls, at, (int)room);
    if (got > 0)
        return got;
    switch (SSL_get_error(c->tls, got)) {
    case SSL_ERROR_WANT_READ:
        c->readable = false;
        return RECEIVED_NONE;
    case SSL_ERROR_WANT_WRITE: /* continued when epoll reports it writable */
        return RECEIVED_NONE;
    case SSL_ERROR_ZERO_RETURN:
        c->eof = true;
        return 0;
    default:
        return RECEIVED_BROKEN;
    }
}

/* A short read has emptied the socket (epoll(7)), except for the end of input if epoll
 * has reported that already. */
static ssize_t receive(struct connection *c, char *at, size_t room)
{
    if (c->tls != NULL)
        return receive_tls(c, at, room);
    ssize_t got;
    do
        got = recv(c->fd, at, room, 0);
    while (got < 0 && errno == EINTR);
    if (got > 0 && (size_t)got < room && !c->fin)
        c->readable = false;
    if (got >= 0) {
        c->eof = got == 0;
        return got;
    }
    c->readable = false;
    return errno == EAGAIN ? RECEIVED_NONE : RECEIVED_BROKEN;
}

/* Makes room for more input; false when memory is short. */
static bool make_room(struct connection *c)
{
    struct buffer *in = &c->input;

    if (in->bytes == NULL)
        *in = (struct buffer){c->server->scratch, 0, 0, LOOP_SCRATCH, true};
    if (in->at == in->size)
        in->at = in->size = 0;
    if (in->size < in->room)
        return true;
    if (in->at > 0) {
        memmove(in->bytes, in->bytes + in->at, in->size - in->at);
        in->size -= in->at;
        in->at = 0;
        return true;
    }
    /* A head is smaller than the scratch, and body bytes are consumed. */
    assert(!in->borrowed);
    char *larger = realloc(in->bytes, 2 * in->room);
    if (larger == NULL)
        return false;
    in->bytes = larger;
    in->room *= 2;
    return true;
}

static ssize_t fill(struct connection *c)
{
    if (!make_room(c))
        return RECEIVED_BROKEN;
    ssize_t got =
        receive(c, c->input.bytes + c->input.size, c->input.room - c->input.size);
    if (got > 0)
        c->input.size += (size_t)got;
    return got;
}

/* False: nothing to read now, or the connection broke and was closed. */
static bool read_more(struct connection *c)
{
    if (!c->readable)
        return false;
    ssize_t got = fill(c);
    if (got == RECEIVED_BROKEN)
        connection_close(c);
    return got >= 0;
}

/* Copies unconsumed bytes out of the scratch before other connections use it. */
static bool keep_rest(struct connection *c)
{
    struct buffer *in = &c->input;
    size_t rest = in->size - in->at;

    if (rest == 0)
        free_input(c);
    if (rest == 0 || !in->borrowed)
        return true;
    size_t room = rest > KEPT_ROOM ? rest : KEPT_ROOM;
    char *own = malloc(room);
    if (own != NULL)
        memcpy(own, in->bytes + in->at, rest);
    *in = (struct buffer){own, 0, own != NULL ? rest : 0, room, false};
    return own != NULL;
}

/* ---- bytes out ---- */

/* Sends up to one TLS record, copied together from the pieces. */
static ssize_t send_tls(struct connection *c)
{
    static _Thread_local char record[RECORD_MAX];
    size_t size = 0;

    for (size_t i = c->out_at; i < c->out_count && size < sizeof record; i++) {
        size_t most = sizeof record - size;
        size_t piece = c->out[i].iov_len < most ? c->out[i].iov_len : most;
        memcpy(record + size, c->out[i].iov_base, piece);
        size += piece;
    }
    ERR_clear_error();
    int sent = SSL_write(c->tls, record, (int)size);
    if (sent > 0)
        return sent;
    int why = SSL_get_error(c->tls, sent);
    errno = why == SSL_ERROR_WANT_WRITE || why == SSL_ERROR_WANT_READ ? EAGAIN : EPIPE;
    return -1;
}

static ssize_t send_plain(struct connection *c)
{
    struct msghdr message = {.msg_iov = c->out + c->out_at,
                             .msg_iovlen = c->out_count - c->out_at};

    if (message.msg_iovlen == 1)
        return send(c->fd, message.msg_iov->iov_base, message.msg_iov->iov_len,
                    MSG_NOSIGNAL);
    return sendmsg(c->fd, &message, MSG_NOSIGNAL);
}

enum flushed { FLUSHED_ALL, FLUSHED_SOME, FLUSHED_BROKEN };

static enum flushed flush(struct connection *c)
{
    while (c->out_at < c->out_count) {
        struct iovec *out = &c->out[c->out_at];
        if (out->iov_len == 0) {
            c->out_at++;
            continue;
        }
        ssize_t sent = c->tls != NULL ? send_tls(c) : send_plain(c);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return errno == EAGAIN ? FLUSHED_SOME : FLUSHED_BROKEN;
        for (size_t left = (size_t)sent; left > 0;) {
            out = &c->out[c->out_at];
            size_t piece = left < out->iov_len ? left : out->iov_len;
            out->iov_base = (char *)out->iov_base + piece;
            out->iov_len -= piece;
            left -= piece;
            c->out_at += out->iov_len == 0;
        }
    }
    return FLUSHED_ALL;
}

static void set_out(struct connection *c, const char *one, size_t one_size,
                    const char *two, size_t two_size)
{
    c->out[0] = (struct iovec){(void *)one, one_size};
    c->out[1] = (struct iovec){(void *)two, two_size};
    c->out_at = 0;
    c->out_count = two_size > 0 ? 2 : 1;
}

/* ---- answering ---- */

/* Needs no memory; the answer itself has Connection: close. */
static void answer_no_memory(struct connection *c)
{
    const struct http_text whole = c->server->config.no_memory;
    const char *end = memmem(whole.at, whole.size, BLANK_LINE, sizeof BLANK_LINE - 1);
    size_t head = (size_t)(end - whole.at) + sizeof BLANK_LINE - 1;

    c->close_after = true;
    set_out(c, whole.at, c->exchange.head_only ? head : whole.size, "", 0);
}

static void start_answer(struct connection *c)
{
    const struct http_exchange *x = &c->exchange;
    char *room = x->room;

    c->state = CONNECTION_ANSWERING;
    if (x->answer.status == 0) {
        connection_close(c);
        return;
    }
    c->close_after =
        c->close_after || x->answer.close || atomic_load(&c->server->draining);
    const struct http_sending sending = {loop_date(c->server), x->head_only,
                                         c->close_after};
    if (room == NULL)
        room = http_answer_room(x->arena, &x->answer);
    if (room == NULL) {
        answer_no_memory(c);
    } else {
        struct http_wire wire = http_answer_write(room, &x->answer, &sending);
        set_out(c, wire.head, wire.size, wire.body.at, wire.body.size);
    }
    set_timer(c, WAIT_ANSWER);
}

/* Sends close_notify: a TLS client then knows that nothing was cut off (RFC 8446,
 * 6.1). */
static void send_close_notify(struct connection *c)
{
    if (c->tls != NULL && SSL_is_init_finished(c->tls)) {
        ERR_clear_error();
        (void)SSL_shutdown(c->tls);
    }
}

/* After the last answer.  Closing at once while input is unread would reset the
 * connection, perhaps before the client has read the answer (RFC 9112, 9.6). */
static void start_lingering(struct connection *c)
{
    if (c->eof) {
        connection_close(c);
        return;
    }
    send_close_notify(c);
    shutdown(c->fd, SHUT_WR);
    c->input.at = c->input.size;
    c->readable = true;
    c->state = CONNECTION_LINGERING;
    set_timer(c, WAIT_LINGER);
}

/* False: wait until the client takes more, or the connection is closed. */
static bool send_answer(struct connection *c)
{
    switch (flush(c)) {
    case FLUSHED_SOME:
        return false;
    case FLUSHED_BROKEN:
        connection_close(c);
        return false;
    default:
        break;
    }
    end_exchange(c);
    if (c->close_after) {
        start_lingering(c);
        return c->state == CONNECTION_LINGERING;
    }
    c->state = CONNECTION_HEAD;
    c->scanned = 0;
    set_timer(c, WAIT_IDLE);
    return true;
}

/* Reads and discards. */
static void linger(struct connection *c)
{
    for (int i = 0; i < ROUND_LINGER; i++) {
        ssize_t got = recv(c->fd, c->server->scratch, LOOP_SCRATCH, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return;
        if (got <= 0) {
            connection_close(c);
            return;
        }
    }
    defer(c);
}

/* ---- refusing ---- */

static void refuse(struct connection *c, const struct http_head *head,
                   enum http_reason reason)
{
    struct http_exchange *x = &c->exchange;

    x->answer = (struct http_answer){.status = http_reason_status(reason)};
    handler(c)->on_refusal(c->server->config.arg, x, head, reason, &x->answer);
    x->answered = true;
    c->close_after = c->close_after || http_reason_ends(reason);
}

/* Answers before the request was read to its end: no other can follow on the
 * connection. */
static void answer_early(struct connection *c)
{
    c->close_after = true;
    start_answer(c);
}

/* ---- a head ---- */

static bool begin_exchange(struct connection *c, struct http_text method)
{
    struct http_exchange *x = &c->exchange;

    *x = (struct http_exchange){
        .connection = c,
        .arena = loop_arena_take(c->server),
        .head_only = method.size == 4 && memcmp(method.at, "HEAD", 4) == 0,
    };
    if (x->arena == NULL) {
        answer_no_memory(c);
        (void)flush(c);
        start_lingering(c);
        return false;
    }
    c->server->running++;
    return true;
}

/* Asks for the body, unless it is coming already (RFC 9110, 10.1.1). */
static bool send_continue(struct connection *c)
{
    if (c->input.at < c->input.size)
        return true;
    set_out(c, CONTINUE, sizeof CONTINUE - 1, "", 0);
    return flush(c) == FLUSHED_ALL; /* a client that does not read is closed */
}

/* Starts a request: calls on_head, then reads or discards the body. */
static void take_request(struct connection *c, const struct http_head *head)
{
    struct http_exchange *x = &c->exchange;
    const struct http_limits *limits = &c->server->config.limits;
    const bool has_body = head->chunked || head->length > 0;
    const bool wants_continue = head->expects_continue && has_body;

    c->input.at += head->size;
    c->close_after = head->close;
    c->length = head->length;
    c->body = http_body_start(head);
    c->in_handler = true;
    handler(c)->on_head(c->server->config.arg, x, head);
    c->in_handler = false;
    if (!x->answered && head->length > (int64_t)limits->body)
        refuse(c, NULL, HTTP_BODY_TOO_LARGE);
    if (x->answered && (wants_continue || head->length > (int64_t)limits->discard)) {
        answer_early(c);
        return;
    }
    if (wants_continue && !x->answered && !send_continue(c)) {
        connection_close(c);
        return;
    }
    c->state = CONNECTION_BODY;
    if (has_body)
        set_timer(c, WAIT_BODY);
}

/* Rechecked: other connections of the address may have ended since. */
static bool is_over_limit(struct connection *c)
{
    struct http_server *server = c->server;

    if (c->over_limit && address_count(c->address) <= server->config.per_address_max) {
        c->over_limit = false;
        server->over_limit_count--;
    }
    return c->over_limit;
}

static void take_head(struct connection *c, enum http_reason reason)
{
    struct http_head *head = &c->server->head;

    if (!begin_exchange(c, head->method))
        return;
    if (reason == HTTP_OK && is_over_limit(c))
        reason = HTTP_TOO_MANY_CONNECTIONS;
    if (reason == HTTP_OK) {
        take_request(c, head);
        return;
    }
    refuse(c, head, reason);
    c->input.at = c->input.size;
    start_answer(c);
}

/* Parsing again is useful when another line is complete, or the head is full. */
static bool worth_parsing(const struct connection *c)
{
    const struct buffer *in = &c->input;
    size_t have = in->size - in->at;

    return c->scanned == 0 || have >= c->server->config.limits.head ||
           memchr(in->bytes + in->at + c->scanned, '\n', have - c->scanned) != NULL;
}

/* Whether no byte of a request has come; an empty line before it does not count. */
static bool none_begun(const struct connection *c)
{
    size_t have = c->input.size - c->input.at;

    return have == 0 ||
           (have <= 2 && memcmp(c->input.bytes + c->input.at, "\r\n", have) == 0);
}

/* The head will not become complete.  Parses again what was received, as server->head may
 * hold another connection's. */
static void give_up_head(struct connection *c, enum http_reason reason)
{
    (void)http_parse(c->input.bytes + c->input.at, c->input.size - c->input.at,
                     &c->server->config.limits, &c->server->head);
    take_head(c, reason);
}

/* The input ended without a complete head. */
static void end_in_head(struct connection *c)
{
    if (none_begun(c))
        connection_close(c);
    else
        give_up_head(c, HTTP_INCOMPLETE);
}

/* False: wait for more bytes, or there is nothing left to do. */
static bool read_head(struct connection *c)
{
    for (;;) {
        size_t have = c->input.size - c->input.at;
        if (have > c->scanned && worth_parsing(c)) {
            enum http_reason reason =
                http_parse(c->input.bytes + c->input.at, have, &c->server->config.limits,
                           &c->server->head);
            if (reason != HTTP_MORE) {
                take_head(c, reason);
                return true;
            }
        }
        c->scanned = have;
        if (c->eof) {
            end_in_head(c);
            return true;
        }
        if (!none_begun(c) && !timers_is(&c->timer, WAIT_HEAD))
            set_timer(c, WAIT_HEAD);
        if (!read_more(c))
            return false;
    }
}

/* ---- a body ---- */

static bool body_room(struct connection *c, size_t more)
{
    if (c->bytes_room - c->bytes_size > more) /* and a NUL */
        return true;
    size_t room = c->length >= 0 ? (size_t)c->length + 1 : 2 * (c->bytes_size + more) + 1;
    char *bytes = arena_alloc(c->exchange.arena, room);
    if (bytes == NULL)
        return false;
    if (c->bytes_size > 0)
        memcpy(bytes, c->bytes, c->bytes_size);
    c->bytes = bytes;
    c->bytes_room = room;
    return true;
}

/* False: too much of a refused body was received to read on. */
static bool take_data(struct connection *c, struct http_text data)
{
    const struct http_limits *limits = &c->server->config.limits;

    if (data.size == 0)
        return true;
    if (!c->exchange.answered && data.size > limits->body - c->bytes_size) {
        refuse(c, NULL, HTTP_BODY_TOO_LARGE);
        c->discarded = c->bytes_size;
    }
    if (c->exchange.answered) {
        c->discarded += data.size;
        return c->discarded <= limits->discard;
    }
    if (!body_room(c, data.size)) {
        refuse(c, NULL, HTTP_NO_MEMORY);
        return false;
    }
    memcpy(c->bytes + c->bytes_size, data.at, data.size);
    c->bytes_size += data.size;
    return true;
}

static void handle(struct connection *c)
{
    static char nothing[1];
    struct http_exchange *x = &c->exchange;

    timers_clear(&c->timer);
    c->state = CONNECTION_HANDLING;
    if (c->bytes != NULL)
        c->bytes[c->bytes_size] = '\0';
    c->in_handler = true;
    handler(c)->on_body(c->server->config.arg, x, c->bytes != NULL ? c->bytes : nothing,
                        c->bytes_size);
    c->in_handler = false;
    if (x->answered)
        start_answer(c);
    else if (c->broken) /* epoll has reported it before, and will not again */
        connection_close(c);
}

/* The body will not be read to its end. */
static void give_up_body(struct connection *c, enum http_reason reason)
{
    if (!c->exchange.answered)
        refuse(c, NULL, reason);
    answer_early(c);
}

/* False: wait for more bytes. */
static bool read_body(struct connection *c)
{
    struct buffer *in = &c->input;
    struct http_text data;
    size_t used;

    for (;;) {
        enum http_reason reason =
            http_body_take(&c->body, in->bytes + in->at, in->size - in->at, &used, &data);
        in->at += used;
        if (!take_data(c, data)) {
            give_up_body(c, HTTP_BODY_TOO_LARGE);
            return true;
        }
        if (reason == HTTP_OK) {
            if (c->exchange.answered)
                start_answer(c);
            else
                handle(c);
            return true;
        }
        if (reason != HTTP_MORE) {
            give_up_body(c, reason);
            return true;
        }
        if (in->at < in->size)
            continue;
        if (c->eof) {
            give_up_body(c, HTTP_INCOMPLETE);
            return true;
        }
        if (!read_more(c))
            return false;
    }
}

/* ---- TLS ---- */

/* Whether the first byte is text; TLS begins with another (RFC 8446, 5.1). */
static bool begins_as_text(char first)
{
    return (first >= ' ' && first <= '~') || first == '\r' || first == '\n';
}

/* Answers plain HTTP on a TLS port in plain HTTP.  `start`: the first bytes received. */
static void refuse_plain(struct connection *c, const char *start, size_t size)
{
    static const char HEAD[] = "HEAD "; /* an answer to HEAD has no body */
    bool is_head = size >= sizeof HEAD - 1 && memcmp(start, HEAD, sizeof HEAD - 1) == 0;

    SSL_free(c->tls);
    c->tls = NULL;
    c->server->head =
        (struct http_head){.method = {HEAD, is_head ? 4 : 0}, .target = {"", 0}};
    take_head(c, HTTP_PLAIN_ON_TLS);
}

static bool handshake(struct connection *c)
{
    char start[8];

    if (!c->spoken) {
        ssize_t got;
        do
            got = recv(c->fd, start, sizeof start, MSG_PEEK);
        while (got < 0 && errno == EINTR);
        if (got < 0 && errno == EAGAIN)
            return false;
        c->spoken = true;
        if (got > 0 && begins_as_text(start[0])) {
            refuse_plain(c, start, (size_t)got);
            return true;
        }
    }
    ERR_clear_error();
    int status = SSL_accept(c->tls);
    if (status == 1) {
        c->state = CONNECTION_HEAD;
        set_timer(c, c->over_limit ? WAIT_OVER_LIMIT : WAIT_IDLE);
        return true;
    }
    int why = SSL_get_error(c->tls, status);
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
        return false;
    if (why != SSL_ERROR_SSL) {
        connection_close(c);
        return false;
    }
    start_lingering(c); /* OpenSSL has sent its alert, if there is one */
    return c->state == CONNECTION_LINGERING;
}

/* ---- the state machine ---- */

/* Advances until it needs more input or room for output. */
static void run(struct connection *c)
{
    bool on = true;

    for (int requests = 0; on && requests < ROUND_REQUESTS;) {
        switch (c->state) {
        case CONNECTION_HANDSHAKE:
            on = handshake(c);
            break;
        case CONNECTION_HEAD:
            on = read_head(c);
            break;
        case CONNECTION_BODY:
            on = read_body(c);
            break;
        case CONNECTION_ANSWERING:
            on = send_answer(c);
            requests++;
            break;
        case CONNECTION_LINGERING:
            linger(c);
            on = false;
            break;
        default:
            on = false;
            break;
        }
    }
    if (on)
        defer(c);
    if (c->fd >= 0 && !keep_rest(c))
        connection_close(c);
}

void connection_open(struct http_server *server, int fd, struct address *address,
                     bool over_limit)
{
    struct connection *c = calloc(1, sizeof *c);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.ptr = c};
    SSL *tls =
        server->config.tls == NULL ? NULL : http_tls_session(server->config.tls, fd);

    if (c == NULL || (server->config.tls != NULL && tls == NULL) ||
        epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        SSL_free(tls);
        free(c);
        addresses_leave(server->addresses, address);
        loop_drop(server, fd, "memory");
        return;
    }
    c->server = server;
    c->exchange.connection = c;
    c->fd = fd;
    c->address = address;
    c->tls = tls;
    c->over_limit = over_limit;
    c->state = tls != NULL ? CONNECTION_HANDSHAKE : CONNECTION_HEAD;
    c->next = server->first;
    if (c->next != NULL)
        c->next->prev = c;
    server->first = c;
    server->connections++;
    server->over_limit_count += over_limit;
    set_timer(c, over_limit ? WAIT_OVER_LIMIT : tls != NULL ? WAIT_HEAD : WAIT_IDLE);
}

void connection_event(struct connection *c, uint32_t events)
{
    /* Before we shut down our side, these mean a reset by the client. */
    c->broken = c->broken || (events & (EPOLLERR | EPOLLHUP)) != 0;
    if (c->state == CONNECTION_HANDLING && c->broken) {
        connection_close(c);
        return;
    }
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP)) != 0)
        c->readable = true;
    c->fin = c->fin || (events & (EPOLLRDHUP | EPOLLERR | EPOLLHUP)) != 0;
    run(c);
}

void connection_timeout(struct connection *c, unsigned kind)
{
    if (kind == WAIT_HEAD && c->state == CONNECTION_HEAD) {
        give_up_head(c, HTTP_TIMEOUT);
    } else if (kind == WAIT_BODY && c->state == CONNECTION_BODY) {
        give_up_body(c, HTTP_TIMEOUT);
    } else if (c->state == CONNECTION_HEAD) {
        connection_retire(c);
        return;
    } else {
        connection_close(c);
        return;
    }
    run(c);
}

void connection_retire(struct connection *c)
{
    c->readable = true;
    timers_clear(&c->timer);
    run(c);
    /* A request that has begun, or was just answered, has set a new deadline. */
    if (c->state != CONNECTION_HEAD || timers_is(&c->timer, WAIT_HEAD) ||
        timers_is(&c->timer, WAIT_IDLE))
        return;
    if (!c->broken)
        send_close_notify(c);
    connection_close(c);
}

void connection_answered(struct connection *c)
{
    struct http_exchange *x = &c->exchange;

    x->answered = true;
    if (c->state == CONNECTION_BROKEN) {
        end_exchange(c);
        unlink_connection(c);
        return;
    }
    start_answer(c);
    run(c);
}
