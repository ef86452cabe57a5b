/*
 * traffic.h - what the gateway counts of its requests, route by route.
 *
 *   http_server_calls{route,status}   answers, by the class of their status: 2xx to 5xx
 *   http_server_latency_us{route}     from a request's line to its answer's leaving
 *   http_server_in_flight{route}      requests whose handler has begun
 *   http_server_left                  calls cancelled because the connection broke
 *   http_server_dropped               connections closed without a byte: past 64 that wait
 *                                     for their 429 (per_address_max), or without memory
 *
 * Requests that found no route are counted under "none".
 */
#pragma once

#include <stdint.h>

#include "base/metrics.h"

struct route;
struct traffic;

/* Counts in `metrics` (borrowed, must outlive it; NULL: nowhere).  NULL when memory is
 * short, which counts nothing. */
struct traffic *traffic_new(struct metrics *metrics);
void traffic_free(struct traffic *traffic); /* NULL is allowed, here and below */

/* A handler begins; its request, answered or not, is over.  route: NULL for none. */
void traffic_begin(struct traffic *traffic, const struct route *route);
void traffic_end(struct traffic *traffic, const struct route *route);

/* An answer leaves, `us` after its request came. */
void traffic_answered(struct traffic *traffic, const struct route *route, unsigned status,
                      int64_t us);

/* A client left while its call ran. */
void traffic_left(struct traffic *traffic);

/* A client was closed without a byte. */
void traffic_dropped(struct traffic *traffic);
