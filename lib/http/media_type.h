/*
 * media_type.h - which bodies are accepted: JSON in UTF-8, not compressed.
 *
 * Content-Type and Content-Encoding are checked before the body, so an unsupported body
 * is refused as such, and never as bad JSON.
 */
#pragma once

#include "base/err.h"

/* Accept-Encoding of a 415 for a content coding (RFC 9110, 15.5.16). */
#define HTTP_ACCEPT_ENCODING "identity"

/*
 * Accepts NULL (none was sent), application/json, and the text/plain that a browser's
 * fetch sends for a string.  Parameters follow RFC 9110, 5.6.6; all are ignored except
 * charset, which must be UTF-8 ("utf8" too, as in WHATWG Encoding) and may occur once.
 * UNSUPPORTED_MEDIA_TYPE names what is not accepted, also when the type is malformed.
 */
struct err http_media_type_check(const char *content_type)
    __attribute__((warn_unused_result));

/*
 * Accepts NULL, empty, or only "identity" (RFC 9110, 8.4).  UNSUPPORTED_MEDIA_TYPE names
 * what is accepted; the answer then also sends HTTP_ACCEPT_ENCODING.
 */
struct err http_media_coding_check(const char *content_encoding)
    __attribute__((warn_unused_result));
