/* headers.c - see headers.h. */
#include "gateway/headers.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "gateway/cors.h"

#define FIELD(name, value) {name, value},
static const struct answer_field ALWAYS[] = {HEADERS_POLICIES(FIELD)};

/* The same as one text, for the many answers without fields of their own. */
static const char USUAL[] = HEADERS_USUAL;

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
        text_raw(text, USUAL);
        return;
    }
    for (size_t i = 0; i < sizeof ALWAYS / sizeof ALWAYS[0]; i++)
        if (!has_own(a, ALWAYS[i].name))
            add(text, ALWAYS[i].name, ALWAYS[i].value);
    for (const struct answer_field *f = a->fields; f != NULL && f->name != NULL; f++)
        add(text, f->name, f->value);
    add(text, "Cache-Control", a->cache_control != NULL ? a->cache_control : "no-store");
}

/* What the answer itself asks for. */
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

/* What its status asks for. */
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

struct text headers_write(const struct request *r, bool tls)
{
    struct text text = text_start(r->arena, 512);

    add(&text, "X-Request-Id", r->id);
    add_own(&text, &r->answer);
    add_of_status(&text, &r->answer);
    cors_write(&text, r->gateway->cors_origins, &r->head, r->answer.allow);
    if (tls)
        add(&text, "Strict-Transport-Security", "max-age=31536000");
    return text;
}
