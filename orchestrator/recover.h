/*
 * recover.h - takes over checkouts whose owner is silent past its lease, and runs them on.
 *
 *   every so often: unfinished and past lease --> ours, epoch + 1 --> saga, from the start
 *
 * Running the steps again is safe: each participant answers what it answered.  Any number
 * of processes may recover at once; each row is taken by one (FOR UPDATE SKIP LOCKED).
 */
#pragma once

/* One round, at most 64 checkouts; `sagas` is a struct sagas.  A worker's chore. */
void recover_checkouts(void *sagas);
