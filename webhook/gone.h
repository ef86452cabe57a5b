/*
 * gone.h - an endpoint whose receiver has answered 410 Gone: it is sent nothing more.
 *
 *      STATE/NAME.gone       JSON: when, and of which URL (its hash: a URL may be secret)
 *
 * It lasts until the endpoint has another URL, or an operator removes the file (checkoutctl
 * webhooks resume).  https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "webhook/endpoints.h"

/* Whether it is; what there is of another URL is removed.  May be repeated. */
struct err gone_look(const char *folder, const struct endpoint *endpoint, bool *gone)
    __attribute__((warn_unused_result));

/* From now on it is, on the disk.  May be repeated. */
struct err gone_mark(const char *folder, const struct endpoint *endpoint)
    __attribute__((warn_unused_result));
