/*
 * reaper.h - gives back the stock of reservations whose time ran out.
 *
 *   every so often: find expired --> expire them through the writer, up to 256 at once
 *
 * Any number of replicas may reap at once: expiring is conditional on the state.
 */
#pragma once

#include <stdint.h>

/* One round; `db` is a struct db.  A worker's chore: it blocks, at most 20 seconds; gives 0, or
 * how long to rest when nothing had expired (base/program/worker.h).  So a reservation is given back
 * late by no more than its own age, and by ten seconds at most. */
int64_t reap_expired(void *db);
