/*
 * fetch.h - one small document from a URL, by libcurl.
 *
 * https only, with the system's certificates; plain http from this machine itself, where
 * nobody else can answer.  No redirects, a deadline, a bound on the bytes.
 */
#pragma once

#include <stddef.h>

#include "base/err.h"

/* Once a process, before any thread; fetch_stop at its end. */
struct err fetch_start(void) __attribute__((warn_unused_result));
void fetch_stop(void);

/* INVALID_ARGUMENT unless the URL may be fetched at all. */
struct err fetch_check(const char *url) __attribute__((warn_unused_result));

/* Blocks until the document is there, at most `timeout_ms`.  *bytes is the caller's to
 * free, NULL when failed.  UNAVAILABLE says why. */
struct err fetch(const char *url, int timeout_ms, size_t most, char **bytes, size_t *size)
    __attribute__((warn_unused_result));
