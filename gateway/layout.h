/*
 * layout.h - whether a request's head lay on the wire the one way it may.
 *
 * libmicrohttpd takes lines that end with a bare LF, folded lines, NULs, and any number
 * of spaces in the request line, and does not tell.  But the names and values it hands
 * out point into the bytes as they came, each line end overwritten with NULs.  So in a
 * head of
 *
 *      METHOD SP TARGET SP VERSION CRLF  *( NAME ":" blanks VALUE CRLF )  CRLF
 *
 * every part begins exactly where the one before ends.  Whatever else was sent leaves a
 * gap, and is refused; so is everything, should a later libmicrohttpd keep copies.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct layout {
    const char *start;
    const char *at; /* where the next part must begin */
    bool broken;
};

/* The request line; `target_size` is the length of the raw target, which is unescaped in
 * place later.  All pointers here and below are libmicrohttpd's own, not copies. */
struct layout layout_start(const char *method, const char *target, size_t target_size,
                           const char *version);

/* The next field, in the order of the wire. */
void layout_field(struct layout *layout, const char *name, const char *value);

/* After the last field: whether nothing but the empty line is left of a head of that many
 * bytes. */
bool layout_good(const struct layout *layout, size_t head_size)
    __attribute__((warn_unused_result));
