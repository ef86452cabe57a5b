/* session.c - see session.h. */
#include "gateway/session.h"

#include <string.h>
#include <strings.h>

static bool is(const char *text, const char *value)
{
    return text != NULL && strcmp(text, value) == 0;
}

/* How often the cookie is there; *token is the last one's value. */
static int find_cookie(const char *header, const char *name, const char **token,
                       size_t *size)
{
    size_t length = strlen(name);
    int count = 0;

    for (const char *at = header; *at != '\0';) {
        at += strspn(at, "; ");
        size_t whole = strcspn(at, ";");
        if (whole > length && strncmp(at, name, length) == 0 && at[length] == '=') {
            *token = at + length + 1;
            *size = whole - length - 1;
            count++;
        }
        at += whole;
    }
    return count;
}

/* Whether the origin is the one the request was sent to.  TLS may end before us, so its
 * scheme is not known here; the cookie of an https page is not sent to an http one. */
static bool origin_is_ours(const char *origin, const char *host)
{
    static const char *const SCHEMES[] = {"https://", "http://"};

    for (size_t i = 0; host != NULL && i < sizeof SCHEMES / sizeof SCHEMES[0]; i++) {
        size_t length = strlen(SCHEMES[i]);
        if (strncmp(origin, SCHEMES[i], length) == 0 &&
            strcasecmp(origin + length, host) == 0)
            return true;
    }
    return false;
}

/* A page of ours asks: said at least once, and nothing says otherwise. */
static bool asked_by_us(const struct head *head)
{
    return (head->origin != NULL || head->fetch_site != NULL) &&
           (head->origin == NULL || origin_is_ours(head->origin, head->host)) &&
           (head->fetch_site == NULL || is(head->fetch_site, "same-origin"));
}

/* Somebody else's page asks.  "none" is the shopper: a bookmark, an address typed in. */
static bool asked_by_others(const struct head *head)
{
    return !asked_by_us(head) && (head->origin != NULL || head->fetch_site != NULL) &&
           !(head->origin == NULL && is(head->fetch_site, "none"));
}

static struct err check_cookie(const struct head *head, enum method method)
{
    if (method == METHOD_GET ? asked_by_others(head) : !asked_by_us(head))
        return err_make(ERR_CROSS_SITE, "a cookie, but not from a page of this origin");
    if (method == METHOD_POST && head->idempotency_key == NULL)
        return err_make(ERR_CROSS_SITE, "a cookie without the Idempotency-Key header");
    return ERR_NONE;
}

struct err session_token(const struct head *head, enum method method,
                         const char *cookie_name, const char **token, size_t *size)
{
    static const char SCHEME[] = "Bearer ";
    const char *given = head->authorization;
    int count = 0;

    *token = NULL;
    *size = 0;
    if (given != NULL) {
        if (strncasecmp(given, SCHEME, sizeof SCHEME - 1) != 0)
            return err_make(ERR_UNAUTHENTICATED, "the authorization is no bearer token");
        *token = given + sizeof SCHEME - 1;
        *token += strspn(*token, " "); /* RFC 9110, 11.4: 1*SP */
        *size = strlen(*token);
        return ERR_NONE;
    }
    if (head->cookie != NULL)
        count = find_cookie(head->cookie, cookie_name, token, size);
    if (count == 0)
        return err_make(ERR_UNAUTHENTICATED, "no bearer token and no session cookie");
    struct err e = check_cookie(head, method);
    if (!failed(e) && count > 1)
        e = err_make(ERR_UNAUTHENTICATED, "the session cookie came twice");
    return e;
}
