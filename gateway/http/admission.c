/* admission.c - see admission.h. */
#include "gateway/http/admission.h"

#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/contract/buckets.h"
#include "base/log.h"
#include "gateway/auth/jwt.h"
#include "gateway/http/request.h"
#include "http/media_type.h"

/* ---- the route ---- */

/* The Allow field, by the set of methods of a path. */
enum { GET = 1 << METHOD_GET, POST = 1 << METHOD_POST, PUT = 1 << METHOD_PUT };
static const char *const ALLOW[] = {
    [GET] = "GET, HEAD, OPTIONS",
    [POST] = "OPTIONS, POST",
    [PUT] = "OPTIONS, PUT",
    [GET | POST] = "GET, HEAD, OPTIONS, POST",
    [GET | PUT] = "GET, HEAD, OPTIONS, PUT",
    [POST | PUT] = "OPTIONS, POST, PUT",
    [GET | POST | PUT] = "GET, HEAD, OPTIONS, POST, PUT",
};
_Static_assert(sizeof ALLOW / sizeof ALLOW[0] == 1 << METHOD_OPTIONS,
               "each set of methods");

enum method method_of(const char *name)
{
    static const struct {
        const char *name;
        enum method method;
    } METHODS[] = {
        {"POST", METHOD_POST}, {"GET", METHOD_GET},         {"PUT", METHOD_PUT},
        {"HEAD", METHOD_GET},  {"OPTIONS", METHOD_OPTIONS},
    };

    for (size_t i = 0; i < sizeof METHODS / sizeof METHODS[0]; i++)
        if (strcmp(METHODS[i].name, name) == 0)
            return METHODS[i].method;
    return METHOD_OTHER;
}

/* Whether the pattern covers the path; *id is where its {id} begins, or NULL. */
static bool matches(const char *pattern, const char *path, const char **id)
{
    *id = NULL;
    for (; *pattern != '{'; pattern++, path++) {
        if (*pattern != *path)
            return false;
        if (*pattern == '\0')
            return true;
    }
    *id = path;
    return *path != '\0' && strchr(path, '/') == NULL;
}

struct err route_find(const struct route_table *table, enum method method,
                      const char *path, const struct route **out, const char **id,
                      const char **allow)
{
    unsigned methods = 0;
    const char *at;

    *out = NULL;
    *id = NULL;
    *allow = NULL;
    for (size_t i = 0; i < table->count; i++) {
        const struct route *row = &table->rows[i];
        if (!matches(row->path, path, &at))
            continue;
        methods |= 1u << row->method;
        if (row->method != method)
            continue;
        *out = row;
        *id = at;
        return ERR_NONE;
    }
    if (methods == 0)
        return err_make(ERR_NOT_FOUND, "There is nothing at this path.");
    *allow = ALLOW[methods];
    if (method == METHOD_OPTIONS)
        return ERR_NONE;
    return err_make(ERR_METHOD_NOT_ALLOWED, "This path answers to %s.", *allow);
}

/* ---- the token ---- */

static bool is(const char *text, const char *value)
{
    return text != NULL && strcmp(text, value) == 0;
}

/* Counts the cookies of that name; *token is the last one's value. */
static int find_cookie(const char *header, const char *name, const char **token,
                       size_t *size)
{
    size_t length = strlen(name);
    int count = 0;

    for (const char *at = header; *at != '\0';) {
        at += strspn(at, "; ");
        size_t whole = strcspn(at, ";");
        if (whole > length && strncmp(at, name, length) == 0 && at[length] == '=') {
            *token = at + length + 1;
            *size = whole - length - 1;
            count++;
        }
        at += whole;
    }
    return count;
}

/* Whether the origin is that of the request's target.  A proxy may terminate TLS, so
 * the scheme is unknown here; browsers do not send the cookie of an https page to an http
 * one. */
static bool origin_is_ours(const char *origin, const char *host)
{
    static const char *const SCHEMES[] = {"https://", "http://"};

    for (size_t i = 0; host != NULL && i < sizeof SCHEMES / sizeof SCHEMES[0]; i++) {
        size_t length = strlen(SCHEMES[i]);
        if (strncmp(origin, SCHEMES[i], length) == 0 &&
            strcasecmp(origin + length, host) == 0)
            return true;
    }
    return false;
}

/* Whether our own page sent it: at least one field says so, and none contradicts. */
static bool asked_by_own_page(const struct head *head)
{
    return (head->origin != NULL || head->fetch_site != NULL) &&
           (head->origin == NULL || origin_is_ours(head->origin, head->host)) &&
           (head->fetch_site == NULL || is(head->fetch_site, "same-origin"));
}

/* Whether another site's page sent it.  "none" is the user: a bookmark, a typed
 * address. */
static bool asked_by_other_site(const struct head *head)
{
    return !asked_by_own_page(head) &&
           (head->origin != NULL || head->fetch_site != NULL) &&
           !(head->origin == NULL && is(head->fetch_site, "none"));
}

static struct err check_cookie(const struct head *head, enum method method)
{
    if (method == METHOD_GET ? asked_by_other_site(head) : !asked_by_own_page(head))
        return err_make(ERR_CROSS_SITE, "a cookie, but not from a page of this origin");
    if (method == METHOD_POST && head->idempotency_key == NULL)
        return err_make(ERR_CROSS_SITE, "a cookie without the Idempotency-Key header");
    return ERR_NONE;
}

struct err session_token(const struct head *head, enum method method,
                         const char *cookie_name, const char **token, size_t *size)
{
    static const char SCHEME[] = "Bearer ";
    const char *given = head->authorization;
    int count = 0;

    *token = NULL;
    *size = 0;
    if (given != NULL) {
        if (strncasecmp(given, SCHEME, sizeof SCHEME - 1) != 0)
            return err_make(ERR_UNAUTHENTICATED, "the authorization is no bearer token");
        *token = given + sizeof SCHEME - 1;
        *token += strspn(*token, " "); /* RFC 9110, 11.4: 1*SP */
        *size = strlen(*token);
        return ERR_NONE;
    }
    if (head->cookie != NULL)
        count = find_cookie(head->cookie, cookie_name, token, size);
    if (count == 0)
        return err_make(ERR_UNAUTHENTICATED, "no bearer token and no session cookie");
    struct err e = check_cookie(head, method);
    if (!failed(e) && count > 1)
        e = err_make(ERR_UNAUTHENTICATED, "the session cookie came twice");
    return e;
}

/* ---- admission ---- */

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

/* Checks the body's coding and type, as declared in the head. */
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

struct err admit(struct request *r)
{
    enum method method = method_of(r->method);

    if (r->path[0] == '\0') { /* OPTIONS of the whole server (RFC 9110, 9.3.7) */
        r->answer.allow = ALLOW[GET | POST | PUT];
        return ERR_NONE;
    }
    struct err e = route_find(r->gateway->routes, method, r->path, &r->route, &r->path_id,
                              &r->answer.allow);
    if (failed(e) || r->route == NULL)
        return e;
    if (!r->route->public)
        e = authenticate(r, method);
    if (!failed(e) && !r->route->public)
        e = check_rate(r);
    return failed(e) ? e : check_body(r, method);
}
