/*
 * reaper.h - gives back the stock of reservations whose time ran out.
 *
 *   every so often: find expired --> expire them through the writer, up to 256 at once
 *
 * Any number of replicas may reap at once: expiring is conditional on the state.
 */
#pragma once

/* One round; `db` is a struct db.  A worker's chore: it blocks, at most 20 seconds. */
void reap_expired(void *db);
