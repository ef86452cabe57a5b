/*
 * parse.h - the bytes of a request's head become a request, or a named reason why not.
 *
 * A pure function over the bytes received so far: it keeps no state, allocates nothing
 * and changes nothing.  It is as strict as RFC 9112 and RFC 9110 allow:
 *
 *   - lines end with CRLF, are never folded and hold no control characters;
 *   - names and methods are tokens; one space stands between the parts of the first line;
 *   - exactly one rule tells where the body ends;
 *   - the target is in origin, absolute or asterisk form (RFC 9112, 3.2), and its
 *     percent-encoding is complete; Host follows RFC 3986, 3.2.2, without userinfo.
 *
 * One thing is taken that no URI may hold: in a query, [ \ ] ^ ` { | and }, which browsers
 * do not encode (WHATWG URL, query percent-encode set).
 *
 * What is refused is refused at the first line that shows it, however the bytes were cut
 * on their way.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "http/reason.h"

enum { HTTP_FIELDS_MAX = 100 };

/* Borrowed bytes, without a NUL. */
struct http_text {
    const char *at;
    size_t size;
};

struct http_field {
    struct http_text name;
    struct http_text value; /* without the blanks around it */
};

/* All texts point into the parsed bytes. */
struct http_head {
    struct http_text method; /* a token; case matters */
    struct http_text target; /* as it came; printable ASCII without '"' */
    struct http_text path;   /* begins with '/'; empty for one of the whole server */
    struct http_text query;  /* behind the '?'; empty when there is none */
    struct http_text host;   /* host and port: the target's own before the Host field's */
    bool asterisk;           /* of the whole server: OPTIONS *, or OPTIONS http://host */
    bool http_1_0;           /* to be answered and closed */
    bool close;              /* HTTP/1.0, or the client asked for it */
    bool expects_continue;   /* waits for 100 before it sends the body */
    bool chunked;            /* the body is */
    int64_t length;          /* of the body by Content-Length; -1: there was none */
    size_t size;             /* bytes of the head: the body begins behind them */
    size_t count;            /* of the fields, in the order in which they came */
    struct http_field fields[HTTP_FIELDS_MAX];
};

/*
 * Parses the head at the beginning of `bytes`.  One empty line before it is skipped.
 *
 * HTTP_OK: *out is filled.  HTTP_MORE: not complete yet; ask again with more bytes, which
 * is only worth it once another LF has come or limits->head bytes are there.  Any other
 * reason is final.  Whatever it returns, method is set if it could be read, and target if
 * the first line was good; else they are empty.
 */
enum http_reason http_parse(const char *bytes, size_t size,
                            const struct http_limits *limits, struct http_head *out);

/* Whether two texts are equal, ASCII letters without case; the second is a C string.  Here,
 * so that the length of a constant is one, too. */
static inline bool http_text_is(struct http_text text, const char *string)
{
    return text.size == strlen(string) && strncasecmp(text.at, string, text.size) == 0;
}

/* Whether the byte may stand in a token (RFC 9110, 5.6.2). */
bool http_token_byte(unsigned char byte);

/* Whether the byte may stand in a field's value: all but control characters other than
 * HTAB (RFC 9110, 5.5). */
bool http_value_byte(unsigned char byte);
