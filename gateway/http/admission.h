/*
 * admission.h - decides from a request's head whether its body is read: finds the route,
 * identifies the user, and checks the user's rate and the body's type.
 *
 * The token comes in Authorization or in the session cookie.  A browser sends cookies
 * with every request, whichever page causes it, so a cookie alone proves nothing.  A
 * change is accepted with a cookie only if
 *   - the browser says that a page of the same origin sent it (Origin, Sec-Fetch-Site), and
 *   - a POST has the Idempotency-Key header, which no HTML form can send.
 * A read is accepted unless the browser says that a page of another site sent it.  With
 * an Authorization header the cookie is ignored.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "gateway/http/fields.h"

struct request;

enum method { METHOD_GET, METHOD_POST, METHOD_PUT, METHOD_OPTIONS, METHOD_OTHER };

struct route {
    enum method method;
    const char *path; /* the last segment may be {id} */
    const char *name; /* in metrics */
    bool public;      /* needs no token */
    /* Answers, starts a call (request_call), or returns the error to answer. */
    struct err (*handle)(struct request *request);
};

/* The gateway's routes: gateway/routes.c. */
struct route_table {
    const struct route *rows;
    size_t count;
};
extern const struct route_table ROUTES;

/*
 * Finds the route and the user, whose id is then request->user.  The error is for the
 * client; the reason why a token was refused is only logged.  A NULL route without an
 * error is OPTIONS, of a path or of *.
 */
struct err admit(struct request *request) __attribute__((warn_unused_result));

/* "GET" and so on; HEAD is GET, whose body is then left out. */
enum method method_of(const char *name);

/*
 * Finds the row for a method and a raw path (without query, not decoded).  *id points at
 * the {id} segment in `path`, or is NULL.  NOT_FOUND; or METHOD_NOT_ALLOWED with the
 * path's methods in *allow (a static string).  OPTIONS sets *allow too, and returns
 * ERR_NONE and a NULL row.
 */
struct err route_find(const struct route_table *table, enum method method,
                      const char *path, const struct route **out, const char **id,
                      const char **allow) __attribute__((warn_unused_result));

/*
 * Finds the token, *token, of *size bytes, borrowed from the head.  UNAUTHENTICATED:
 * there is none, or the cookie came twice; the message is for the log only.  CROSS_SITE:
 * there is a cookie, but it is not accepted here.
 */
struct err session_token(const struct head *head, enum method method,
                         const char *cookie_name, const char **token, size_t *size)
    __attribute__((warn_unused_result));
