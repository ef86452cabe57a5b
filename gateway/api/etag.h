/*
 * etag.h - the entity tag of a cart, and the conditions that name one.  RFC 9110, 8.8.3, 13.
 *
 *      "LINES.PRICES"      LINES    the cart's lines: its version (orders.v1.Cart)
 *                          PRICES   what else the answer shows of them; absent when nothing
 *
 * A change of the cart is guarded by LINES alone: that a price has changed since is no change
 * of the cart, and is guarded by expected_total_cents.  A copy somebody has is looked at
 * whole.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"

/* The tag, in the arena; `prices` may be NULL.  NULL when the arena is full. */
char *etag_write(struct arena *arena, const char *lines, const char *prices)
    __attribute__((warn_unused_result));

/* The LINES of one tag, which may be weak, in the arena.  INVALID_ARGUMENT, naming `where`,
 * when the text is no tag of a cart. */
struct err etag_lines(struct arena *arena, const char *where, const char *tag,
                      const char **out) __attribute__((warn_unused_result));

/* The versions that an If-Match lets a cart be changed in: the LINES of its tags, or "*". */
struct etag_versions {
    char **items;
    size_t count;
};

/*
 * Of an If-Match, in the arena.  Weak tags never match, by RFC 9110, 13.1.1, nor do those that
 * are not a cart's: each stands as a version that no cart has.  INVALID_ARGUMENT when it is
 * no list of tags, or one of more than CART_VERSIONS_MAX.
 */
struct err etag_if_match(struct arena *arena, const char *field,
                         struct etag_versions *out) __attribute__((warn_unused_result));

/* Whether a field (If-None-Match, or If-Match with `strong`) names the tag, or is "*".
 * INVALID_ARGUMENT when it is no list of tags. */
struct err etag_named(const char *field, const char *tag, bool strong, bool *out)
    __attribute__((warn_unused_result));
