/*
 * standard.h - the services every server has beside its own: rpc.v1's Health, Reflection,
 * Metrics and Calls (proto/rpc.proto).
 */
#pragma once

#include "proto/rpc.pb-c.h"

#include "base/err.h"
#include "base/metrics.h"
#include "rpc/server/server.h"

struct standard;

struct standard_config {
    struct err (*health)(void *arg); /* as in server.h, and the next */
    size_t (*health_parts)(void *arg, struct rpc_health_part *parts);
    void *health_arg;
    struct metrics *metrics;           /* borrowed */
    ProtobufCService *const *services; /* all that is served; borrowed */
    const size_t *service_count;       /* read when asked: the standard ones come last */
    /* Cancels calls of the caller of `call` that have that id; how many. */
    unsigned (*cancel)(struct rpc_call *call, const char *id);
    const struct principal *(*caller)(const struct rpc_call *call);
};

enum { STANDARD_SERVICES = 4 };

/* NULL when memory is short.  Puts its services where they are to be served from. */
struct standard *standard_new(const struct standard_config *config,
                              ProtobufCService *out[STANDARD_SERVICES]);
void standard_free(struct standard *standard);

/* Whether the method costs so little, and is so needed, that no limit holds for it. */
bool standard_is_free(const char *method);

/* Whether every authorized caller may call the method, whatever its patterns. */
bool standard_is_open(const char *method);
