/*
 * recover.h - keeps our leases, and takes over checkouts whose owner is silent past its own.
 *
 *   every so often: renew ours --> unfinished and past lease --> ours, epoch + 1 --> saga
 *
 * Running the steps again is safe: each participant answers what it answered.  Any number
 * of processes may recover at once; each row is taken by one (FOR UPDATE SKIP LOCKED), and
 * none takes more than it has room to run.
 */
#pragma once

#include <stdint.h>

/* One round, until nothing is left to take; `sagas` is a struct sagas.  A worker's
 * chore: gives 0, or how long to rest when nothing runs here (base/program/worker.h). */
int64_t recover_checkouts(void *sagas);
