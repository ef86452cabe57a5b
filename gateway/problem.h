/*
 * problem.h - errors as application/problem+json (RFC 9457).
 *
 *     {"type","title","status","code","retryable","detail"[,"skus"]}
 *
 * The body is a pure function of the error, so that a final failure replays byte for
 * byte; the request's id is in a header instead.  What a service says about its own
 * inside is never told: those codes have a sentence of their own here.
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"
#include "gateway/answers.h"

/* The answer for an error, in the arena.  When that is full, a fixed 503. */
struct answer problem_answer(struct arena *arena, struct err error);

/*
 * The error a client may see for one a call came back with.  `changes`: the call was to
 * change something, so a failure of unknown effect becomes outcome_unknown (504); for a
 * read it is plain unavailability.  Our own faults (keys, rights, unpacking) become
 * INTERNAL.
 */
struct err problem_of_call(struct err error, bool changes);

/* Whether an order's failure is kept with its key and replays (proto/orders.proto). */
bool problem_is_final(enum err_code code);
