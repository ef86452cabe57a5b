/*
 * subject.h - which user a token is about.
 *
 * A user's id is a UUID.  One claim of the token names the user:
 *
 *      the claim is            with a namespace               without
 *      a canonical UUID        that UUID                      that UUID
 *      the same, version 5     refused                        that UUID
 *      another string          UUIDv5(namespace, its bytes)   refused
 *
 * So with a namespace no two claims are the same user: what is mapped is of version 5,
 * and what is taken as it is never is.  Otherwise a user who may choose a name could
 * choose the UUID that another one's name is mapped to.
 *
 * "Canonical" is lower case with dashes.  Strings are compared byte by byte (RFC 7519,
 * 4.1.2): in other letters, or a UUID in capitals, it is another user.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/contract/ids.h"
#include "base/err.h"

enum { SUBJECT_CLAIM_MAX = 128, UUID_SIZE = 16 };

struct subject_rule {
    char claim[SUBJECT_CLAIM_MAX + 1];
    bool mapped; /* there is a namespace */
    uint8_t namespace[UUID_SIZE];
};

/* `namespace` is a canonical UUID, or "" for none.  INVALID_ARGUMENT names the setting
 * that is wrong. */
struct err subject_rule_make(const char *claim, const char *namespace,
                             struct subject_rule *out)
    __attribute__((warn_unused_result));

/* UNAUTHENTICATED with the reason, for the log alone. */
struct err subject_user(const struct subject_rule *rule, const json_t *claims,
                        char user[UUID_LENGTH + 1]) __attribute__((warn_unused_result));
