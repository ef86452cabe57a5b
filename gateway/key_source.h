/*
 * key_source.h - keeps the keys that tokens are verified with as their file or URL has
 * them.
 *
 *      read --> changed? --> whole and good? --> the verifier's, which forgets old
 * verdicts
 *                               \--> no: one warning, and the last good set stays
 *
 * So an issuer can change keys while we run, and an issuer that is away changes nothing.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"

struct jwt;
struct key_source;

struct key_source_config {
    const char *file, *url; /* one of them; the other is "" */
    int64_t every_ms;       /* how often it is looked at */
};

/* Reads the keys, fails when there are none yet, and then looks again every so often, in
 * a thread of its own.  `jwt` is borrowed; the texts are copied. */
struct err key_source_open(const struct key_source_config *config, struct jwt *jwt,
                           struct key_source **out) __attribute__((warn_unused_result));

/* NULL is allowed. */
void key_source_close(struct key_source *source);
