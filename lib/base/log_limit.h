/*
 * log_limit.h - a message of one kind is logged once a second at most; those between are counted.
 *
 * A kind is an event's name.  What outside events can repeat would fill the disk, and hide what
 * else there is to read.  Used by log_warn and log_error (log.h).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { LOG_LIMIT_MS = 1000 };

/* Counts one of that kind; true when it is to be logged.  *total is then 0, or when some were
 * not logged before it, how many of the kind there were in all.  Any thread; never waits.
 * Past 256 kinds, more are not limited. */
bool log_limit_pass(const char *event, uint64_t *total)
    __attribute__((warn_unused_result));
