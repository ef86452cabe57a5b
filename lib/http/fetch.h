/*
 * fetch.h - fetches one small document from a URL, with libcurl.
 *
 * https only, with the system's certificates; plain http only from this machine.  No
 * redirects; a deadline and a size limit.
 */
#pragma once

#include <stddef.h>

#include "base/err.h"

/* Once per process, before any thread; fetch_stop at its end. */
struct err fetch_start(void) __attribute__((warn_unused_result));
void fetch_stop(void);

/* INVALID_ARGUMENT unless the URL may be fetched. */
struct err fetch_check(const char *url) __attribute__((warn_unused_result));

/* Blocks until the document is there, at most `timeout_ms`.  *bytes is the caller's to
 * free, NULL when failed.  UNAVAILABLE says why. */
struct err fetch(const char *url, int timeout_ms, size_t most, char **bytes, size_t *size)
    __attribute__((warn_unused_result));
