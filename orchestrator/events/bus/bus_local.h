/*
 * bus_local.h - the local bus: an nng PUB socket that sends events to connected
 * listeners.
 *
 * A message is the topic, a blank, the position, a line feed, and the CloudEvent:
 *
 *      order.created 17\n{"specversion":"1.0",...}
 *
 * so that a SUB socket can subscribe to "order." or "order.created ".  Sending never
 * blocks: a listener that is slow or disconnected misses messages, sees a gap in the
 * positions, and reads the missing events with events.v1.Events/Read.  Messages are not
 * sealed, so only ipc:// is allowed, where the mode of the socket's file decides who may
 * listen.
 *
 * Replicas on one machine share the address: only the one that relays listens on it.
 */
#pragma once

#include "base/err.h"
#include "orchestrator/events/bus/event.h"

struct bus_local;

/* Does not listen yet.  INVALID_ARGUMENT for anything but ipc://; `url` is borrowed. */
struct err bus_local_open(const char *url, struct bus_local **out)
    __attribute__((warn_unused_result));
void bus_local_close(struct bus_local *bus); /* NULL is allowed */

/* Listens, unless it already does.  If the address is in use, call it again later. */
void bus_local_listen(struct bus_local *bus);

/* Stops listening: another replica may. */
void bus_local_unlisten(struct bus_local *bus);

/* Sends to the listeners; drops the event when memory is short. */
void bus_local_publish(struct bus_local *bus, const struct event *event);
