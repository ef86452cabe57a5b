/*
 * cors.h - which other sites' pages may read our answers
 * (https://fetch.spec.whatwg.org/).
 *
 * An exact list of origins; empty, the default, means none and no field is ever added.
 * Cookies are never allowed across sites: those pages send a bearer token.
 */
#pragma once

#include <stdbool.h>

#include "base/text.h"
#include "gateway/head.h"

/* Whether every entry of the list, separated by commas, is an origin: scheme, "://",
 * host, port perhaps; no path, no space, no "*". */
bool cors_list_valid(const char *origins);

/* Writes the lines for this request: Vary always once the list is not empty, the rest
 * when its Origin is in the list.  `allow`: the path's methods. */
void cors_write(struct text *text, const char *origins, const struct head *head,
                const char *allow);
