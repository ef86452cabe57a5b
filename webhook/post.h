/*
 * post.h - one delivery: a signed HTTP POST to the endpoint's URL, with a time limit.
 *
 *      webhook-signature: v1,BASE64(HMAC-SHA256(secret, "ID.TIMESTAMP.BODY")) [v1,...]
 *
 * as https://www.standardwebhooks.com specifies.  It follows no redirect and ignores the
 * environment's proxy, so the event goes only to the configured URL.  Of the response
 * only the status and Retry-After count; 2xx means received.  A long or slow body is cut
 * off.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "webhook/endpoints.h"

struct post;

/* For use by one thread; keeps its connection open between deliveries.  NULL: out of
 * memory. A delivery in progress ends soon after *stopping is set. */
struct post *post_new(const struct endpoint *endpoint, int64_t timeout_ms,
                      const atomic_bool *stopping) __attribute__((warn_unused_result));
void post_free(struct post *post); /* NULL is allowed */

enum { POST_PROBLEM_SIZE = 160 };

struct posted {
    bool received;
    bool gone;                       /* answered 410: the receiver wants no more events */
    int64_t retry_after_ms;          /* from Retry-After, or 0 */
    char problem[POST_PROBLEM_SIZE]; /* why not received; never the response's text */
};

struct posted post_event(struct post *post, const char *id, const char *json);

enum { SIGNATURE_SIZE = SECRETS_MAX * 48 + 1 };

/* The header's value: one signature for each secret, separated by spaces.  `seconds`
 * is the Unix time. */
void sign(const struct endpoint *endpoint, const char *id, long long seconds,
          const char *body, char out[SIGNATURE_SIZE]);
