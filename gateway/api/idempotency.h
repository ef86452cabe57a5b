/*
 * idempotency.h - the Idempotency-Key of a request, and the fingerprint of what it asks.
 *
 * https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/bounds.h"
#include "base/err.h"

/*
 * Reads a field that is one structured-field string (RFC 9651, 4.2.5), without the blanks
 * around it, into `out`, which has room for as many bytes as the field.  False when it is not
 * well-formed, or anything follows it: a key has no parameters.
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

/* What POST /v1/orders asks for, decoded. */
struct order_request {
    const char *cart_id;
    const char *payment_method_id;
    const char *idempotency_key; /* of the body, or NULL */
    bool has_expected_total;
    int64_t expected_total_cents;
    const char *expected_currency; /* or NULL */
    const char *expected_cart;     /* LINES of the ETag (etag.h), or NULL */
};

/*
 * The fingerprint (base/fingerprint.h) of user, method, route and the canonical body.  That
 * is the decoded fields in fixed order: spelling, spacing, field order and where the key was
 * given make no difference.
 */
void idempotency_fingerprint(const char *user, const char *method, const char *route,
                             const struct order_request *request,
                             uint8_t out[FINGERPRINT_SIZE]);
