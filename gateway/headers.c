/* headers.c - see headers.h. */
#include "gateway/headers.h"

#include <stddef.h>
#include <stdio.h>

/* Nothing here is a page: it may load nothing, be framed nowhere, be guessed no type. */
static const struct {
    const char *name, *value;
} ALWAYS[] = {
    {"Cache-Control", "no-store"},
    {"X-Content-Type-Options", "nosniff"},
    {"Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"},
    {"Referrer-Policy", "no-referrer"},
};

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
        MHD_add_response_header(response, ALWAYS[i].name, ALWAYS[i].value);
    if (a->size > 0)
        MHD_add_response_header(response, "Content-Type", type_of(a));
    if (a->location != NULL)
        MHD_add_response_header(response, "Location", a->location);
    if (a->allow != NULL)
        MHD_add_response_header(response, "Allow", a->allow);
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
