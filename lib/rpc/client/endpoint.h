/*
 * endpoint.h - one address of a channel: its socket, its lane, how it is doing.
 *
 * A dialer of nng 1.5.2 gives up for good when its peer dies in the middle of a handshake
 * (it takes EPIPE for its own closing), so one that stays without a connection is replaced.
 * And a connection that ends between two writes of one message may never be given back: the
 * next write waits for ever on a closed stream (ipc_send, tcp_send), and every nng_close of
 * the process behind it.
 *
 * All but `connected` and `alone_since_ms` is guarded by the channel's lock.
 */
#pragma once

#include <nng/nng.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "rpc/auth/tls.h"

enum { ENDPOINT_URL_MAX = 256 };

struct channel;
struct lane;

struct endpoint {
    char url[ENDPOINT_URL_MAX];
    nng_socket socket;
    nng_dialer dialer;
    nng_tls_config *tls;      /* NULL: none */
    nng_tls_config *past_tls; /* the one before; nng may be about to read it */
    int64_t dialled_ms;       /* when it was made */
    bool open;
    atomic_uint connected; /* the connection that stands: its pipe's number; 0: none */
    atomic_int_least64_t alone_since_ms; /* when the last one ended */
    struct lane *lane;                   /* what goes through it */
    size_t outstanding;                  /* attempts under way */
    unsigned failures;                   /* in a row */
    int64_t rest_until_ms;               /* not used before, unless all rest */
    bool probing; /* after its rest, one attempt finds out for all how it is */
};

/* How an address did in one attempt. */
enum endpoint_report { ENDPOINT_WELL, ENDPOINT_FAILED, ENDPOINT_NOT_SAID };

/* Starts dialling; INVALID_ARGUMENT when it is no address.  Always endpoint_close it. */
struct err endpoint_open(struct endpoint *endpoint, const char *url,
                         const struct tls_files *tls, struct channel *channel)
    __attribute__((warn_unused_result));
void endpoint_close(struct endpoint *endpoint);

/* The next connection is made with it (taken); the one that stands lives on.  Nothing waits. */
void endpoint_set_tls(struct endpoint *endpoint, nng_tls_config *config);

/* An attempt begins at it; and is over. */
void endpoint_enter(struct endpoint *endpoint);
void endpoint_leave(struct endpoint *endpoint);

/* Whether attempts go elsewhere if they can. */
bool endpoint_rests(const struct endpoint *endpoint, int64_t now_ms);

/* Whether it is connected, or was, or began to be dialled, a moment ago. */
bool endpoint_may_answer(const struct endpoint *endpoint);

/* Dials anew when there has been no connection for longer than a dialer needs that tries. */
void endpoint_keep_dialling(struct endpoint *endpoint);

/*
 * What an attempt's end says of the address.  One that fails is rested, each time in a row
 * for twice as long (50 ms to 3.2 s); then one attempt alone is let through, and only when
 * that goes well the others are.
 */
void endpoint_report(struct endpoint *endpoint, enum endpoint_report report);

/*
 * The best address for the next attempt: one that is connected before one that is not,
 * one that does not rest before one that does, then the least outstanding.  `first` is
 * where to begin, so that equals take turns.
 */
struct endpoint *endpoint_pick(struct endpoint *endpoints, size_t count, size_t first);
