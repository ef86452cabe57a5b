/*
 * endpoints.h - where webhooks may go: the lines of one file, and nowhere else.
 *
 *      NAME URL SECRET_FILE [TYPE ...]      # starts a comment
 *
 * The secret's file holds one line `whsec_BASE64`, or two while secrets are changed: a
 * message is then signed with both.  Others must not be able to read it.
 *
 * With types the endpoint gets events of those only: order.created, or order.* for all
 * whose type begins with "order.".
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
    ENDPOINTS_MAX = 64,
    ENDPOINT_NAME_SIZE = 33,
    ENDPOINT_URL_SIZE = 1024,
    ENDPOINT_TYPES_MAX = 16,
    ENDPOINT_TYPE_SIZE = 64,
    SECRETS_MAX = 2,
    SECRET_SIZE_MAX = 64, /* bytes, as standardwebhooks.com has it; 24 at least */
};

struct secret {
    uint8_t bytes[SECRET_SIZE_MAX];
    size_t size;
};

struct endpoint {
    char name[ENDPOINT_NAME_SIZE]; /* A-Z a-z 0-9 _ -; also of its cursor and files */
    char url[ENDPOINT_URL_SIZE];
    struct secret secrets[SECRETS_MAX];
    size_t secret_count;
    char types[ENDPOINT_TYPES_MAX][ENDPOINT_TYPE_SIZE];
    size_t type_count; /* 0: every type */
};

struct endpoints {
    struct endpoint items[ENDPOINTS_MAX];
    size_t count;
};

/*
 * INVALID_ARGUMENT names the file and line.  URLs must be https://; http:// is allowed
 * only to a loopback host, or with allow_http.
 */
struct err endpoints_read(const char *path, bool allow_http, struct endpoints *out)
    __attribute__((warn_unused_result));

/* Whether it gets events of that type. */
bool endpoint_wants(const struct endpoint *endpoint, const char *type);

/* The length of the URL's scheme, host and port, which may be logged.  The path and query
 * that follow are often a secret of the receiver. */
size_t endpoint_origin(const char *url);
