/*
 * key_source.h - keeps the keys that tokens are verified with as their file or URL has
 * them.
 *
 *      read --> changed? --> a set with a usable key? --> the verifier's, which forgets
 *                               |                         its old verdicts
 *                               '--> no: one warning, and the last good set stays
 *
 * So an issuer can change keys while we run, and an issuer that is away changes nothing
 * at once.  But a key that it withdraws meanwhile stays trusted: if the set has not been
 * refreshed (read and found good) for stale_ms, that is an alarm.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct jwt;
struct key_source;
struct metrics;

struct key_source_config {
    const char *file, *url;  /* one of them; the other is "" */
    int64_t every_ms;        /* how often it is looked at */
    int64_t stale_ms;        /* not refreshed for so long is an alarm; above every_ms */
    struct metrics *metrics; /* where jwks_age_ms is told; NULL: nowhere */
};

/* Reads the keys, fails when there are none yet, and then looks again every so often, in
 * a thread of its own.  `jwt` is borrowed; the texts are copied.  INVALID_ARGUMENT names
 * the setting, or what is wrong with the keys. */
struct err key_source_open(const struct key_source_config *config, struct jwt *jwt,
                           struct key_source **out) __attribute__((warn_unused_result));

/* Whether the keys have not been refreshed for stale_ms.  Any thread; NULL: false. */
bool key_source_stale(const struct key_source *source);

/* Looks at once, and tells of a bad set once more.  Any thread; waits for nothing.  NULL is
 * allowed. */
void key_source_look(struct key_source *source);

/* NULL is allowed. */
void key_source_close(struct key_source *source);
