/*
 * process.h - what every service does first and last: no core dumps, orderly signals.
 */
#pragma once

/*
 * Call first in main, before any thread: files made are private (umask 077), memory is
 * never dumped (it holds keys and passwords), SIGPIPE is ignored, and SIGTERM and SIGINT
 * wait for process_wait_stop.
 */
void process_start(void);

/* Blocks until SIGTERM or SIGINT; gives which. */
int process_wait_stop(void);

/* Ends the process with success so many seconds from now, whatever hangs: for its orderly end,
 * when all it owes anybody is durable. */
void process_end_within(unsigned seconds);
