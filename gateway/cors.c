/* cors.c - see cors.h. */
#include "gateway/cors.h"

#include <string.h>

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

void cors_write(struct text *text, const char *origins, const struct head *head,
                const char *allow)
{
    if (origins[0] == '\0')
        return;
    text_raw(text, "Vary: Origin\r\n");
    if (head->origin == NULL || !listed(origins, head->origin))
        return;
    text_raw(text, "Access-Control-Allow-Origin: ");
    text_raw(text, head->origin);
    text_raw(text, "\r\nAccess-Control-Expose-Headers: ETag, Location, "
                   "Retry-After, Idempotent-Replayed, X-Request-Id\r\n");
    if (head->wanted_method == NULL || allow == NULL)
        return;
    text_raw(text, "Access-Control-Allow-Methods: ");
    text_raw(text, allow);
    text_raw(text, "\r\nAccess-Control-Allow-Headers: Authorization, Content-Type, "
                   "Idempotency-Key, If-Match, If-None-Match, traceparent, tracestate\r\n"
                   "Access-Control-Max-Age: 600\r\n");
}
