/* bus_local.c - see bus_local.h. */
#include "orchestrator/events/bus/bus_local.h"

#include <inttypes.h>
#include <nng/nng.h>
#include <nng/protocol/pubsub0/pub.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "rpc/nng_defects/nng_defects.h"

enum {
    SEND_BUFFER = 1024, /* messages buffered for each slow listener */
    TOPIC_ROOM = 96,
    SEND_WAIT_MS = 1000, /* wait for a probe to end; then the event is dropped */
};

struct bus_local {
    const char *url;
    nng_socket socket;
    bool open;   /* and listening */
    bool warned; /* a failure to listen was logged */
    atomic_int listeners;
    struct watch *watch;
};

struct err bus_local_open(const char *url, struct bus_local **out)
{
    if (strncmp(url, "ipc://", 6) != 0)
        return err_make(ERR_INVALID_ARGUMENT,
                        "events_url must be ipc://, as what goes over it is not sealed");
    struct bus_local *bus = calloc(1, sizeof *bus);
    if (bus == NULL)
        return err_memory();
    bus->url = url;
    *out = bus;
    return ERR_NONE;
}

void bus_local_unlisten(struct bus_local *bus)
{
    watch_stop(bus->watch);
    if (bus->open)
        close_in_time(bus->socket);
    watch_free(bus->watch);
    bus->watch = NULL;
    bus->open = false;
}

static void on_listener(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    struct bus_local *bus = arg;

    (void)pipe;
    atomic_fetch_add(&bus->listeners, event == NNG_PIPE_EV_ADD_PRE ? 1 : -1);
}

static struct err open_socket(struct bus_local *bus)
{
    int rv = nng_pub0_open(&bus->socket);

    bus->open = rv == 0;
    if (rv == 0)
        rv = nng_socket_set_int(bus->socket, NNG_OPT_SENDBUF, SEND_BUFFER);
    if (rv == 0)
        rv = nng_pipe_notify(bus->socket, NNG_PIPE_EV_ADD_PRE, on_listener, bus);
    if (rv == 0)
        rv = nng_pipe_notify(bus->socket, NNG_PIPE_EV_REM_POST, on_listener, bus);
    if (rv != 0)
        return err_make(ERR_UNAVAILABLE, "the socket of events cannot be made: %s",
                        nng_strerror(rv));
    return watch_start(bus->socket, bus->url, &(struct tls_files){0}, &bus->watch);
}

void bus_local_listen(struct bus_local *bus)
{
    if (bus->open)
        return;
    struct err e = open_socket(bus);
    if (!failed(e))
        log_info("events_listening", "url=%s", bus->url);
    else if (!bus->warned)
        log_warn("events_listen_failed", "url=%s error=%s", bus->url, e.message);
    bus->warned = failed(e);
    if (failed(e))
        bus_local_unlisten(bus);
}

void bus_local_close(struct bus_local *bus)
{
    if (bus == NULL)
        return;
    bus_local_unlisten(bus);
    free(bus);
}

void bus_local_publish(struct bus_local *bus, const struct event *event)
{
    char topic[TOPIC_ROOM];
    int head = snprintf(topic, sizeof topic, "%.60s %" PRId64 "\n", event->type,
                        event->position);
    size_t size = event_json_size(event);
    nng_msg *message;

    if (!bus->open || atomic_load(&bus->listeners) == 0)
        return;
    if (nng_msg_alloc(&message, (size_t)head + size + 1) != 0)
        return;
    char *body = nng_msg_body(message);
    memcpy(body, topic, (size_t)head);
    event_json(event, body + head, size + 1);
    nng_msg_chop(message, 1);
    if (!watch_send_begin(bus->watch, clock_monotonic_ms() + SEND_WAIT_MS)) {
        nng_msg_free(message);
        return;
    }
    if (nng_sendmsg(bus->socket, message, NNG_FLAG_NONBLOCK) != 0)
        nng_msg_free(message);
    watch_send_end(bus->watch);
}
