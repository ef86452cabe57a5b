/* head.c - see head.h. */
#include "gateway/head.h"

#include <stddef.h>

/* The fields we read; each may come once, but for lists, whose lines are one list together
 * (RFC 9110, 5.3). */
#define FIELD(name, member)                                                              \
    {                                                                                    \
        name, sizeof name - 1, offsetof(struct head, member), false                      \
    }
#define LIST(name, member)                                                               \
    {                                                                                    \
        name, sizeof name - 1, offsetof(struct head, member), true                       \
    }
static const struct {
    const char *name;
    size_t size; /* of the name: it tells most of them apart */
    size_t offset;
    bool list;
} FIELDS[] = {
    FIELD("Authorization", authorization),
    FIELD("Content-Type", content_type),
    LIST("Content-Encoding", content_encoding),
    FIELD("Content-Range", content_range),
    FIELD("Idempotency-Key", idempotency_key),
    LIST("If-Match", if_match),
    LIST("If-None-Match", if_none_match),
    FIELD("Cookie", cookie),
    FIELD("Origin", origin),
    FIELD("Sec-Fetch-Site", fetch_site),
    FIELD("Access-Control-Request-Method", wanted_method),
};

static struct err copy(struct arena *arena, struct http_text text, const char **out)
{
    *out = http_text_copy(arena, text);
    return *out != NULL ? ERR_NONE : err_memory();
}

/* Whatever comes of a trace is taken, and judged by trace_begin. */
static struct err read_trace(struct head *head, struct arena *arena,
                             const struct http_field *field)
{
    const bool parent = http_text_is(field->name, "traceparent");
    const char *value;

    if (!parent && !http_text_is(field->name, "tracestate"))
        return ERR_NONE;
    struct err e = copy(arena, field->value, &value);
    if (failed(e))
        return e;
    if (parent)
        trace_add_parent(&head->trace, value);
    else
        trace_add_state(&head->trace, value);
    return ERR_NONE;
}

static struct err add_to_list(struct arena *arena, struct http_text text,
                              const char **list)
{
    *list = arena_printf(arena, "%s, %.*s", *list, (int)text.size, text.at);
    return *list != NULL ? ERR_NONE : err_memory();
}

static struct err read_field(struct head *head, struct arena *arena,
                             const struct http_field *field)
{
    for (size_t i = 0; i < sizeof FIELDS / sizeof FIELDS[0]; i++) {
        if (field->name.size != FIELDS[i].size ||
            !http_text_is(field->name, FIELDS[i].name))
            continue;
        const char **value = (const char **)(void *)((char *)head + FIELDS[i].offset);
        if (*value != NULL && FIELDS[i].list)
            return add_to_list(arena, field->value, value);
        if (*value != NULL)
            return err_make(ERR_INVALID_ARGUMENT, "The header %s came twice.",
                            FIELDS[i].name);
        return copy(arena, field->value, value);
    }
    return read_trace(head, arena, field);
}

struct err head_read_fields(struct head *head, struct arena *arena,
                            const struct http_head *from)
{
    struct err e = ERR_NONE;

    for (size_t i = 0; !failed(e) && i < from->count; i++)
        e = read_field(head, arena, &from->fields[i]);
    return e;
}

struct err head_read(struct head *head, struct arena *arena, const struct http_head *from)
{
    struct err e = copy(arena, from->host, &head->host);

    return failed(e) ? e : head_read_fields(head, arena, from);
}
