/* endpoint.c - see endpoint.h. */
#include "rpc/client/endpoint.h"

#include <assert.h>
#include <nng/protocol/reqrep0/req.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "rpc/client/lane.h"
#include "rpc/nng_defects/nng_defects.h"
#include "rpc/wire/envelope.h"

enum {
    REDIAL_LEAST_MS = 10,
    REDIAL_MOST_MS = 500,
    GIVEN_UP_MS = 3 * REDIAL_MOST_MS, /* without a connection: the dialer does not try */
    REST_LEAST_MS = 50,
    REST_DOUBLINGS = 6, /* 3.2 s at most */
};

/* A connection counts from before nng uses it: were it later, an answer could come over it
 * first, and the next call would take a hung address for the only one there is. */
static void on_pipe(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    struct endpoint *endpoint = arg;
    unsigned id = (unsigned)nng_pipe_id(pipe), stands = id;

    if (event == NNG_PIPE_EV_ADD_PRE) {
        lane_connected(endpoint->lane, id);
        atomic_store(&endpoint->connected, id);
        return;
    }
    atomic_store(&endpoint->alone_since_ms, clock_monotonic_ms());
    atomic_compare_exchange_strong(&endpoint->connected, &stands, 0);
    lane_disconnected(endpoint->lane, id);
    connection_ended();
}

/* nng's own resending is off: a repeated frame would be refused as a replay. */
static int prepare(struct endpoint *endpoint)
{
    nng_socket socket = endpoint->socket;
    int rv = nng_socket_set_ms(socket, NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE);

    if (rv == 0)
        rv = nng_socket_set_size(socket, NNG_OPT_RECVMAXSZ, ENVELOPE_RECEIVE_MAX);
    if (rv == 0)
        rv = nng_socket_set_ms(socket, NNG_OPT_RECONNMINT, REDIAL_LEAST_MS);
    if (rv == 0)
        rv = nng_socket_set_ms(socket, NNG_OPT_RECONNMAXT, REDIAL_MOST_MS);
    if (rv == 0)
        rv = nng_pipe_notify(socket, NNG_PIPE_EV_ADD_PRE, on_pipe, endpoint);
    if (rv == 0)
        rv = nng_pipe_notify(socket, NNG_PIPE_EV_REM_POST, on_pipe, endpoint);
    return rv;
}

static int dial(struct endpoint *endpoint)
{
    endpoint->dialled_ms = clock_monotonic_ms();
    return tls_dial(endpoint->socket, endpoint->url, endpoint->tls, &endpoint->dialer);
}

struct err endpoint_open(struct endpoint *endpoint, const char *url,
                         const struct tls_files *tls, struct channel *channel)
{
    atomic_init(&endpoint->connected, 0);
    atomic_init(&endpoint->alone_since_ms, clock_monotonic_ms());
    if (strlen(url) >= ENDPOINT_URL_MAX)
        return err_make(ERR_INVALID_ARGUMENT, "an address is at most %d bytes",
                        ENDPOINT_URL_MAX - 1);
    memcpy(endpoint->url, url, strlen(url) + 1);
    struct err e = lane_open(channel, endpoint, &endpoint->lane);
    if (!failed(e))
        e = tls_config(tls, TLS_CALL, url, &endpoint->tls);
    if (failed(e))
        return e;
    int rv = nng_req0_open(&endpoint->socket);
    endpoint->open = rv == 0;
    if (rv == 0)
        rv = prepare(endpoint);
    if (rv != 0)
        return err_make(ERR_UNAVAILABLE, "no socket for %s: %s", url, nng_strerror(rv));
    rv = dial(endpoint);
    if (rv != 0)
        return err_make(ERR_INVALID_ARGUMENT, "'%s' cannot be dialled: %s", url,
                        nng_strerror(rv));
    return ERR_NONE;
}

bool endpoint_may_answer(const struct endpoint *endpoint)
{
    return atomic_load(&endpoint->connected) > 0 ||
           atomic_load(&endpoint->alone_since_ms) > clock_monotonic_ms() - GIVEN_UP_MS;
}

/* One that was not given up is cut off while it waits to try again: nobody is there. */
void endpoint_keep_dialling(struct endpoint *endpoint)
{
    int64_t before = clock_monotonic_ms() - GIVEN_UP_MS;

    if (atomic_load(&endpoint->connected) > 0 || endpoint->dialled_ms > before ||
        atomic_load(&endpoint->alone_since_ms) > before)
        return;
    nng_dialer_close(endpoint->dialer);
    if (dial(endpoint) != 0)
        log_warn("not_dialled", "url=%s",
                 endpoint->url); /* no memory; at the next call */
}

void endpoint_close(struct endpoint *endpoint)
{
    if (endpoint->open)
        nng_close(endpoint->socket);
    if (endpoint->tls != NULL)
        nng_tls_config_free(endpoint->tls);
    if (endpoint->past_tls != NULL)
        nng_tls_config_free(endpoint->past_tls);
    lane_close(endpoint->lane);
}

/* A dialer that dials takes another configuration, as a listener does (watchdog.c); one that was
 * closed is made with it when there is a next one. */
void endpoint_set_tls(struct endpoint *endpoint, nng_tls_config *config)
{
    int rv = nng_dialer_set_ptr(endpoint->dialer, NNG_OPT_TLS_CONFIG, config);

    if (rv != 0 && rv != NNG_ENOENT)
        log_error("certificate_not_used", "url=%s error=%s", endpoint->url,
                  nng_strerror(rv));
    if (endpoint->past_tls != NULL)
        nng_tls_config_free(endpoint->past_tls);
    endpoint->past_tls = endpoint->tls;
    endpoint->tls = config;
}

void endpoint_enter(struct endpoint *endpoint)
{
    endpoint->outstanding++;
    endpoint->probing = endpoint->failures > 0;
}

void endpoint_leave(struct endpoint *endpoint)
{
    assert(endpoint->outstanding > 0);
    endpoint->outstanding--;
}

/* Calls that fail together say one thing, not many: while it rests nothing is added. */
static void rest(struct endpoint *endpoint)
{
    int64_t now = clock_monotonic_ms();

    if (now < endpoint->rest_until_ms)
        return;
    endpoint->rest_until_ms = now + ((int64_t)REST_LEAST_MS << endpoint->failures);
    if (endpoint->failures < REST_DOUBLINGS)
        endpoint->failures++;
}

void endpoint_report(struct endpoint *endpoint, enum endpoint_report report)
{
    endpoint->probing = false;
    if (report == ENDPOINT_FAILED) {
        rest(endpoint);
    } else if (report == ENDPOINT_WELL) {
        endpoint->failures = 0;
        endpoint->rest_until_ms = 0;
    }
}

bool endpoint_rests(const struct endpoint *endpoint, int64_t now_ms)
{
    return endpoint->probing || now_ms < endpoint->rest_until_ms;
}

/* Lower is better. */
static unsigned rank(const struct endpoint *endpoint, int64_t now)
{
    return (atomic_load(&endpoint->connected) > 0 ? 0U : 2U) +
           (endpoint_rests(endpoint, now) ? 1U : 0U);
}

struct endpoint *endpoint_pick(struct endpoint *endpoints, size_t count, size_t first)
{
    if (count == 1)
        return endpoints;
    int64_t now = clock_monotonic_ms();
    struct endpoint *best = &endpoints[first % count];
    unsigned best_rank = rank(best, now);
    for (size_t i = 1; i < count; i++) {
        struct endpoint *e = &endpoints[(first + i) % count];
        unsigned r = rank(e, now);
        if (r < best_rank || (r == best_rank && e->outstanding < best->outstanding)) {
            best = e;
            best_rank = r;
        }
    }
    return best;
}
