/* headers.c - see headers.h. */
#include "gateway/headers.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* Nothing but the shop page (files.c) is a page: it may load nothing, be framed nowhere,
 * be guessed no type. */
static const struct {
    const char *name, *value;
} ALWAYS[] = {
    {"X-Content-Type-Options", "nosniff"},
    {"Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"},
    {"Referrer-Policy", "no-referrer"},
};

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

void headers_add(struct MHD_Response *response, const struct answer *a,
                 const char *request_id)
{
    char seconds[16];

    MHD_add_response_header(response, "X-Request-Id", request_id);
    for (size_t i = 0; i < sizeof ALWAYS / sizeof ALWAYS[0]; i++)
        if (!has_own(a, ALWAYS[i].name))
            MHD_add_response_header(response, ALWAYS[i].name, ALWAYS[i].value);
    for (const struct answer_field *f = a->fields; f != NULL && f->name != NULL; f++)
        MHD_add_response_header(response, f->name, f->value);
    MHD_add_response_header(response, "Cache-Control",
                            a->cache_control != NULL ? a->cache_control : "no-store");
    if (a->set_cookie != NULL)
        MHD_add_response_header(response, "Set-Cookie", a->set_cookie);
    if (a->size > 0)
        MHD_add_response_header(response, "Content-Type", type_of(a));
    if (a->location != NULL)
        MHD_add_response_header(response, "Location", a->location);
    if (a->allow != NULL)
        MHD_add_response_header(response, "Allow", a->allow);
    if (a->accept_encoding != NULL)
        MHD_add_response_header(response, "Accept-Encoding", a->accept_encoding);
    if (a->replayed)
        MHD_add_response_header(response, "Idempotent-Replayed", "true");
    if (a->status == 401)
        MHD_add_response_header(response, "WWW-Authenticate",
                                "Bearer realm=\"checkout\"");
    if (a->retry_after_s > 0) {
        snprintf(seconds, sizeof seconds, "%d", a->retry_after_s);
        MHD_add_response_header(response, "Retry-After", seconds);
    }
    if (a->close)
        MHD_add_response_header(response, "Connection", "close");
}
