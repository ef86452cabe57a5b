/*
 * process.h - the start and end of every service: no core dumps, orderly signals, the
 * version.
 */
#pragma once

#include <stdint.h>

/*
 * Call first in main, before any thread: files made are private (umask 077), memory is
 * never dumped (it holds keys and passwords), SIGPIPE is ignored, and SIGTERM, SIGINT
 * and SIGHUP wait for process_wait_signal: none of these ends the process by itself.
 */
void process_start(void);

/* Blocks until SIGTERM, SIGINT or SIGHUP; returns which. */
int process_wait_signal(void);

/* Bounds an orderly shutdown that may hang: `ms` milliseconds from now the process exits
 * with EXIT_FAILURE and a log line.  Everything it acknowledged must be durable by
 * then. */
void process_end_within(int64_t ms);

/* The version of this tree, such as "0.1.0"; its source is project(VERSION) in
 * CMakeLists.txt. */
const char *version_text(void);
