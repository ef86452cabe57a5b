/* admit.c - see admit.h. */
#include "gateway/admit.h"

#include "base/clock.h"
#include "base/contract/buckets.h"
#include "base/log.h"
#include "gateway/jwt.h"
#include "gateway/session.h"
#include "http/media_type.h"

static struct err authenticate(struct request *r, enum method method)
{
    const char *token;
    size_t size;
    struct err e =
        session_token(&r->head, method, r->gateway->session_cookie, &token, &size);

    if (!failed(e))
        e = jwt_verify(r->gateway->jwt, token, size, clock_wall_ms() / 1000, r->user);
    if (failed(e))
        log_limited(LOG_INFO, "refused", "request=%s code=%s reason=%s", r->id,
                    err_reason(e.code), e.message);
    return e;
}

static struct err check_rate(const struct request *r)
{
    if (buckets_take(r->gateway->buckets, r->user, r->started_us / 1000))
        return ERR_NONE;
    return err_make(ERR_RATE_LIMITED, "the user's bucket is empty");
}

/* The body's coding and its type, as the head tells them. */
static struct err check_body(struct request *r, enum method method)
{
    if (method == METHOD_GET)
        return ERR_NONE;
    struct err e = http_media_coding_check(r->head.content_encoding);
    if (!failed(e))
        return http_media_type_check(r->head.content_type);
    r->answer.accept_encoding = HTTP_ACCEPT_ENCODING;
    return e;
}

/* What the server as a whole answers to (RFC 9110, 9.3.7). */
static struct err admit_asterisk(struct request *r)
{
    r->answer.allow = routes_all_methods();
    return ERR_NONE;
}

struct err admit(struct request *r)
{
    enum method method = method_of(r->method);

    if (r->path[0] == '\0')
        return admit_asterisk(r);
    struct err e = routes_find(method, r->path, &r->route, &r->path_id, &r->answer.allow);

    if (failed(e) || r->route == NULL)
        return e;
    if (!r->route->public)
        e = authenticate(r, method);
    if (!failed(e) && !r->route->public)
        e = check_rate(r);
    return failed(e) ? e : check_body(r, method);
}
