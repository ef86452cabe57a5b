/*
 * process.h - what every service does first and last: no core dumps, orderly signals.
 */
#pragma once

#include <stdint.h>

/*
 * Call first in main, before any thread: files made are private (umask 077), memory is
 * never dumped (it holds keys and passwords), SIGPIPE is ignored, and SIGTERM, SIGINT
 * and SIGHUP wait for process_wait_signal: none of these ends the process by itself.
 */
void process_start(void);

/* Blocks until SIGTERM, SIGINT or SIGHUP; gives which. */
int process_wait_signal(void);

/* For an orderly end that may hang: `ms` milliseconds from now the process ends with
 * EXIT_FAILURE and a line in the log.  What it owes anybody must be durable. */
void process_end_within(int64_t ms);
