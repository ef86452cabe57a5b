/*
 * session.h - the token a request brings: in Authorization, or in the session cookie.
 *
 * A browser sends its cookies whoever makes it ask, so a cookie alone proves nothing.  It
 * counts on a request that changes something only if
 *   - the browser says that a page of this very origin asks (Origin, Sec-Fetch-Site), and
 *   - a POST carries the Idempotency-Key header, which no form can send;
 * and on a read unless the browser says that somebody else's page asks.  When there is an
 * Authorization header the cookie is not looked at.
 */
#pragma once

#include <stddef.h>

#include "base/err.h"
#include "gateway/head.h"
#include "gateway/routes.h"

/*
 * Finds the token, *token, of *size bytes, borrowed from the head.  UNAUTHENTICATED:
 * there is none, or the cookie came twice; the message is for the log alone.  CROSS_SITE:
 * there is a cookie, and it does not count.
 */
struct err session_token(const struct head *head, enum method method,
                         const char *cookie_name, const char **token, size_t *size)
    __attribute__((warn_unused_result));
