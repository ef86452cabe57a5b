/*
 * body.h - where a request's body is in the bytes received, and where it ends.
 *
 *      Content-Length:   DATA ................................................. END
 *      chunked:          SIZE [EXTENSION] -> DATA -> CRLF -> SIZE ... 0 -> TRAILER -> END
 *
 * Works byte by byte on whatever has come, so that it makes no difference how the bytes
 * were cut.  Chunk extensions and trailer fields are checked against their grammar (RFC
 * 9112, 7.1) and dropped; both are bounded, since they cost without being counted as body.
 */
#pragma once

#include <stdint.h>

#include "http/parse.h"

enum {
    HTTP_EXTENSIONS_MAX = 4096, /* bytes of all chunk extensions of one body */
    HTTP_TRAILER_MAX = 8192,    /* bytes of the trailer section */
};

struct http_body {
    unsigned state;                       /* body.c's own */
    int64_t left;                         /* bytes of data before the next framing */
    unsigned digits, extensions, trailer; /* bytes seen of each */
};

/* What follows that head.  A head with neither length nor chunks has no body. */
struct http_body http_body_start(const struct http_head *head);

/*
 * Takes bytes from the front of `bytes`, *used of `size`, and finds at most one piece of
 * data in them, *data (borrowed; may be empty).
 *
 * HTTP_OK: the body is complete, and what is behind *used is not its.  HTTP_MORE: go on
 * with what is behind *used, or with more bytes.  Any other reason is final.
 */
enum http_reason http_body_take(struct http_body *body, const char *bytes, size_t size,
                                size_t *used, struct http_text *data);
