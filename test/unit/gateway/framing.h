/*
 * framing.h - where requests begin and end, by the letter of RFC 9112, for a test to
 * compare with.
 *
 * Strict as the strictest proxy would be: what it does not take, nobody may take for a
 * request.  It does not judge anything else.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The part of a request that tells where it ends. */
struct framing {
    const char *target; /* borrowed, `target_size` bytes */
    size_t target_size;
    const char
        *end; /* behind the request; NULL: nothing behind it may be taken for one */
};

static bool framing_token(const char *text, size_t size)
{
    static const char CHARS[] = "!#$%&'*+-.^_`|~0123456789"
                                "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

    for (size_t i = 0; i < size; i++)
        if (text[i] == '\0' || strchr(CHARS, text[i]) == NULL)
            return false;
    return size > 0;
}

static bool framing_plain(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (((unsigned char)text[i] < 0x20 && text[i] != '\t') || text[i] == 0x7f)
            return false;
    return true;
}

/* The next line, which ends with CRLF; NULL when there is none.  *next is behind it. */
static const char *framing_line(const char *at, const char *end, size_t *size,
                                const char **next)
{
    const char *lf = memchr(at, '\n', (size_t)(end - at));

    if (lf == NULL || lf == at || lf[-1] != '\r')
        return NULL;
    *size = (size_t)(lf - 1 - at);
    *next = lf + 1;
    return framing_plain(at, *size) ? at : NULL;
}

/* METHOD SP TARGET SP HTTP/1.x */
static bool framing_start(const char *line, size_t size, struct framing *out,
                          bool *http10)
{
    const char *one = memchr(line, ' ', size), *end = line + size;
    const char *two = one == NULL ? NULL : memchr(one + 1, ' ', (size_t)(end - one - 1));

    if (two == NULL || !framing_token(line, (size_t)(one - line)) || two == one + 1 ||
        end - two != 9 || strncmp(two, " HTTP/1.", 8) != 0 || two[8] < '0' ||
        two[8] > '9')
        return false;
    *http10 = two[8] == '0';
    out->target = one + 1;
    out->target_size = (size_t)(two - one - 1);
    return true;
}

struct framing_fields {
    int lengths, codings;
    long length;
    bool good, chunked;
};

static void framing_field(const char *line, size_t size, struct framing_fields *f)
{
    const char *colon = memchr(line, ':', size);
    size_t name = colon == NULL ? 0 : (size_t)(colon - line);
    char value[32] = "";

    if (!framing_token(line, name)) {
        f->good = false;
        return;
    }
    const char *at = colon + 1, *end = line + size;
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    while (end > at && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    size_t length = (size_t)(end - at);
    if (length < sizeof value)
        memcpy(value, at, length);
    if (name == 14 && strncasecmp(line, "Content-Length", name) == 0) {
        f->lengths++;
        f->length = strtol(value, NULL, 10);
        f->good =
            f->good && length > 0 && length < 10 && strspn(value, "0123456789") == length;
    }
    if (name == 17 && strncasecmp(line, "Transfer-Encoding", name) == 0) {
        f->codings++;
        f->chunked = strcasecmp(value, "chunked") == 0;
    }
}

/* Behind a chunked body, or NULL when it is not one to the letter.  Extensions and trailer
 * fields are not looked into: any line without control characters passes. */
static const char *framing_chunks(const char *at, const char *end)
{
    const char *line;
    size_t length;

    while ((line = framing_line(at, end, &length, &at)) != NULL) {
        size_t digits = 0;
        unsigned long size = 0;
        for (;
             digits < length && strchr("0123456789abcdefABCDEF", line[digits]) != NULL &&
             line[digits] != '\0';
             digits++)
            ;
        if (digits == 0 || digits > 8)
            return NULL;
        size = strtoul(line, NULL, 16);
        if (size == 0)
            break;
        if ((size_t)(end - at) < size + 2 || at[size] != '\r' || at[size + 1] != '\n')
            return NULL;
        at += size + 2;
    }
    while (line != NULL && (line = framing_line(at, end, &length, &at)) != NULL)
        if (length == 0)
            return at;
    return NULL;
}

/*
 * One request of `size` bytes at `at`; false when they do not begin with a whole head of
 * which all may be sure.
 */
static bool framing_read(const char *at, size_t size, struct framing *out)
{
    struct framing_fields f = {.good = true};
    const char *end = at + size;
    size_t length;
    bool http10;

    while (at < end && (*at == '\r' || *at == '\n'))
        at++; /* empty lines before a request are nothing */
    const char *line = framing_line(at, end, &length, &at);
    if (line == NULL || !framing_start(line, length, out, &http10))
        return false;
    while ((line = framing_line(at, end, &length, &at)) != NULL && length > 0)
        framing_field(line, length, &f);
    if (line == NULL || !f.good || f.lengths > 1 || f.codings > 1 ||
        (f.codings > 0 && (f.lengths > 0 || !f.chunked || http10)))
        return false;
    if (f.codings > 0)
        out->end = framing_chunks(at, end);
    else
        out->end = f.length > end - at ? NULL : at + f.length;
    return true;
}
