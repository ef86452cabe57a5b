/*
 * world.h - a server over real sockets, with a handler that does as the path says, and a
 * client that sends what it likes.
 *
 * Every world ends with the server closed, and then as many exchanges have ended as began.
 */
#pragma once

#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "http/server.h"
#include "http/tls.h"
#include "unit/gateway/wire.h"
#include "unit/http/cases.h"

enum {
    LONG_MS = 60000,    /* a deadline that does not come */
    SHORT_MS = 100,     /* one that does */
    BODY_MAX = 1000,    /* bytes */
    DISCARD_MAX = 4000, /* bytes */
    BIG = 8 << 20,      /* bytes of an answer no socket takes at once */
    QUEUE_MAX = 64,
};

/* ---- the handler ---- */

/*
 * /echo      the body, at once                  /later     the same, by another thread
 * /held      the same, once the test says so    /blocked   likewise, and the loop waits
 * /refuse    401 with the head                  /big       BIG bytes
 * /204 /304  that status, with a body           /lost      no answer
 * /full      echoed with no memory left         /reserved  likewise, and reserved before
 */
struct world {
    struct http_server *server;
    struct http_tls *tls;
    uint16_t port;
    pthread_t thread; /* answers /later */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct http_exchange *later[QUEUE_MAX], *held[QUEUE_MAX];
    size_t later_count, held_count;
    bool blocked, let_go, over;
    int began, ended, gone, dropped;
    enum http_reason refused;    /* the last one's */
    char method[16], target[64]; /* the last refusal's, if its head was given */
    struct wire_answer answer;
    char big[BIG];
};

struct asked {
    char path[64];
    char *body;
    size_t size;
};

static inline void answer_with(struct http_exchange *x, unsigned status, const char *body,
                               size_t size)
{
    static const char FIELDS[] = "X-Field: of the answer\r\n";
    const struct http_answer answer = {
        .status = status, .fields = {FIELDS, sizeof FIELDS - 1}, .body = {body, size}};

    http_exchange_answer(x, &answer);
}

static inline void echo(struct http_exchange *x)
{
    const struct asked *asked = http_exchange_get(x);

    answer_with(x, 200, asked->body, asked->size);
}

static inline void echo_when_full(struct http_exchange *x, bool reserved)
{
    const struct asked *asked = http_exchange_get(x);
    const struct http_answer answer = {.status = 200, .body = {asked->body, asked->size}};

    if (reserved)
        assert_true(http_exchange_reserve(x, &answer));
    for (size_t size = 1 << 16; size > 0; size /= 2)
        while (arena_alloc(http_exchange_arena(x), size) != NULL)
            ;
    if (!reserved)
        assert_false(http_exchange_reserve(x, &answer));
    http_exchange_answer(x, &answer);
}

static inline void on_head(void *arg, struct http_exchange *x,
                           const struct http_head *head)
{
    struct world *w = arg;
    struct asked *asked = arena_alloc(http_exchange_arena(x), sizeof *asked);

    assert_non_null(asked);
    assert_true(head->path.size < sizeof asked->path);
    memcpy(asked->path, head->path.at, head->path.size);
    http_exchange_set(x, asked);
    pthread_mutex_lock(&w->mutex);
    w->began++;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->mutex);
    if (strcmp(asked->path, "/refuse") == 0)
        answer_with(x, 401, "no", 2);
}

static inline void on_body(void *arg, struct http_exchange *x, char *body, size_t size)
{
    struct world *w = arg;
    struct asked *asked = http_exchange_get(x);
    const char *path = asked->path;

    assert_int_equal(body[size], '\0');
    asked->body = body;
    asked->size = size;
    pthread_mutex_lock(&w->mutex);
    if (strcmp(path, "/later") == 0)
        w->later[w->later_count++] = x;
    else if (strcmp(path, "/held") == 0)
        w->held[w->held_count++] = x;
    w->blocked = strcmp(path, "/blocked") == 0;
    pthread_cond_broadcast(&w->changed);
    while (w->blocked && !w->let_go)
        pthread_cond_wait(&w->changed, &w->mutex);
    pthread_mutex_unlock(&w->mutex);
    if (strcmp(path, "/204") == 0 || strcmp(path, "/304") == 0)
        answer_with(x, path[1] == '2' ? 204 : 304, "never sent", 10);
    else if (strcmp(path, "/big") == 0)
        answer_with(x, 200, w->big, BIG);
    else if (strcmp(path, "/lost") == 0)
        http_exchange_answer(x, &(struct http_answer){.status = 0});
    else if (strcmp(path, "/full") == 0 || strcmp(path, "/reserved") == 0)
        echo_when_full(x, path[1] == 'r');
    else if (strcmp(path, "/later") != 0 && strcmp(path, "/held") != 0)
        echo(x);
}

static inline void on_refusal(void *arg, struct http_exchange *x,
                              const struct http_head *head, enum http_reason reason,
                              struct http_answer *answer)
{
    struct world *w = arg;

    pthread_mutex_lock(&w->mutex);
    if (head != NULL) {
        w->began++;
        snprintf(w->method, sizeof w->method, "%.*s", (int)head->method.size,
                 head->method.at);
        snprintf(w->target, sizeof w->target, "%.*s", (int)head->target.size,
                 head->target.at);
    }
    w->refused = reason;
    pthread_mutex_unlock(&w->mutex);
    assert_int_equal(answer->status, http_reason_status(reason));
    const char *name = reason_name(reason);
    answer->body = (struct http_text){name, strlen(name)};
    (void)x;
}

static inline void on_gone(void *arg, struct http_exchange *x)
{
    struct world *w = arg;

    (void)x;
    pthread_mutex_lock(&w->mutex);
    w->gone++;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->mutex);
}

static inline void on_end(void *arg, struct http_exchange *x)
{
    struct world *w = arg;

    (void)x;
    pthread_mutex_lock(&w->mutex);
    w->ended++;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->mutex);
}

static inline void on_dropped(void *arg)
{
    struct world *w = arg;

    pthread_mutex_lock(&w->mutex);
    w->dropped++;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->mutex);
}

static const struct http_handler HANDLER = {on_head, on_body, on_refusal,
                                            on_gone, on_end,  on_dropped};

static inline void *answer_later(void *arg)
{
    struct world *w = arg;

    pthread_mutex_lock(&w->mutex);
    while (!w->over || w->later_count > 0) {
        if (w->later_count == 0) {
            pthread_cond_wait(&w->changed, &w->mutex);
            continue;
        }
        struct http_exchange *x = w->later[--w->later_count]; /* newest first */
        pthread_mutex_unlock(&w->mutex);
        echo(x);
        pthread_mutex_lock(&w->mutex);
    }
    pthread_mutex_unlock(&w->mutex);
    return NULL;
}

/* Waits until *count is what it should be; `count` is one of the world's. */
static inline void wait_for(struct world *w, const int *count, int wanted)
{
    pthread_mutex_lock(&w->mutex);
    while (*count < wanted)
        pthread_cond_wait(&w->changed, &w->mutex);
    pthread_mutex_unlock(&w->mutex);
}

static inline void wait_held(struct world *w, size_t wanted)
{
    pthread_mutex_lock(&w->mutex);
    while (w->held_count < wanted)
        pthread_cond_wait(&w->changed, &w->mutex);
    pthread_mutex_unlock(&w->mutex);
}

static inline void let_held_go(struct world *w)
{
    pthread_mutex_lock(&w->mutex);
    size_t count = w->held_count;
    w->held_count = 0;
    pthread_mutex_unlock(&w->mutex);
    for (size_t i = 0; i < count; i++)
        echo(w->held[i]);
}

/* ---- a server ---- */

#define NO_MEMORY_BODY "no memory"
#define NO_MEMORY_ANSWER                                                                 \
    "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 9\r\nConnection: close\r\n\r\n" NO_MEMORY_BODY

static const struct http_server_config DEFAULTS = {
    .no_memory = {NO_MEMORY_ANSWER, sizeof NO_MEMORY_ANSWER - 1},
    .address = "127.0.0.1",
    .connections_max = 64,
    .per_address_max = 64,
    .idle_timeout_ms = LONG_MS,
    .head_timeout_ms = LONG_MS,
    .body_timeout_ms = LONG_MS,
    .answer_timeout_ms = LONG_MS,
    .limits = {.head = 2048,
               .target = 256,
               .fields = 16,
               .body = BODY_MAX,
               .discard = DISCARD_MAX},
    .arena_max = 1 << 20,
};

static inline struct world *open_as(struct http_server_config config)
{
    struct world *w = calloc(1, sizeof *w);

    assert_non_null(w);
    memset(w->big, 'b', sizeof w->big);
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->changed, NULL);
    config.handler = &HANDLER;
    config.arg = w;
    struct err e = http_server_open(&config, &w->server);
    if (failed(e))
        fail_msg("%s", e.message);
    w->port = http_server_port(w->server);
    assert_int_equal(pthread_create(&w->thread, NULL, answer_later, w), 0);
    return w;
}

static inline struct world *open_default(void)
{
    return open_as(DEFAULTS);
}

static inline void close_world(struct world *w)
{
    if (w->server != NULL) {
        http_server_quiesce(w->server);
        assert_true(http_server_wait_idle(w->server, LONG_MS));
        http_server_close(w->server);
    }
    pthread_mutex_lock(&w->mutex);
    w->over = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->mutex);
    pthread_join(w->thread, NULL);
    assert_int_equal(w->began, w->ended);
    http_tls_close(w->tls);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->mutex);
    free(w);
}

/* ---- a client ---- */

static inline int connect_to(struct world *w)
{
    const int on = 1;
    int fd = wire_connect(w->port);

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static inline void say(int fd, const char *text)
{
    wire_send(fd, text, strlen(text));
}

static inline void say_bytes(int fd, char byte, size_t count)
{
    char bytes[4096];

    memset(bytes, byte, sizeof bytes);
    for (size_t piece; count > 0; count -= piece) {
        piece = count < sizeof bytes ? count : sizeof bytes;
        wire_send(fd, bytes, piece);
    }
}

static inline void ask(int fd, const char *method, const char *path, const char *body)
{
    char text[512];

    snprintf(text, sizeof text,
             "%s %s HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n%s", method, path,
             strlen(body), body);
    say(fd, text);
}

static inline void expect_answer(struct world *w, int fd, int status, const char *body)
{
    wire_read(fd, false, &w->answer);
    if (w->answer.status != status || strcmp(w->answer.body, body) != 0)
        fail_msg("%d \"%s\" was expected, and this came: \"%.200s\"", status, body,
                 w->answer.text);
}

/* A client is closed by the server without a reset, so that it has read everything. */
static inline void expect_end(int fd)
{
    char byte;
    ssize_t got = recv(fd, &byte, 1, 0);

    if (got != 0)
        fail_msg("the end was expected: %s", got < 0 ? strerror(errno) : "a byte");
    close(fd);
}

static inline void expect_refusal(struct world *w, int fd, enum http_reason reason)
{
    expect_answer(w, fd, (int)http_reason_status(reason), reason_name(reason));
    assert_int_equal(w->refused, reason);
}

static inline void expect_served(struct world *w, int fd, const char *path)
{
    ask(fd, "POST", path, "served");
    expect_answer(w, fd, 200, "served");
}

static inline const char *header(struct world *w, const char *name)
{
    static char value[512];

    return wire_header(&w->answer, name, value);
}

static inline void break_off(int fd)
{
    const struct linger hard = {.l_onoff = 1};

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(fd);
}
