/*
 * resolve.h - the addresses of a host name, looked up on a thread of its own.
 *
 * getaddrinfo knows no deadline: with a name server that is silent it takes ten seconds and
 * more.  So nobody with a deadline calls it; a look-up is waited for as long as there is
 * time, and goes on by itself when that is up.  What it found can then be fetched later.
 *
 * Each look-up is a thread.  Who asks for one name again while a look-up of it runs must go on
 * with that one, so that a name server that is down collects no threads.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    RESOLVE_MOST = 8,  /* addresses of one name; those after them are left out */
    ADDRESS_SIZE = 64, /* of an IPv6 address with its scope */
};

struct addresses {
    size_t count;
    char text[RESOLVE_MOST][ADDRESS_SIZE]; /* numeric; in the order of RFC 6724 */
    const char *problem; /* why there are none, in the resolver's words; or NULL */
};

struct lookup;

/* The name as the one address it is, if it is numeric.  Never waits. */
bool resolve_numeric(const char *name, struct addresses *out);

/* Starts to look a name up; it is copied.  NULL: no memory, or no thread. */
struct lookup *lookup_start(const char *name) __attribute__((warn_unused_result));

const char *lookup_name(const struct lookup *lookup);

/* Waits at most until then, on the monotonic clock; true when `out` has the answer, which may
 * be a problem.  False: ask again later, or drop it. */
bool lookup_wait(struct lookup *lookup, int64_t until_ms, struct addresses *out)
    __attribute__((warn_unused_result));

/* Whether or not it is done.  NULL is allowed. */
void lookup_drop(struct lookup *lookup);
