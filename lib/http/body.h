/*
 * body.h - finds a request's body in the bytes received, and its end.
 *
 *      Content-Length:   DATA ................................................. END
 *      chunked:          SIZE [EXTENSION] -> DATA -> CRLF -> SIZE ... 0 -> TRAILER -> END
 *
 * Works byte by byte, so the result does not depend on how the bytes were split.  Chunk
 * extensions and trailer fields are checked against their grammar (RFC 9112, 7.1) and
 * discarded; both are bounded, since the limit on bodies does not count them.
 */
#pragma once

#include <stdint.h>

#include "http/parse.h"

enum {
    HTTP_EXTENSIONS_MAX = 4096, /* bytes of all chunk extensions of one body */
    HTTP_TRAILER_MAX = 8192,    /* bytes of the trailer section */
};

struct http_body {
    unsigned state;                       /* private to body.c */
    int64_t left;                         /* bytes of data before the next framing */
    unsigned digits, extensions, trailer; /* bytes seen of each */
};

/* The body behind that head; empty for one with neither length nor chunks. */
struct http_body http_body_start(const struct http_head *head);

/*
 * Consumes *used of the `size` bytes and returns at most one piece of data, *data
 * (borrowed; may be empty).
 *
 * HTTP_OK: the body is complete and ends at *used.  HTTP_MORE: call again with the bytes
 * behind *used, or with more.  Any other reason is final.
 */
enum http_reason http_body_take(struct http_body *body, const char *bytes, size_t size,
                                size_t *used, struct http_text *data);
