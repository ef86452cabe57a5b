/*
 * gateway.h - what every request handler may use: the environment main builds.
 *
 * The gateway verifies who asks, decodes strictly, forwards to a service and translates
 * the answer.  It knows nothing of stock or cards, keeps no state that matters, and mints
 * no order id: any number of gateways may run side by side.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "rpc/client/channel.h"

struct jwt;
struct answers;
struct buckets;
struct files;
struct key_source;
struct traffic;

struct gateway {
    struct channel *orchestrator;
    struct channel *inventory;
    struct channel *payment;       /* for its health alone; NULL: it is not asked */
    struct jwt *jwt;               /* used by the HTTP thread alone */
    struct key_source *key_source; /* where jwt's keys come from; NULL: they stay */
    struct answers *answers;
    struct buckets *buckets;    /* used by the HTTP thread alone */
    struct files *files;        /* NULL: there is no shop page */
    struct traffic *traffic;    /* what is counted; NULL: nothing */
    const char *session_cookie; /* the name of the cookie that may carry a token */
    const char *cors_origins;   /* see cors.h; "": none */
    int64_t place_timeout_ms;   /* budget of POST /v1/orders */
    int64_t call_timeout_ms;    /* budget of every other call */
    bool access_log;            /* one line a request */
};
