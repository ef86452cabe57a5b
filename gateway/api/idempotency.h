/*
 * idempotency.h - the Idempotency-Key of a request.
 *
 * https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/contract/bounds.h"
#include "base/err.h"

/*
 * Reads a field that is one structured-field string (RFC 9651, 4.2.5), without blanks
 * around it, into `out`, which has room for as many bytes as the field.  False when the
 * string is malformed, or anything follows it: a key has no parameters.
 */
bool idempotency_read_string(const char *field, char *out)
    __attribute__((warn_unused_result));

/*
 * The key, from the header (bare, or a quoted structured-field string) or the body field;
 * either may be NULL.  INVALID_ARGUMENT when both are missing, they differ, or the key is
 * not IDEMPOTENCY_KEY_MIN to _MAX visible ASCII characters.  *out lives in the arena.
 */
struct err idempotency_key(struct arena *arena, const char *header,
                           const char *body_field, const char **out)
    __attribute__((warn_unused_result));
