/* endpoints.c - see endpoints.h. */
#include "webhook/endpoints.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/contract/ids.h"
#include "base/program/file.h"
#include "base/text.h"

enum { FILE_MAX = 1 << 20, SECRET_SIZE_MIN = 24 };

static struct err wrong(const char *path, int line, const char *what)
{
    return err_make(ERR_INVALID_ARGUMENT, "%s:%d: %s", path, line, what);
}

/* ---- secrets ----------------------------------------------------------------------- */

static struct err add_secret(const char *path, int line, char *text,
                             struct endpoint *endpoint)
{
    static const char PREFIX[] = "whsec_";
    struct secret *secret = &endpoint->secrets[endpoint->secret_count];

    if (endpoint->secret_count == SECRETS_MAX)
        return wrong(path, line, "there are more than two secrets");
    if (strncmp(text, PREFIX, strlen(PREFIX)) != 0 ||
        !base64_decode(text + strlen(PREFIX), strlen(text + strlen(PREFIX)),
                       sodium_base64_VARIANT_ORIGINAL, secret->bytes,
                       sizeof secret->bytes, &secret->size) ||
        secret->size < SECRET_SIZE_MIN)
        return wrong(path, line, "a secret is whsec_ and 24 to 64 bytes in base64");
    endpoint->secret_count++;
    return ERR_NONE;
}

static struct err read_secrets(const char *path, struct endpoint *endpoint)
{
    char *text, *rest, *line;
    size_t size;
    struct err e = file_load_private(path, FILE_MAX, &text, &size);

    if (failed(e))
        return e;
    rest = text;
    for (int number = 1; !failed(e) && (line = strsep(&rest, "\n")) != NULL; number++) {
        line[strcspn(line, " \t\r#")] = '\0';
        if (*line != '\0')
            e = add_secret(path, number, line, endpoint);
    }
    sodium_memzero(text, size);
    free(text);
    if (!failed(e) && endpoint->secret_count == 0)
        e = err_make(ERR_INVALID_ARGUMENT, "%s holds no secret", path);
    return e;
}

/* ---- URLs -------------------------------------------------------------------------- */

/* The whole host must match: "localhost.example" is not "localhost". */
static bool is_here(const char *rest)
{
    static const char *const HOSTS[] = {"127.0.0.1", "[::1]", "localhost"};

    for (size_t i = 0; i < sizeof HOSTS / sizeof *HOSTS; i++) {
        size_t length = strlen(HOSTS[i]);
        if (strncmp(rest, HOSTS[i], length) == 0 &&
            (rest[length] == '\0' || rest[length] == ':' || rest[length] == '/'))
            return true;
    }
    return false;
}

/* An @ before the host ends a user and a password.  A backslash is invalid in a URL, but
 * some parsers read it as a slash. */
static bool has_user(const char *url)
{
    const char *authority = strstr(url, "://");

    if (authority == NULL)
        return false;
    authority += strlen("://");
    return memchr(authority, '@', strcspn(authority, "/?")) != NULL;
}

static const char *check_url(const char *url, bool allow_http)
{
    if (!visible_ascii(url, 1, ENDPOINT_URL_SIZE - 1) || strchr(url, '\\') != NULL)
        return "the URL is too long, or has a character that URLs have not";
    if (has_user(url) || strchr(url, '#') != NULL)
        return "the URL must have no user, password or fragment";
    if (strncmp(url, "https://", 8) == 0)
        return NULL;
    if (strncmp(url, "http://", 7) != 0)
        return "the URL must be https://";
    return allow_http || is_here(url + 7)
               ? NULL
               : "http:// goes only to this machine, unless allow_http is set";
}

/* ---- types ------------------------------------------------------------------------- */

static bool type_valid(const char *type)
{
    size_t plain = strspn(type, "abcdefghijklmnopqrstuvwxyz0123456789_.");
    bool prefix = plain > 0 && type[plain - 1] == '.' && strcmp(type + plain, "*") == 0;

    return plain > 0 && strlen(type) < ENDPOINT_TYPE_SIZE &&
           (type[plain] == '\0' || prefix);
}

static struct err add_type(const char *path, int line, const char *type,
                           struct endpoint *endpoint)
{
    if (!type_valid(type))
        return wrong(path, line, "a type is order.created, or order.* for all of them");
    if (endpoint->type_count == ENDPOINT_TYPES_MAX)
        return wrong(path, line, "there are more than 16 types");
    snprintf(endpoint->types[endpoint->type_count++], ENDPOINT_TYPE_SIZE, "%s", type);
    return ERR_NONE;
}

bool endpoint_wants(const struct endpoint *endpoint, const char *type)
{
    for (size_t i = 0; i < endpoint->type_count; i++) {
        const char *wanted = endpoint->types[i];
        size_t size = strlen(wanted);
        if (wanted[size - 1] == '*' ? strncmp(type, wanted, size - 1) == 0
                                    : strcmp(type, wanted) == 0)
            return true;
    }
    return endpoint->type_count == 0;
}

size_t endpoint_origin(const char *url)
{
    const char *host = strstr(url, "://");
    size_t before = host == NULL ? 0 : (size_t)(host - url) + 3;

    return before + strcspn(url + before, "/?#");
}

/* ---- the file ---------------------------------------------------------------------- */

static bool taken(const struct endpoints *endpoints, const char *name)
{
    for (size_t i = 0; i < endpoints->count; i++)
        if (strcmp(endpoints->items[i].name, name) == 0)
            return true;
    return false;
}

static struct err add_line(const char *path, int line, char *text, bool allow_http,
                           struct endpoints *out)
{
    char *rest = text, *name = strtok_r(text, " \t\r\n", &rest);
    char *url = name == NULL ? NULL : strtok_r(NULL, " \t\r\n", &rest);
    char *secret = url == NULL ? NULL : strtok_r(NULL, " \t\r\n", &rest);
    struct endpoint *endpoint = &out->items[out->count];

    if (name == NULL || *name == '#')
        return ERR_NONE;
    if (secret == NULL)
        return wrong(path, line, "a line is NAME URL SECRET_FILE [TYPE ...]");
    if (out->count == ENDPOINTS_MAX)
        return wrong(path, line, "there are too many endpoints");
    if (!name_valid(name) || strlen(name) >= ENDPOINT_NAME_SIZE || taken(out, name))
        return wrong(path, line,
                     "a name is 1 to 32 letters, digits, - or _, and given once");
    const char *problem = check_url(url, allow_http);
    if (problem != NULL)
        return wrong(path, line, problem);
    memset(endpoint, 0, sizeof *endpoint);
    snprintf(endpoint->name, sizeof endpoint->name, "%s", name);
    snprintf(endpoint->url, sizeof endpoint->url, "%s", url);
    struct err e = read_secrets(secret, endpoint);
    const char *type;
    while (!failed(e) && (type = strtok_r(NULL, " \t\r\n", &rest)) != NULL &&
           *type != '#')
        e = add_type(path, line, type, endpoint);
    if (!failed(e))
        out->count++;
    return e;
}

struct err endpoints_read(const char *path, bool allow_http, struct endpoints *out)
{
    char *text, *rest, *line;
    size_t size;
    struct err e = file_load(path, FILE_MAX, &text, &size);

    out->count = 0;
    if (failed(e))
        return e;
    rest = text;
    for (int number = 1; !failed(e) && (line = strsep(&rest, "\n")) != NULL; number++)
        e = add_line(path, number, line, allow_http, out);
    free(text);
    if (!failed(e) && out->count == 0)
        e = err_make(ERR_INVALID_ARGUMENT, "%s names no endpoint", path);
    return e;
}
