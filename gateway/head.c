/* head.c - see head.h. */
#include "gateway/head.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

/* The fields we read; each may come once. */
static const struct {
    const char *name;
    size_t offset;
} FIELDS[] = {
    {"Host", offsetof(struct head, host)},
    {"Content-Length", offsetof(struct head, content_length)},
    {"Transfer-Encoding", offsetof(struct head, transfer_encoding)},
    {"Authorization", offsetof(struct head, authorization)},
    {"Content-Type", offsetof(struct head, content_type)},
    {"Content-Encoding", offsetof(struct head, content_encoding)},
    {"Idempotency-Key", offsetof(struct head, idempotency_key)},
    {"If-None-Match", offsetof(struct head, if_none_match)},
    {"Expect", offsetof(struct head, expect)},
    {"Cookie", offsetof(struct head, cookie)},
    {"Origin", offsetof(struct head, origin)},
    {"Sec-Fetch-Site", offsetof(struct head, fetch_site)},
    {"Access-Control-Request-Method", offsetof(struct head, wanted_method)},
};

/* By hand, as each name of each request is looked at: strspn() fills a table for so many
 * characters each time. */
static bool token_character(char c)
{
    char lower = (char)(c | 0x20);

    return (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           (c != '\0' && strchr("!#$%&'*+.^_`|~", c) != NULL);
}

/* Whether text is a token of RFC 9110, 5.6.2. */
static bool token(const char *text)
{
    const char *end = text;

    while (token_character(*end))
        end++;
    return end > text && *end == '\0';
}

/* The first letter tells most names apart, without a call. */
static bool same_name(const char *a, const char *b)
{
    return ((a[0] ^ b[0]) & ~0x20) == 0 && strcasecmp(a, b) == 0;
}

static bool no_control(const char *text)
{
    for (; *text != '\0'; text++)
        if (((unsigned char)*text < 0x20 && *text != '\t') || *text == 0x7f)
            return false;
    return true;
}

void head_add(struct head *head, const char *name, const char *value)
{
    if (value == NULL)
        value = "";
    if (!token(name) || !no_control(value))
        head->malformed = true;
    if (same_name(name, "traceparent"))
        trace_add_parent(&head->trace, value);
    if (same_name(name, "tracestate"))
        trace_add_state(&head->trace, value);
    for (size_t i = 0; i < sizeof FIELDS / sizeof FIELDS[0]; i++) {
        if (!same_name(name, FIELDS[i].name))
            continue;
        const char **field = (const char **)(void *)((char *)head + FIELDS[i].offset);
        if (*field != NULL)
            head->twice = FIELDS[i].name;
        *field = value;
        return;
    }
}

/* Digits only, so no sign, space, hex or list; short enough for an int64_t. */
static bool read_length(const char *text, int64_t *out)
{
    size_t digits = strspn(text, "0123456789");

    *out = 0;
    if (digits == 0 || digits > 18 || text[digits] != '\0')
        return false;
    for (; *text != '\0'; text++)
        *out = *out * 10 + (*text - '0');
    return true;
}

struct err head_check(struct head *head, const char *method, const char *version)
{
    bool http11 = strcmp(version, "HTTP/1.0") != 0;

    head->length = -1;
    if (head->malformed || !token(method))
        return err_make(ERR_INVALID_ARGUMENT,
                        "The method or a header field is malformed.");
    if (head->twice != NULL)
        return err_make(ERR_INVALID_ARGUMENT, "The header %s came twice.", head->twice);
    if (http11 && head->host == NULL)
        return err_make(ERR_INVALID_ARGUMENT, "The Host header is missing.");
    if (head->content_length != NULL && !read_length(head->content_length, &head->length))
        return err_make(ERR_INVALID_ARGUMENT, "Content-Length is not a plain number.");
    if (head->transfer_encoding != NULL) {
        if (head->content_length != NULL || !http11)
            return err_make(
                ERR_INVALID_ARGUMENT,
                "Transfer-Encoding cannot stand with Content-Length or in HTTP/1.0.");
        if (strcasecmp(head->transfer_encoding, "chunked") != 0)
            return err_make(ERR_UNIMPLEMENTED,
                            "The only Transfer-Encoding known is chunked.");
    }
    bool bare = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
    if (bare && (head->length > 0 || head->transfer_encoding != NULL))
        return err_make(ERR_INVALID_ARGUMENT, "A %s request cannot have a body.", method);
    return ERR_NONE;
}
