/*
 * post.h - one delivery: an HTTP POST, signed, to the one URL, within its time.
 *
 * No redirect is followed and no proxy of the environment used: what is sent goes where
 * the endpoint's line says.  What is answered does not matter but for its status; 2xx is
 * received.  Its body is cut off when it is large or does not end soon.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "webhook/endpoints.h"

struct post;

/* For one thread; keeps its connection from one delivery to the next.  NULL: no memory.
 * A delivery under way ends soon after *stopping is set. */
struct post *post_new(const struct endpoint *endpoint, int64_t timeout_ms,
                      const atomic_bool *stopping) __attribute__((warn_unused_result));
void post_free(struct post *post); /* NULL is allowed */

enum { POST_PROBLEM_SIZE = 160 };

struct posted {
    bool received;
    bool gone;                       /* answered 410: the receiver wants nothing more */
    int64_t retry_after_ms;          /* asked for by the receiver, or 0 */
    char problem[POST_PROBLEM_SIZE]; /* why not; never what was answered */
};

struct posted post_event(struct post *post, const char *id, const char *json);
