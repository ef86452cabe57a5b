/* fields.c - see fields.h. */
#include "gateway/http/fields.h"

#include <stdio.h>
#include <string.h>

/* ---- of a request ---- */

/* Each may come once, except lists: their lines are joined (RFC 9110, 5.3). */
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
    size_t size; /* of the name; compared first, which is cheap */
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

/* Any trace field is accepted here; trace_begin validates it. */
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

/* ---- of an answer ---- */

void answer_text(struct text *text, const char *raw, const char *value)
{
    text_raw(text, raw);
    text_string(text, value);
}

void answer_number(struct text *text, const char *raw, int64_t value)
{
    text_raw(text, raw);
    text_number(text, value);
}

#define POLICY(name, value) {name, value},
static const struct answer_field POLICIES[] = {ANSWER_POLICIES(POLICY)};

static bool has_own(const struct answer *a, const char *name)
{
    for (const struct answer_field *f = a->fields; f != NULL && f->name != NULL; f++)
        if (strcmp(f->name, name) == 0)
            return true;
    return false;
}

static const char *type_of(const struct answer *a)
{
    if (a->content_type != NULL)
        return a->content_type;
    return a->status < 400 ? "application/json" : "application/problem+json";
}

static void add(struct text *text, const char *name, const char *value)
{
    text_raw(text, name);
    text_raw(text, ": ");
    text_raw(text, value);
    text_raw(text, "\r\n");
}

static void add_policies(struct text *text, const struct answer *a)
{
    if (a->fields == NULL && a->cache_control == NULL) {
        text_raw(text, ANSWER_USUAL);
        return;
    }
    for (size_t i = 0; i < sizeof POLICIES / sizeof POLICIES[0]; i++)
        if (!has_own(a, POLICIES[i].name))
            add(text, POLICIES[i].name, POLICIES[i].value);
    for (const struct answer_field *f = a->fields; f != NULL && f->name != NULL; f++)
        add(text, f->name, f->value);
    add(text, "Cache-Control", a->cache_control != NULL ? a->cache_control : "no-store");
}

/* By the members of the answer. */
static void add_own(struct text *text, const struct answer *a)
{
    add_policies(text, a);
    if (a->set_cookie != NULL)
        add(text, "Set-Cookie", a->set_cookie);
    if (a->size > 0)
        add(text, "Content-Type", type_of(a));
    if (a->location != NULL)
        add(text, "Location", a->location);
    if (a->allow != NULL)
        add(text, "Allow", a->allow);
    if (a->accept_encoding != NULL)
        add(text, "Accept-Encoding", a->accept_encoding);
    if (a->replayed)
        add(text, "Idempotent-Replayed", "true");
}

/* By its status. */
static void add_of_status(struct text *text, const struct answer *a)
{
    char seconds[16];

    if (a->status == 401)
        add(text, "WWW-Authenticate", "Bearer realm=\"checkout\"");
    if (a->retry_after_s > 0) {
        snprintf(seconds, sizeof seconds, "%d", a->retry_after_s);
        add(text, "Retry-After", seconds);
    }
}

/* ---- CORS ---- */

static bool origin_valid(const char *origin, size_t size)
{
    static const char CHARS[] = "abcdefghijklmnopqrstuvwxyz0123456789.-:[]";
    size_t scheme = strncmp(origin, "https://", 8) == 0  ? 8
                    : strncmp(origin, "http://", 7) == 0 ? 7
                                                         : 0;

    return scheme > 0 && size > scheme && strspn(origin + scheme, CHARS) >= size - scheme;
}

bool cors_list_valid(const char *origins)
{
    for (const char *at = origins; *at != '\0';) {
        size_t size = strcspn(at, ",");
        if (!origin_valid(at, size) || (at[size] == ',' && at[size + 1] == '\0'))
            return false;
        at += size;
        at += *at == ',';
    }
    return true;
}

static bool listed(const char *origins, const char *origin)
{
    size_t length = strlen(origin);

    for (const char *at = origins; *at != '\0';) {
        size_t size = strcspn(at, ",");
        if (size == length && strncmp(at, origin, size) == 0)
            return true;
        at += size;
        at += *at == ',';
    }
    return false;
}

/* Vary whenever the list is not empty; the rest if the request's Origin is in it.
 * `allow`: the path's methods. */
static void add_cors(struct text *text, const char *origins, const struct head *head,
                     const char *allow)
{
    if (origins[0] == '\0')
        return;
    add(text, "Vary", "Origin");
    if (head->origin == NULL || !listed(origins, head->origin))
        return;
    add(text, "Access-Control-Allow-Origin", head->origin);
    add(text, "Access-Control-Expose-Headers",
        "ETag, Location, Retry-After, Idempotent-Replayed, X-Request-Id");
    if (head->wanted_method == NULL || allow == NULL)
        return;
    add(text, "Access-Control-Allow-Methods", allow);
    add(text, "Access-Control-Allow-Headers",
        "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, "
        "traceparent, tracestate");
    add(text, "Access-Control-Max-Age", "600");
}

struct text answer_fields(struct arena *arena, const struct answer *answer,
                          const char *id, const struct head *head, const char *origins,
                          bool tls)
{
    struct text text = text_start(arena, 512);

    add(&text, "X-Request-Id", id);
    add_own(&text, answer);
    add_of_status(&text, answer);
    add_cors(&text, origins, head, answer->allow);
    if (tls)
        add(&text, "Strict-Transport-Security", "max-age=31536000");
    return text;
}
