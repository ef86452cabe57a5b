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
    {"Authorization", offsetof(struct head, authorization)},
    {"Content-Type", offsetof(struct head, content_type)},
    {"Idempotency-Key", offsetof(struct head, idempotency_key)},
    {"If-None-Match", offsetof(struct head, if_none_match)},
    {"traceparent", offsetof(struct head, traceparent)},
    {"Cookie", offsetof(struct head, cookie)},
    {"Origin", offsetof(struct head, origin)},
    {"Sec-Fetch-Site", offsetof(struct head, fetch_site)},
    {"Access-Control-Request-Method", offsetof(struct head, wanted_method)},
};

static struct err copy(struct arena *arena, struct http_text text, const char **out)
{
    *out = http_text_copy(arena, text);
    return *out != NULL ? ERR_NONE : err_memory();
}

static struct err read_field(struct head *head, struct arena *arena,
                             const struct http_field *field)
{
    for (size_t i = 0; i < sizeof FIELDS / sizeof FIELDS[0]; i++) {
        if (!http_text_is(field->name, FIELDS[i].name))
            continue;
        const char **value = (const char **)(void *)((char *)head + FIELDS[i].offset);
        if (*value != NULL)
            return err_make(ERR_INVALID_ARGUMENT, "The header %s came twice.",
                            FIELDS[i].name);
        return copy(arena, field->value, value);
    }
    return ERR_NONE;
}

struct err head_read(struct head *head, struct arena *arena, const struct http_head *from)
{
    struct err e = copy(arena, from->host, &head->host);

    for (size_t i = 0; !failed(e) && i < from->count; i++)
        e = read_field(head, arena, &from->fields[i]);
    return e;
}

bool content_type_valid(const char *type)
{
    static const char *const TYPES[] = {"application/json", "text/plain"};

    if (type == NULL)
        return true;
    for (size_t i = 0; i < sizeof TYPES / sizeof TYPES[0]; i++) {
        size_t length = strlen(TYPES[i]);
        if (strncasecmp(type, TYPES[i], length) != 0)
            continue;
        const char *rest = type + length + strspn(type + length, " \t");
        if (*rest == '\0')
            return true;
        rest += *rest == ';' ? 1 + strspn(rest + 1, " \t") : 0;
        return strcasecmp(rest, "charset=utf-8") == 0 ||
               strcasecmp(rest, "charset=\"utf-8\"") == 0;
    }
    return false;
}
