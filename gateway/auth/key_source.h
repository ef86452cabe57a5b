/*
 * key_source.h - keeps the keys that verify tokens up to date with their file or URL.
 *
 *      read --> changed? --> has a usable key? --> the verifier's; remembered tokens are
 *                               |                  forgotten
 *                               '--> no: one warning, and the last good set stays in use
 *
 * So an issuer can change keys while the gateway runs, and an outage of the issuer has no
 * immediate effect.  But a key withdrawn during the outage stays trusted, so an alarm is
 * raised when no read has succeeded for stale_ms.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct jwt;
struct key_source;
struct metrics;

struct key_source_config {
    const char *file, *url; /* one of them; the other is "" */
    int64_t every_ms;       /* between two reads */
    int64_t stale_ms;       /* alarm when no read succeeded for so long; above every_ms */
    struct metrics *metrics; /* for jwks_age_ms; NULL: none */
};

/* Reads the keys, or fails; then reads them again every every_ms in its own thread.
 * `jwt` is borrowed; the texts are copied.  INVALID_ARGUMENT names the setting, or what
 * is wrong with the keys. */
struct err key_source_open(const struct key_source_config *config, struct jwt *jwt,
                           struct key_source **out) __attribute__((warn_unused_result));

/* Whether no read has succeeded for stale_ms.  Any thread; NULL: false. */
bool key_source_stale(const struct key_source *source);

/* Reads soon, and logs a failure even if it was logged before.  Any thread; does not
 * wait. NULL is allowed. */
void key_source_look(struct key_source *source);

/* NULL is allowed. */
void key_source_close(struct key_source *source);
