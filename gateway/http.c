/* http.c - see http.h. */
#include "gateway/http.h"

#include <inttypes.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "gateway/admit.h"
#include "gateway/certificates.h"
#include "gateway/conns.h"
#include "gateway/cors.h"
#include "gateway/headers.h"
#include "gateway/layout.h"
#include "gateway/listen.h"
#include "gateway/loop.h"
#include "gateway/pages.h"
#include "gateway/request.h"
#include "gateway/traffic.h"

enum {
    CONNECTION_MEMORY = 16 << 10, /* bytes: the head must fit, else 431 */
    STOP_WAIT_MS = 1000,          /* for the last answers to leave */
    SPARE_ARENAS = 64,            /* of requests that have ended */
};

static const char TLS_PRIORITIES[] =
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:%SERVER_PRECEDENCE";

struct http {
    struct MHD_Daemon *daemon;
    struct loop *loop; /* its thread */
    queue_response *queue;
    bool tls;
    const struct gateway *gateway;
    struct http_config config;
    struct conns *conns;
    int listen_fd; /* -1 once quiesced */
    uint16_t port;
    atomic_bool draining; /* answers close their connections */
    struct arena *spare[SPARE_ARENAS]; /* the loop's thread's own */
    size_t spares;

    pthread_mutex_t mutex;
    pthread_cond_t changed;
    size_t running;  /* requests whose head has come and whose answer has not left */
    size_t handling; /* handlers on the stack */
    bool closed;     /* no handler may start */
};

/* ---- what runs ---- */

static void add(struct http *http, size_t *counter, int delta)
{
    pthread_mutex_lock(&http->mutex);
    *counter += (size_t)delta;
    if (*counter == 0)
        pthread_cond_broadcast(&http->changed);
    pthread_mutex_unlock(&http->mutex);
}

static bool enter_handler(struct http *http)
{
    pthread_mutex_lock(&http->mutex);
    bool open = !http->closed;
    http->handling += open;
    pthread_mutex_unlock(&http->mutex);
    return open;
}

/* Waits until the counter is 0, or the time is over. */
static void wait_for_none(struct http *http, const size_t *counter, int64_t limit_ms)
{
    int64_t until = clock_monotonic_ms() + limit_ms;

    pthread_mutex_lock(&http->mutex);
    while (*counter > 0 && clock_cond_wait(&http->changed, &http->mutex, until))
        ;
    pthread_mutex_unlock(&http->mutex);
}

static struct conn *conn_of(struct MHD_Connection *connection)
{
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)
        ->socket_context;
}

static void set_deadline(struct request *r, int64_t after_ms)
{
    conn_deadline(conn_of(r->connection), clock_monotonic_ms() + after_ms);
}

/* ---- answering ---- */

/*
 * Faults of test builds, where the answer leaves: it becomes "the outcome is not known",
 * or it is late, and with it whatever else this thread serves.  False: it is lost.
 */
static bool pass_answer(struct request *r)
{
    if (r->route == NULL)
        return true;
    struct fault fault = failpoint("answer", r->route->name, "before");
    if (fault.kind == FAULT_ERROR)
        request_fail(r, err_make(ERR_DEADLINE_EXCEEDED, "a fault was armed here"));
    if (fault.kind == FAULT_LATE)
        usleep((useconds_t)fault.late_ms * 1000);
    return fault.kind != FAULT_DROP;
}

/*
 * After a chunked body the connection ends: libmicrohttpd is lenient about chunks, and
 * whoever reads along may see another end of them than we do.
 */
static void add_headers(const struct http *http, const struct request *r,
                        struct MHD_Response *response)
{
    struct answer told = r->answer;

    told.close =
        told.close || atomic_load(&http->draining) || r->head.transfer_encoding != NULL;
    headers_add(response, &told, r->id);
    cors_add(response, http->gateway->cors_origins, &r->head, told.allow);
    if (http->tls)
        MHD_add_response_header(response, "Strict-Transport-Security",
                                "max-age=31536000");
}

/* The body stays the arena's, which lives until on_completed.  MHD_NO hangs up. */
static enum MHD_Result send_answer(struct http *http, struct request *r)
{
    if (!pass_answer(r))
        return MHD_NO;
    const struct answer *a = &r->answer;
    struct MHD_Response *response =
        MHD_create_response_from_buffer(a->size, (void *)a->body, MHD_RESPMEM_PERSISTENT);

    if (response == NULL)
        return MHD_NO;
    add_headers(http, r, response);
    set_deadline(r, http->config.transfer_timeout_ms);
    enum MHD_Result result = http->queue(r->connection, a->status, response);
    MHD_destroy_response(response);
    int64_t us = clock_monotonic_us() - r->started_us;
    traffic_answered(http->gateway->traffic, r->route, a->status, us);
    if (http->gateway->access_log)
        log_info("access",
                 "request=%s method=%.16s status=%u ms=%" PRId64 " path=\"%.256s\"",
                 r->id, r->method, a->status, us / 1000, r->path);
    return result;
}

/* ---- the head ---- */

/* What a walk over the fields finds. */
struct walk {
    struct head *head;
    struct layout layout;
    struct arena *arena;
    struct err error;
};

/*
 * Blanks after a value are not part of it (RFC 9110, 5.5); libmicrohttpd leaves them.  The
 * two fields that tell where a body ends stay as they are, and are refused with blanks:
 * libmicrohttpd reads them too, untrimmed, and would find another end than we do.
 */
static const char *trim(struct walk *walk, const char *name, const char *value)
{
    size_t size = strlen(value);

    if (size == 0 || (value[size - 1] != ' ' && value[size - 1] != '\t') ||
        strcasecmp(name, "Content-Length") == 0 ||
        strcasecmp(name, "Transfer-Encoding") == 0)
        return value;
    while (size > 0 && (value[size - 1] == ' ' || value[size - 1] == '\t'))
        size--;
    char *copy = arena_alloc(walk->arena, size + 1);
    if (copy == NULL) {
        walk->error = err_memory();
        return value;
    }
    memcpy(copy, value, size);
    copy[size] = '\0';
    return copy;
}

static enum MHD_Result on_field(void *cls, enum MHD_ValueKind kind, const char *name,
                                const char *value)
{
    struct walk *walk = cls;

    (void)kind;
    if (value == NULL)
        value = "";
    layout_field(&walk->layout, name, value);
    head_add(walk->head, name, trim(walk, name, value));
    return MHD_YES;
}

static enum MHD_Result hang_up(struct http *http, struct request *r, struct err e)
{
    r->answer.close = true;
    request_fail(r, e);
    return send_answer(http, r);
}

/* `method` and `version` are libmicrohttpd's own, as layout.h asks. */
static struct err check_head(struct request *r, const char *method, const char *version)
{
    struct walk walk = {
        .head = &r->head,
        .layout = layout_start(method, r->target, r->target_size, version),
        .arena = r->arena,
        .error = ERR_NONE,
    };

    MHD_get_connection_values(r->connection, MHD_HEADER_KIND, on_field, &walk);
    size_t size =
        MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE)
            ->header_size;
    struct err e = head_check(&r->head, r->method, version);
    if (!failed(e) && (r->strange || !layout_good(&walk.layout, size)))
        e = err_make(ERR_INVALID_ARGUMENT, "The request's head is malformed.");
    return failed(e) ? e : walk.error;
}

/*
 * The first callback: nothing of the body is read yet.  What leaves doubt where the
 * request ends is answered here and the connection closed.  Another refusal waits for the
 * body to be read off, if it is not too long, so that the connection can go on and the
 * client sees the answer.
 */
static enum MHD_Result on_head(struct http *http, struct request *r, const char *method,
                               const char *version)
{
    r->method = arena_strdup(r->arena, method);
    if (r->method == NULL)
        return MHD_NO;
    r->phase = REQUEST_BODY;
    r->running = true;
    add(http, &http->running, 1);
    set_deadline(r, http->config.transfer_timeout_ms);
    struct err e = check_head(r, method, version);
    if (failed(e))
        return hang_up(http, r, e);
    trace_begin(&r->head.trace, &r->trace);
    r->error = admit(r);
    if (failed(r->error) &&
        (r->head.expect != NULL || r->head.length > REQUEST_DRAIN_MAX))
        return hang_up(http, r, r->error);
    return MHD_YES;
}

/* ---- the body is complete: run ---- */

static void handle(struct http *http, struct request *r)
{
    if (!enter_handler(http)) {
        r->answer.close = true;
        request_fail(r, err_make(ERR_UNAVAILABLE, "the gateway is stopping"));
        return;
    }
    r->handled = true;
    traffic_begin(http->gateway->traffic, r->route);
    struct err e = r->route->handle(r);
    if (failed(e))
        request_fail(r, e);
    add(http, &http->handling, -1);
}

static enum MHD_Result on_body(struct http *http, struct request *r)
{
    conn_deadline(conn_of(r->connection), INT64_MAX); /* the time is ours now */
    if (failed(r->error))
        request_fail(r, r->error);
    else if (r->route == NULL)
        r->answer.status = 204; /* OPTIONS */
    else
        handle(http, r);
    return r->phase == REQUEST_WAITING ? MHD_YES : send_answer(http, r);
}

/* ---- libmicrohttpd's callbacks, all on the loop's thread ---- */

static struct arena *take_arena(struct http *http)
{
    return http->spares > 0 ? http->spare[--http->spares] : arena_new(REQUEST_ARENA_MAX);
}

static void give_arena_back(struct http *http, struct arena *arena)
{
    if (arena == NULL || http->spares == SPARE_ARENAS) {
        arena_free(arena);
        return;
    }
    arena_reset(arena);
    http->spare[http->spares++] = arena;
}

static void *on_target(void *cls, const char *target, struct MHD_Connection *connection)
{
    struct http *http = cls;
    struct arena *arena = take_arena(http);
    struct request *r =
        arena == NULL ? NULL : request_new(http->gateway, connection, target, arena);

    if (r == NULL)
        give_arena_back(http, arena);
    else
        r->loop = http->loop;
    return r;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection,
                                  const char *url, const char *method,
                                  const char *version, const char *bytes, size_t *size,
                                  void **state)
{
    struct http *http = cls;
    struct request *r = *state;

    (void)url;
    if (r == NULL)
        return MHD_NO;
    if (r->phase == REQUEST_HEAD)
        return on_head(http, r, method, version);
    if (r->phase == REQUEST_WAITING) {
        conn_answered(conn_of(connection));
        return send_answer(http, r);
    }
    if (*size == 0)
        return on_body(http, r);
    bool taken = request_take_body(r, bytes, *size);
    *size = 0;
    return taken ? MHD_YES : MHD_NO;
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode why)
{
    struct http *http = cls;
    struct request *r = *state;

    (void)why;
    conn_waits(conn_of(connection), clock_monotonic_ms() + http->config.idle_timeout_ms);
    if (r == NULL)
        return;
    if (r->running)
        add(http, &http->running, -1);
    if (r->handled)
        traffic_end(http->gateway->traffic, r->route);
    give_arena_back(http, r->arena);
    *state = NULL;
}

static void on_connection(void *cls, struct MHD_Connection *connection,
                          void **socket_context, enum MHD_ConnectionNotificationCode code)
{
    struct http *http = cls;

    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        int fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)
                     ->connect_fd;
        *socket_context = conns_add(http->conns, fd,
                                    clock_monotonic_ms() + http->config.idle_timeout_ms);
    } else {
        conns_remove(http->conns, *socket_context);
    }
}

__attribute__((format(printf, 2, 0))) static void on_log(void *cls, const char *format,
                                                         va_list args)
{
    char line[512];

    (void)cls;
    vsnprintf(line, sizeof line, format, args);
    log_debug("microhttpd", "message=\"%s\"", line);
}

/* ---- start and stop ---- */

/* Not MHD_OPTION_STRICT_FOR_CLIENT: it answers a missing Host with a page of its own, and
 * twice at that; head_check refuses what it would. */
static struct err start_daemon(struct http *http)
{
    const struct http_config *c = &http->config;
    gnutls_certificate_retrieve_function3 *callback = certificates_retrieve;
    void *retrieve;
    memcpy(&retrieve, &callback, sizeof retrieve); /* ISO C has no cast between the two */
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_CERT_CALLBACK2, 0, retrieve},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)TLS_PRIORITIES},
        {MHD_OPTION_END, 0, NULL},
    };
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;

    if (c->certificates == NULL)
        tls[0] = tls[2];
    else
        flags |= MHD_USE_TLS;
    /* clang-format off */
    http->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, http,
        MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
        MHD_OPTION_LISTEN_SOCKET, http->listen_fd,
        MHD_OPTION_URI_LOG_CALLBACK, on_target, http,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, http,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, http,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
        MHD_OPTION_CONNECTION_LIMIT, c->connections_max,
        MHD_OPTION_PER_IP_CONNECTION_LIMIT, c->per_address_max,
        MHD_OPTION_ARRAY, tls,
        MHD_OPTION_END);
    /* clang-format on */
    return http->daemon != NULL
               ? ERR_NONE
               : err_make(ERR_UNAVAILABLE, "the HTTP server cannot start on %s port %u",
                          c->address, http->port);
}

static void destroy(struct http *http)
{
    loop_stop(http->loop);
    if (http->daemon != NULL) {
        MHD_quiesce_daemon(http->daemon); /* the socket stays ours to close */
        MHD_stop_daemon(http->daemon);
    }
    while (http->spares > 0)
        arena_free(http->spare[--http->spares]);
    if (http->listen_fd >= 0)
        close(http->listen_fd);
    conns_close(http->conns);
    pthread_cond_destroy(&http->changed);
    pthread_mutex_destroy(&http->mutex);
    free(http);
}

struct err http_start(const struct http_config *config, const struct gateway *gateway,
                      struct http **out)
{
    struct http *http = calloc(1, sizeof *http);

    *out = NULL;
    if (http == NULL)
        return err_memory();
    http->gateway = gateway;
    http->queue = pages_queue();
    http->tls = config->certificates != NULL;
    http->config = *config;
    http->listen_fd = -1;
    pthread_mutex_init(&http->mutex, NULL);
    clock_cond_init(&http->changed);
    struct err e =
        listen_tcp(config->address, config->port, &http->listen_fd, &http->port);
    if (!failed(e))
        e = conns_open(&(struct conns_config){.max = config->connections_max,
                                              .look_every_ms = config->look_every_ms,
                                              .traffic = gateway->traffic},
                       &http->conns);
    if (!failed(e))
        e = start_daemon(http);
    if (!failed(e))
        e = loop_start(http->daemon, config->certificates, &http->loop);
    if (failed(e))
        destroy(http);
    else
        *out = http;
    return e;
}

uint16_t http_port(const struct http *http)
{
    return http->port;
}

bool http_draining(const struct http *http)
{
    return atomic_load(&http->draining);
}

void http_drain(struct http *http, int64_t limit_ms)
{
    atomic_store(&http->draining, true);
    /* Newcomers are refused from here on; closing waits for the end (destroy), as the
     * daemon's thread may still be looking at the socket. */
    loop_quiesce(http->loop);
    shutdown(http->listen_fd, SHUT_RDWR);
    wait_for_none(http, &http->running, limit_ms);
    pthread_mutex_lock(&http->mutex);
    http->closed = true;
    pthread_mutex_unlock(&http->mutex);
    wait_for_none(http, &http->handling, INT32_MAX); /* handlers never wait */
    conns_leave_calls(http->conns);
}

void http_stop(struct http *http)
{
    wait_for_none(http, &http->running, STOP_WAIT_MS);
    destroy(http);
}
