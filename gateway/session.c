/* session.c - see session.h. */
#include "gateway/session.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "gateway/request.h"

/* The one value of a cookie's name, in the arena; NULL when there is none, or two. */
static const char *cookie_value(struct arena *arena, const char *cookies,
                                const char *name)
{
    const char *found = NULL;
    char *at = cookies == NULL || name == NULL ? NULL : arena_strdup(arena, cookies);
    size_t length = at == NULL ? 0 : strlen(name);

    while (at != NULL) {
        char *next = strchr(at, ';');
        if (next != NULL)
            *next++ = '\0';
        at += strspn(at, " ");
        if (strncmp(at, name, length) == 0 && at[length] == '=') {
            if (found != NULL)
                return NULL;
            found = at + length + 1;
        }
        at = next;
    }
    return found;
}

/* Whether Origin is this host's, over HTTP or HTTPS: a proxy may have taken that off. */
static bool origin_is_ours(const char *origin, const char *host)
{
    if (origin == NULL || host == NULL)
        return false;
    size_t scheme = strncmp(origin, "https://", 8) == 0  ? 8
                    : strncmp(origin, "http://", 7) == 0 ? 7
                                                         : 0;
    return scheme > 0 && strcasecmp(origin + scheme, host) == 0;
}

static bool from_our_page(const struct head *head)
{
    if (head->sec_fetch_site != NULL && strcmp(head->sec_fetch_site, "same-origin") != 0)
        return false;
    if (head->origin != NULL)
        return origin_is_ours(head->origin, head->host);
    return head->sec_fetch_site != NULL;
}

const char *session_token(const struct request *r)
{
    bool changes = strcmp(r->method, "GET") != 0 && strcmp(r->method, "HEAD") != 0;

    if (changes && !from_our_page(&r->head))
        return NULL;
    if (strcmp(r->method, "POST") == 0 && r->head.idempotency_key == NULL)
        return NULL;
    return cookie_value(r->arena, r->head.cookie, r->gateway->session_cookie);
}
