/*
 * etag.h - the entity tag of a cart, and conditions with tags (RFC 9110, 8.8.3 and 13).
 *
 *      "LINES.PRICES"      LINES    the cart's lines: its version (orders.v1.Cart)
 *                          PRICES   a hash of titles and prices; absent without them
 *
 * Conditions of a change compare LINES only: a new price does not change the cart, and is
 * guarded by expected_total_cents instead.  Conditions of a GET compare the whole tag.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"

/* The tag, in the arena; `prices` may be NULL.  NULL when the arena is full. */
char *etag_write(struct arena *arena, const char *lines, const char *prices)
    __attribute__((warn_unused_result));

/* The LINES of one tag, which may be weak, in the arena.  INVALID_ARGUMENT, naming
 * `where`, when the text is no tag of a cart. */
struct err etag_lines(struct arena *arena, const char *where, const char *tag,
                      const char **out) __attribute__((warn_unused_result));

/* The versions in which If-Match permits a change: the LINES of its tags, or "*". */
struct etag_versions {
    char **items;
    size_t count;
};

/*
 * Reads an If-Match, in the arena.  Weak tags never match (RFC 9110, 13.1.1), nor do tags
 * of another form: each is read as a version that no cart has.  INVALID_ARGUMENT when it
 * is not a list of tags, or has more than CART_VERSIONS_MAX.
 */
struct err etag_if_match(struct arena *arena, const char *field,
                         struct etag_versions *out) __attribute__((warn_unused_result));

/* Whether a field (If-None-Match, or If-Match with `strong`) names the tag, or is "*".
 * INVALID_ARGUMENT when it is no list of tags. */
struct err etag_named(const char *field, const char *tag, bool strong, bool *out)
    __attribute__((warn_unused_result));
