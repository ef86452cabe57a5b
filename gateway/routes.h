/* routes.h - the table of what the gateway answers to, and finding a row of it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct request;

enum method { METHOD_GET, METHOD_POST, METHOD_PUT, METHOD_OPTIONS, METHOD_OTHER };

struct route {
    enum method method;
    const char *path; /* the last segment may be {id} */
    const char *name;
    bool public; /* needs no token */
    /* Answers, starts a call (request_call), or returns the error to answer. */
    struct err (*handle)(struct request *request);
};

/* The rows, all of them in one array. */
size_t routes_count(void);
const struct route *routes_at(size_t index);

/* All the methods that some path answers to, as Allow has them. */
const char *routes_all_methods(void);

/* "GET" and so on; HEAD is GET, whose body is then left out. */
enum method method_of(const char *name);

/*
 * Finds the row for a method and a raw path (no query, not unescaped).  *id points at the
 * {id} segment in `path`, or is NULL.  NOT_FOUND; or METHOD_NOT_ALLOWED, with the
 * allowed ones in *allow (a static string; also for OPTIONS, which returns ERR_NONE and
 * a NULL row).
 */
struct err routes_find(enum method method, const char *path, const struct route **out,
                       const char **id, const char **allow)
    __attribute__((warn_unused_result));
