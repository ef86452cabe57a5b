/* url.c - see url.h. */
#include "db/connection/url.h"

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

/* Options that identify and authenticate the user. */
static const char *const IDENTITY[] = {"user",
                                       "password",
                                       "passfile",
                                       "sslcert",
                                       "sslkey",
                                       "sslpassword",
                                       "scram_client_key",
                                       "scram_server_key",
                                       "oauth_client_secret"};

static bool is_identity(const char *keyword)
{
    for (size_t i = 0; i < sizeof IDENTITY / sizeof *IDENTITY; i++)
        if (strcmp(keyword, IDENTITY[i]) == 0)
            return true;
    return false;
}

static const PQconninfoOption *find(const PQconninfoOption *options, const char *keyword)
{
    while (options->keyword != NULL && strcmp(options->keyword, keyword) != 0)
        options++;
    return options->keyword == NULL ? NULL : options;
}

/* From the URL, or else the environment; NULL: from neither, or empty. */
static const char *value_of(const PQconninfoOption *option)
{
    const char *value = option == NULL ? NULL : option->val;

    if (value == NULL && option != NULL && option->envvar != NULL)
        value = getenv(option->envvar);
    return value == NULL || *value == '\0' ? NULL : value;
}

/* Percent-encodes all but the characters that are plain in a URL. */
static void put(struct text *text, const char *value)
{
    static const char PLAIN[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                "0123456789-._~";
    static const char HEX[] = "0123456789ABCDEF";

    for (; *value != '\0'; value++) {
        unsigned char byte = (unsigned char)*value;
        const char code[] = {'%', HEX[byte >> 4], HEX[byte & 15]};
        if (strchr(PLAIN, *value) != NULL)
            text_raw_of(text, value, 1);
        else
            text_raw_of(text, code, sizeof code);
    }
}

/* As libpq does it: the database's name defaults to the user's, which defaults to that of this
 * machine's user. */
static const char *database_name(const PQconninfoOption *options,
                                 const PQconninfoOption *defaults)
{
    const char *name = value_of(find(options, "dbname"));

    if (name == NULL)
        name = value_of(find(options, "user"));
    return name != NULL || defaults == NULL ? name : value_of(find(defaults, "user"));
}

static void put_all(struct text *text, const PQconninfoOption *options,
                    const PQconninfoOption *defaults, const char *role)
{
    const char *user = role != NULL ? role : value_of(find(options, "user"));
    const char *password = role != NULL ? NULL : value_of(find(options, "password"));
    const char *name = database_name(options, defaults), *mark = "?";

    text_raw(text, "postgresql://");
    put(text, user != NULL ? user : "");
    if (password != NULL) {
        text_raw(text, ":");
        put(text, password);
    }
    text_raw(text, user != NULL || password != NULL ? "@/" : "/");
    put(text, name != NULL ? name : "");
    for (const PQconninfoOption *o = options; o->keyword != NULL; o++) {
        const char *value = value_of(o);
        if (value == NULL || strcmp(o->keyword, "dbname") == 0 ||
            strcmp(o->keyword, "user") == 0 || strcmp(o->keyword, "password") == 0 ||
            (role != NULL && is_identity(o->keyword)))
            continue;
        text_raw(text, mark);
        text_raw(text, o->keyword);
        text_raw(text, "=");
        put(text, value);
        mark = "&";
    }
}

/* libpq quotes what it cannot parse, which may be the password: the message ends
 * before it. */
static struct err unreadable(char *message)
{
    const char *words = message == NULL ? "no memory" : message;
    size_t head = strcspn(words, "\"\n");
    struct err e =
        err_make(ERR_INVALID_ARGUMENT, "the database's URL cannot be read: %.*s%s",
                 (int)head, words, words[head] == '"' ? "..." : "");

    PQfreemem(message);
    return e;
}

struct err url_write(const char *url, const char *role, struct arena *arena,
                     const char **out)
{
    char *message = NULL;
    PQconninfoOption *options = PQconninfoParse(url, &message);

    *out = NULL;
    if (options == NULL)
        return unreadable(message);
    PQconninfoOption *defaults = PQconndefaults();
    struct text text = text_start(arena, URL_SIZE_MAX);
    struct err e = ERR_NONE;
    put_all(&text, options, defaults, role);
    text_raw_of(&text, "", 1);
    if (value_of(find(options, "service")) != NULL)
        e = err_make(ERR_INVALID_ARGUMENT,
                     "the database's URL names a service of a pg_service.conf, which the "
                     "services cannot read; write its host, port and dbname instead");
    else if (text.broken)
        e = err_memory();
    else if (text.size > URL_SIZE_MAX)
        e = err_make(ERR_INVALID_ARGUMENT,
                     "the database's URL, written out, is longer than %d bytes",
                     URL_SIZE_MAX);
    if (!failed(e))
        *out = text.bytes;
    PQconninfoFree(options);
    PQconninfoFree(defaults);
    return e;
}
