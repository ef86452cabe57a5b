/*
 * look.h - one look at what the servers are doing, and what changed since another.
 *
 * A look reads rpc.v1.Metrics of every server and counts the unfinished checkouts.  The
 * gateway's routes stand beside the methods of the others.  Rates are differences between
 * two looks; a server that began anew in between starts from zero.
 */
#pragma once

#include <stdint.h>

#include "cli/cli.h"

enum { SERVERS_MAX = 8, METHODS_MAX = 48, NAME_SIZE = 80 };

struct method_sample {
    char name[NAME_SIZE];
    int64_t calls, failed, in_flight;
    uint64_t count, sum_us, p50_us, p99_us;
};

struct sample {
    char trouble[sizeof((struct err *)NULL)->message]; /* why there is none; "" */
    int64_t started_at_ms, now_ms;
    int64_t queue, batches, batched, batch_most;
    struct method_sample methods[METHODS_MAX];
    size_t count;
};

/* One look at everything. */
struct look {
    struct sample servers[SERVERS_MAX];
    int64_t unfinished; /* -1: not known */
    int64_t sagas;
};

/* Looks at everything, all servers at once.  The outcome is the first server's that could
 * not be read; what the others said is there all the same.  `before` is the look before, or
 * NULL: who did not answer then is not waited for as long again. */
struct outcome look_take(const struct cli *cli, const struct look *before,
                         struct look *look) __attribute__((warn_unused_result));

struct rate {
    double calls, failed; /* a second */
    double mean_ms;       /* of the calls in between; 0 when there were none */
    int64_t in_flight;
};

/* Of one row of `now`, over the `seconds` since `before`. */
struct rate rate_of(const struct sample *before, const struct sample *now,
                    const struct method_sample *row, double seconds);

/* All methods of a server together; what it answers about itself is left out. */
struct rate rate_of_server(const struct sample *before, const struct sample *now,
                           double seconds);

/* Operations a batch between the looks; 0 when there was no batch. */
double batch_size(const struct sample *before, const struct sample *now);
