/*
 * recovery.h - renews our leases, and takes over checkouts whose lease has expired.
 *
 *   every so often: renew ours --> unfinished and past lease --> ours, epoch + 1 --> saga
 *
 * Running the steps again is safe: each participant repeats its answer.  Any number of
 * processes may run recovery at once; each row is taken by one (FOR UPDATE SKIP LOCKED),
 * and no process takes more than it has room for.
 */
#pragma once

#include <stdint.h>

/* One round, until nothing is left to take over; `sagas` is a struct sagas.  For a worker:
 * returns 0, or how long to pause when nothing runs here (base/program/worker.h). */
int64_t recovery_run(void *sagas);
