/*
 * recovery.h - renews our leases, and takes over checkouts whose lease has run out.
 *
 *   every so often: renew ours --> unfinished and past lease --> ours, epoch + 1 --> saga
 *
 * Running the steps again is safe: each participant repeats its answer.  Any number
 * of processes may recover at once; each row is taken by one (FOR UPDATE SKIP LOCKED), and
 * none takes more than it has room to run.
 */
#pragma once

#include <stdint.h>

/* One round, until nothing is left to take over; `sagas` is a struct sagas.  For a worker:
 * returns 0, or how long to rest when nothing runs here (base/program/worker.h). */
int64_t recovery_run(void *sagas);
