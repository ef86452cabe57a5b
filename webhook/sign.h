/*
 * sign.h - the signature of https://www.standardwebhooks.com, version v1.
 *
 *      webhook-signature: v1,BASE64(HMAC-SHA256(secret, "ID.TIMESTAMP.BODY")) [v1,...]
 */
#pragma once

#include <stddef.h>

#include "webhook/endpoints.h"

enum { SIGNATURE_SIZE = SECRETS_MAX * 48 + 1 };

/* One signature a secret, separated by blanks; `seconds` is the Unix time. */
void sign(const struct endpoint *endpoint, const char *id, long long seconds,
          const char *body, char out[SIGNATURE_SIZE]);
