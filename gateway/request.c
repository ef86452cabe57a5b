/* request.c - see request.h. */
#include "gateway/request.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/conns.h"
#include "gateway/problem.h"

/* Replaces what no target may hold, so that a logged path cannot pass for other fields.
 */
static bool make_plain(char *target)
{
    bool strange = target[0] != '/';

    for (; *target != '\0'; target++)
        if (*target <= ' ' || *target >= 0x7f || *target == '"') {
            *target = '?';
            strange = true;
        }
    return strange;
}

struct request *request_new(const struct gateway *gateway,
                            struct MHD_Connection *connection, const char *target,
                            struct arena *arena)
{
    struct request *r = arena_alloc(arena, sizeof *r);
    char *path = r == NULL ? NULL : arena_strdup(arena, target);

    if (path == NULL)
        return NULL;
    bool strange = make_plain(path);
    char *query = strchr(path, '?');
    if (query != NULL)
        *query++ = '\0';
    r->strange = strange;
    r->target = target;
    r->target_size = strlen(target);
    r->arena = arena;
    r->gateway = gateway;
    r->connection = connection;
    r->path = path;
    r->query = query != NULL ? query : "";
    r->method = "";
    r->started_us = clock_monotonic_us();
    ulid_make(r->id);
    return r;
}

static bool grow(struct request *r, size_t more)
{
    if (r->body_room - r->body_size >= more)
        return true;
    size_t room = r->head.length > 0 ? (size_t)r->head.length : 2 * r->body_room + more;
    char *body = arena_alloc(r->arena, room);
    if (body == NULL)
        return false;
    if (r->body_size > 0)
        memcpy(body, r->body, r->body_size);
    r->body = body;
    r->body_room = room;
    return true;
}

bool request_take_body(struct request *r, const char *bytes, size_t size)
{
    if (!failed(r->error) && size > REQUEST_BODY_MAX - r->body_size)
        r->error = err_make(ERR_PAYLOAD_TOO_LARGE, "The body may be at most %d bytes.",
                            REQUEST_BODY_MAX);
    if (!failed(r->error) && !grow(r, size))
        r->error = err_memory();
    if (failed(r->error)) {
        r->drained += size;
        return r->drained <= REQUEST_DRAIN_MAX;
    }
    memcpy(r->body + r->body_size, bytes, size);
    r->body_size += size;
    return true;
}

void request_answer(struct request *r, unsigned status, const struct text *text)
{
    if (text->broken) {
        request_fail(r, err_make(ERR_INTERNAL,
                                 "the answer does not fit into the request's arena"));
        return;
    }
    r->answer.status = status;
    r->answer.body = text->bytes;
    r->answer.size = text->size;
    r->answered = true;
}

void request_fail(struct request *r, struct err error)
{
    bool close = r->answer.close, replayed = r->answer.replayed;
    const char *allow = r->answer.allow, *codings = r->answer.accept_encoding;

    if (err_http_status(error.code) >= 500)
        log_warn("failed", "request=%s path=%s code=%s reason=\"%s\"", r->id, r->path,
                 err_reason(error.code), error.message);
    r->answer = problem_answer(r->arena, error);
    r->answer.close = close;
    r->answer.replayed = replayed;
    r->answer.allow = allow;
    r->answer.accept_encoding = codings;
    r->answered = true;
}

void request_call(struct request *r, const struct request_call *call, channel_done *done)
{
    struct channel_call c = {
        .method = call->method,
        .request = call->message,
        .reply_type = call->reply_type,
        .arena = r->arena,
        .deadline_ms = clock_monotonic_ms() + call->timeout_ms,
        .id = r->id,
        .traceparent = r->trace.parent,
        .tracestate = r->trace.state,
    };

    r->phase = REQUEST_WAITING;
    MHD_suspend_connection(r->connection);
    channel_ticket ticket = channel_call(call->channel, &c, done, r);
    /* It may have ended and resumed us; but only this thread goes on with the request. */
    conn_call(MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)
                  ->socket_context,
              call->channel, ticket);
}

void request_resume(struct request *r)
{
    struct loop *loop = r->loop; /* once resumed, the request may be gone */

    assert(r->answered);
    MHD_resume_connection(r->connection);
    loop_wake(loop);
}

static struct err take_pair(const char *const *names, const char **values, char *pair)
{
    static const char CHARS[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "0123456789._~-";
    char *equals = strchr(pair, '=');
    size_t i = 0;

    if (equals != NULL)
        *equals++ = '\0';
    while (names[i] != NULL && strcmp(names[i], pair) != 0)
        i++;
    if (names[i] == NULL)
        return err_make(ERR_INVALID_ARGUMENT,
                        "The query has an unknown parameter \"%.32s\".", pair);
    if (values[i] != NULL)
        return err_make(ERR_INVALID_ARGUMENT, "The query has %s twice.", names[i]);
    if (equals == NULL || *equals == '\0' || equals[strspn(equals, CHARS)] != '\0')
        return err_make(ERR_INVALID_ARGUMENT,
                        "The value of %s in the query is malformed.", names[i]);
    values[i] = equals;
    return ERR_NONE;
}

struct err request_query(struct request *r, const char *const *names, const char **values)
{
    struct err e = ERR_NONE;

    for (size_t i = 0; names[i] != NULL; i++)
        values[i] = NULL;
    if (r->query[0] == '\0')
        return ERR_NONE;
    char *at = arena_strdup(r->arena, r->query);
    if (at == NULL)
        return err_memory();
    while (!failed(e) && at != NULL) {
        char *next = strchr(at, '&');
        if (next != NULL)
            *next++ = '\0';
        e = take_pair(names, values, at);
        at = next;
    }
    return e;
}
