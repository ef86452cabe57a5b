/* jwt_check.h - whether one token is good: its signature (jws.h), and what it claims. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/contract/ids.h"
#include "base/err.h"
#include "gateway/subject.h"

struct jwks;

/* What a token is held against. */
struct jwt_rules {
    const struct jwks *keys; /* NULL: none yet, so no token is good */
    const char *issuer, *audience;
    const struct subject_rule *subject;
};

struct jwt_claims {
    int64_t from_s, until_s; /* good from, and before; until_s is past 0 */
    char user[UUID_LENGTH + 1];
};

/* UNAUTHENTICATED, with the reason for the log alone, or RESOURCE_EXHAUSTED. */
struct err jwt_check(const char *token, size_t size, const struct jwt_rules *rules,
                     int64_t now_s, struct jwt_claims *out)
    __attribute__((warn_unused_result));
