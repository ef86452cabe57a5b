/* answer.c - see answer.h. */
#include "http/answer.h"

#include <string.h>

#include "base/text.h"

enum {
    LINES_MAX = 192,    /* bytes of all lines except the answer's own fields */
    BODY_INLINE = 2048, /* up to this a body is copied: sending one buffer is cheaper */
};

/* clang-format off */
/* RFC 9110, 15, and RFC 6585; the phrase may be empty (RFC 9112, 4). */
static const struct {
    unsigned status;
    const char *phrase;
} PHRASES[] = {
    {200, "OK"}, {201, "Created"}, {202, "Accepted"}, {204, "No Content"},
    {304, "Not Modified"}, {400, "Bad Request"}, {401, "Unauthorized"},
    {402, "Payment Required"}, {403, "Forbidden"}, {404, "Not Found"},
    {405, "Method Not Allowed"}, {408, "Request Timeout"}, {409, "Conflict"},
    {412, "Precondition Failed"}, {413, "Content Too Large"}, {414, "URI Too Long"},
    {415, "Unsupported Media Type"}, {417, "Expectation Failed"},
    {422, "Unprocessable Content"}, {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"}, {500, "Internal Server Error"},
    {501, "Not Implemented"}, {503, "Service Unavailable"}, {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
};
/* clang-format on */

static const char *phrase(unsigned status)
{
    for (size_t i = 0; i < sizeof PHRASES / sizeof PHRASES[0]; i++)
        if (PHRASES[i].status == status)
            return PHRASES[i].phrase;
    return "";
}

static char *append(char *at, const char *bytes, size_t size)
{
    if (size > 0) /* bytes may be NULL */
        memcpy(at, bytes, size);
    return at + size;
}

static char *append_text(char *at, const char *text)
{
    return append(at, text, strlen(text));
}

static char *append_number(char *at, size_t number)
{
    char digits[DECIMAL_SIZE];
    size_t first = decimal_write((int64_t)number, digits);

    return append(at, digits + first, sizeof digits - first);
}

static char *append_lines(char *at, const struct http_answer *a,
                          const struct http_sending *sending, bool has_length)
{
    at = append_text(at, "HTTP/1.1 ");
    at = append_number(at, a->status);
    at = append_text(at, " ");
    at = append_text(at, phrase(a->status));
    at = append_text(at, "\r\n");
    at = append(at, sending->date, HTTP_DATE_LINE);
    at = append(at, a->fields.at, a->fields.size);
    if (has_length) {
        at = append_text(at, "Content-Length: ");
        at = append_number(at, a->body.size);
        at = append_text(at, "\r\n");
    }
    return append_text(at, sending->close ? "Connection: close\r\n\r\n" : "\r\n");
}

static bool is_short(const struct http_answer *a)
{
    return a->body.size <= BODY_INLINE;
}

char *http_answer_room(struct arena *arena, const struct http_answer *a)
{
    return arena_alloc(arena,
                       LINES_MAX + a->fields.size + (is_short(a) ? a->body.size : 0));
}

struct http_wire http_answer_write(char *room, const struct http_answer *a,
                                   const struct http_sending *sending)
{
    const bool bodiless = a->status == 204 || a->status == 304;
    const bool has_body = !bodiless && !sending->head_only && a->body.size > 0;
    const bool copied = has_body && is_short(a);
    struct http_wire wire = {
        .head = room,
        .body = has_body && !copied ? a->body : (struct http_text){"", 0},
    };

    char *at = append_lines(wire.head, a, sending, !bodiless);
    if (copied)
        at = append(at, a->body.at, a->body.size);
    wire.size = (size_t)(at - wire.head);
    return wire;
}
