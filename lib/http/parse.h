/*
 * parse.h - parses the head of a request, or names the reason to refuse it.
 *
 * A pure function over the bytes received so far, without state or allocations.  It is as
 * strict as RFC 9112 and RFC 9110 allow:
 *
 *   - lines end with CRLF, are never folded and hold no control characters;
 *   - names and methods are tokens; one space separates the parts of the first line;
 *   - exactly one rule determines where the body ends;
 *   - the target is in origin, absolute or asterisk form (RFC 9112, 3.2), and its
 *     percent-encoding is complete; Host follows RFC 3986, 3.2.2, without userinfo.
 *
 * One exception: a query may hold [ \ ] ^ ` { | and }, which no URI may, but browsers do
 * not encode (WHATWG URL, query percent-encode set).
 *
 * A request is refused at the first bad line, however the bytes were split in transit.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

/* Maximal sizes of the parts of one request. */
struct http_limits {
    size_t head;    /* bytes from the method to the empty line, both included */
    size_t target;  /* bytes of the request target */
    size_t fields;  /* header fields, at most HTTP_FIELDS_MAX */
    size_t body;    /* bytes of a body, without chunk framing */
    size_t discard; /* bytes of a refused body that are read before the answer */
};

/*
 * Why a request is refused before it reaches a handler.  A connection ends when it is not
 * certain where the next request begins.
 *
 *    name                 status  ends   sentence; %zu is the limit in the last column
 */
/* clang-format off */
#define HTTP_REASONS(X)                                                                    \
    /* the request line */                                                                 \
    X(REQUEST_LINE,          400, true,                                                    \
      "The request line is not method, target and version with one space between them.",   \
      none)                                                                                \
    X(VERSION,               505, true,                                                    \
      "The protocol version is not supported; send HTTP/1.1.", none)                       \
    X(CONNECT,               501, true,                                                    \
      "CONNECT is not served here; this is not a proxy.", none)                            \
    X(TARGET,                400, true,                                                    \
      "The request target is not a path, an http URI or * (RFC 9112).", none)              \
    X(TARGET_ENCODING,       400, true,                                                    \
      "The request target has a % that two hexadecimal digits do not follow.", none)       \
    X(TARGET_TOO_LONG,       414, true,                                                    \
      "The request target may be at most %zu bytes.", target)                              \
    /* lines and fields */                                                                 \
    X(LINE_END,              400, true,                                                    \
      "A line of the head does not end with CRLF.", none)                                  \
    X(CONTROL,               400, true,                                                    \
      "The head has a control character.", none)                                           \
    X(FOLDED,                400, true,                                                    \
      "A line of the head begins with a blank; folded lines are not accepted.", none)      \
    X(FIELD_NAME,            400, true,                                                    \
      "A header field has no name that is a token, directly followed by a colon.", none)   \
    X(TOO_MANY_FIELDS,       431, true,                                                    \
      "The request may have at most %zu header fields.", fields)                           \
    X(HEAD_TOO_LARGE,        431, true,                                                    \
      "The request line and the header fields may be at most %zu bytes together.", head)   \
    X(INCOMPLETE,            400, true,                                                    \
      "The request ended before it was complete.", none)                                   \
    X(TIMEOUT,               408, true,                                                    \
      "The request was not complete in time.", none)                                       \
    /* the host, and where the request ends */                                            \
    X(HOST_MISSING,          400, true,                                                    \
      "The Host header field is missing.", none)                                           \
    X(HOST_TWICE,            400, true,                                                    \
      "The Host header field came more than once.", none)                                  \
    X(HOST,                  400, true,                                                    \
      "The Host header field is not a host with an optional port (RFC 3986).",             \
      none)                                                                                \
    X(LENGTH,                400, true,                                                    \
      "Content-Length is not one number in decimal digits.", none)                         \
    X(LENGTH_TWICE,          400, true,                                                    \
      "Content-Length came more than once.", none)                                         \
    X(LENGTH_AND_ENCODING,   400, true,                                                    \
      "Content-Length and Transfer-Encoding came together.", none)                         \
    X(ENCODING_TWICE,        400, true,                                                    \
      "Transfer-Encoding came more than once.", none)                                      \
    X(ENCODING_NOT_LAST,     400, true,                                                    \
      "The last transfer coding is not chunked, so the body has no certain end.", none)    \
    X(ENCODING_UNKNOWN,      501, true,                                                    \
      "The only supported transfer coding is chunked, alone.", none)                       \
    X(ENCODING_IN_1_0,       400, true,                                                    \
      "Transfer-Encoding cannot be used with HTTP/1.0.", none)                             \
    X(EXPECTATION,           417, true,                                                    \
      "The only supported expectation is 100-continue.", none)                             \
    /* the body */                                                                         \
    X(CHUNK_SIZE,            400, true,                                                    \
      "A chunk does not begin with its size in at most 15 hexadecimal digits.", none)      \
    X(CHUNK_EXTENSION,       400, true,                                                    \
      "A chunk extension is malformed or too long.", none)                                 \
    X(CHUNK_END,             400, true,                                                    \
      "A chunk's data is not followed by CRLF.", none)                                     \
    X(TRAILER,               400, true,                                                    \
      "The trailer section is malformed or too long.", none)                               \
    X(BODY_TOO_LARGE,        413, false,                                                   \
      "The body may be at most %zu bytes.", body)                                          \
    X(NO_MEMORY,             503, true,                                                    \
      "The server has no memory for the request just now.", none)                          \
    /* the connection */                                                                   \
    X(PLAIN_ON_TLS,          400, true,                                                    \
      "This port speaks TLS; use https.", none)                                            \
    X(TOO_MANY_CONNECTIONS,  429, true,                                                    \
      "Your address has %zu connections open already, as many as it may have.",            \
      connections)
/* clang-format on */

enum http_reason {
    HTTP_OK,   /* complete */
    HTTP_MORE, /* more bytes are needed */
#define X(name, status, ends, sentence, limit) HTTP_##name,
    HTTP_REASONS(X)
#undef X
        HTTP_REASONS_COUNT
};

/* The HTTP status of a refusal. */
unsigned http_reason_status(enum http_reason reason);

/* Whether the connection must end. */
bool http_reason_ends(enum http_reason reason);

/* Writes the sentence with its limit, cut to `size` bytes with the NUL.  per_address:
 * what TOO_MANY_CONNECTIONS names. */
void http_reason_sentence(enum http_reason reason, const struct http_limits *limits,
                          size_t per_address, char *out, size_t size);

/* ---- the head ---- */

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
    struct http_text target; /* as received; printable ASCII without '"' */
    struct http_text path;   /* begins with '/'; empty when `asterisk` */
    struct http_text query;  /* behind the '?'; empty when there is none */
    struct http_text host;   /* host and port, from the target or else from Host */
    bool asterisk;         /* about the whole server: OPTIONS *, or OPTIONS http://host */
    bool http_1_0;         /* answer and close */
    bool close;            /* HTTP/1.0, or Connection: close */
    bool expects_continue; /* the client waits for 100 before it sends the body */
    bool chunked;          /* the body is chunked */
    int64_t length;        /* Content-Length; -1: absent */
    size_t size;           /* bytes of the head; the body follows */
    size_t count;          /* of the fields, in the order received */
    struct http_field fields[HTTP_FIELDS_MAX];
};

/*
 * Parses the head at the beginning of `bytes`.  One empty line before it is skipped.
 *
 * HTTP_OK: *out is filled.  HTTP_MORE: incomplete; call again once another LF or
 * limits->head bytes were received.  Any other reason is final.  In every case method is
 * set if it could be read, and target if the first line was good; else they are empty.
 */
enum http_reason http_parse(const char *bytes, size_t size,
                            const struct http_limits *limits, struct http_head *out);

/* Whether the text equals the C string, ignoring ASCII case.  Inline, so that the length
 * of a constant is a constant. */
static inline bool http_text_is(struct http_text text, const char *string)
{
    return text.size == strlen(string) && strncasecmp(text.at, string, text.size) == 0;
}

/* Whether a token may hold the byte (RFC 9110, 5.6.2). */
bool http_token_byte(unsigned char byte);

/* Whether a field value may hold it: no control character but HTAB (RFC 9110, 5.5). */
bool http_value_byte(unsigned char byte);
