/*
 * process.h - what every service does first and last: no core dumps, orderly signals.
 */
#pragma once

#include <stdint.h>

/*
 * Call first in main, before any thread: files made are private (umask 077), memory is
 * never dumped (it holds keys and passwords), SIGPIPE is ignored, and SIGTERM and SIGINT
 * wait for process_wait_stop.
 */
void process_start(void);

/* Blocks until SIGTERM or SIGINT; gives which. */
int process_wait_stop(void);

/* For an orderly end that may hang: `ms` milliseconds from now the process ends with
 * EXIT_FAILURE and a line in the log.  What it owes anybody must be durable. */
void process_end_within(int64_t ms);
