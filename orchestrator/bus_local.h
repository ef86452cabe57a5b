/*
 * bus_local.h - the embedded bus's live side: an nng PUB socket, for whoever listens now.
 *
 * A message is the topic, a blank, the position, a line feed, and the CloudEvent:
 *
 *      order.created 17\n{"specversion":"1.0",...}
 *
 * so that a SUB socket that subscribes to "order." or "order.created " gets what it
 * wants. It never blocks: a listener that is too slow, or not there, misses messages,
 * sees it by the position, and reads them with events.v1.Events/Read.  Messages are not
 * sealed, so only ipc:// is listened on, where the socket's file mode says who may.
 *
 * Replicas on one machine share the address: who relays listens there, and nobody else.
 */
#pragma once

#include "base/err.h"
#include "orchestrator/event.h"

struct bus_local;

/* Does not listen yet.  INVALID_ARGUMENT for anything but ipc://; `url` is borrowed. */
struct err bus_local_open(const char *url, struct bus_local **out)
    __attribute__((warn_unused_result));
void bus_local_close(struct bus_local *bus); /* NULL is allowed */

/* Listens, unless it does; when the address is still another's, it may be tried again. */
void bus_local_listen(struct bus_local *bus);

/* Leaves the address to others. */
void bus_local_leave(struct bus_local *bus);

/* Tells whoever listens.  What there is no memory for is not sent. */
void bus_local_publish(struct bus_local *bus, const struct event *event);
