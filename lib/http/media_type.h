/*
 * media_type.h - which bodies are read: JSON in UTF-8, not compressed.
 *
 * Content-Type and Content-Encoding are judged before a byte of the body is looked at, so
 * that what we cannot read is refused as that, and never as bad JSON.
 */
#pragma once

#include "base/err.h"

/* What a 415 for a content coding says in Accept-Encoding (RFC 9110, 15.5.16). */
#define HTTP_ACCEPT_ENCODING "identity"

/*
 * Whether a body of that Content-Type is read as JSON: NULL (none was sent), application/json,
 * or the text/plain that a browser's fetch sends for a string.  Parameters are those of RFC
 * 9110, 5.6.6, and all are ignored but charset, which must be UTF-8 ("utf8" is taken for it,
 * as in the WHATWG's Encoding) and may come once: two values would be two readings.
 * UNSUPPORTED_MEDIA_TYPE says what of it is not taken; also when it is malformed, since a
 * type that cannot be read is none we support.
 */
struct err http_media_type_check(const char *content_type)
    __attribute__((warn_unused_result));

/*
 * Whether a body of that Content-Encoding is read: NULL, empty, or nothing but "identity"
 * (RFC 9110, 8.4).  UNSUPPORTED_MEDIA_TYPE names what is accepted; the answer then says it
 * in Accept-Encoding, too.
 */
struct err http_media_coding_check(const char *content_encoding)
    __attribute__((warn_unused_result));
