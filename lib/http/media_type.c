/* media_type.c - see media_type.h. */
#include "http/media_type.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "http/parse.h"

enum { CHARSET_MAX = 40 }; /* bytes of the longest name that IANA may register */

static const char BLANKS[] = " \t";

/* Whether the `size` bytes at `text` equal `word`, ignoring case. */
static bool spells(const char *text, size_t size, const char *word)
{
    return strlen(word) == size && strncasecmp(text, word, size) == 0;
}

/* Length of the token at `text`. */
static size_t token_span(const char *text)
{
    size_t size = 0;

    while (text[size] != '\0' && http_token_byte((unsigned char)text[size]))
        size++;
    return size;
}

/* Unquotes a quoted string into `out`, as much as fits.  Returns its end, or NULL when it
 * is malformed. */
static const char *read_quoted(const char *at, char *out, size_t room)
{
    for (at++; *at != '"'; at++) {
        if (*at == '\\')
            at++;
        if (*at == '\0' || !http_value_byte((unsigned char)*at))
            return NULL;
        if (room > 1) {
            *out++ = *at;
            room--;
        }
    }
    *out = '\0';
    return at + 1;
}

/* The same for a token or a quoted string. */
static const char *read_value(const char *at, char *out, size_t room)
{
    if (*at == '"')
        return read_quoted(at, out, room);
    size_t size = token_span(at);
    size_t kept = size < room ? size : room - 1;
    memcpy(out, at, kept);
    out[kept] = '\0';
    return size > 0 ? at + size : NULL;
}

static struct err malformed(void)
{
    return err_make(ERR_UNSUPPORTED_MEDIA_TYPE,
                    "Content-Type is malformed; send application/json.");
}

static struct err check_charset(const char *charset)
{
    if (strcasecmp(charset, "utf-8") == 0 || strcasecmp(charset, "utf8") == 0)
        return ERR_NONE;
    bool plain = *charset != '\0' && charset[token_span(charset)] == '\0';
    return err_make(ERR_UNSUPPORTED_MEDIA_TYPE,
                    "The body must be JSON in UTF-8, not in %s.",
                    plain ? charset : "another charset");
}

/* Zero or more of: blanks ";" blanks [ name "=" value ]. */
static struct err check_parameters(const char *at)
{
    char value[CHARSET_MAX + 1];
    bool seen = false;

    for (at += strspn(at, BLANKS); *at != '\0'; at += strspn(at, BLANKS)) {
        if (*at != ';')
            return malformed();
        at += 1 + strspn(at + 1, BLANKS);
        const char *name = at;
        size_t size = token_span(name);
        if (size == 0)
            continue; /* empty, or malformed, which the loop's head finds */
        if (name[size] != '=' ||
            (at = read_value(name + size + 1, value, sizeof value)) == NULL)
            return malformed();
        if (!spells(name, size, "charset"))
            continue;
        if (seen)
            return err_make(ERR_UNSUPPORTED_MEDIA_TYPE,
                            "Content-Type has a charset twice; send one, UTF-8.");
        seen = true;
        struct err e = check_charset(value);
        if (failed(e))
            return e;
    }
    return ERR_NONE;
}

struct err http_media_type_check(const char *type)
{
    if (type == NULL || strcmp(type, "application/json") == 0)
        return ERR_NONE;
    size_t size = token_span(type);
    if (size == 0 || type[size] != '/')
        return malformed();
    size_t subtype = token_span(type + size + 1);
    if (subtype == 0)
        return malformed();
    size += 1 + subtype;
    if (!spells(type, size, "application/json") && !spells(type, size, "text/plain"))
        return err_make(ERR_UNSUPPORTED_MEDIA_TYPE,
                        "The body must be application/json, not %.*s.",
                        (int)(size < 64 ? size : 64), type);
    return check_parameters(type + size);
}

struct err http_media_coding_check(const char *codings)
{
    static const char BETWEEN[] = ", \t";

    if (codings == NULL)
        return ERR_NONE;
    for (codings += strspn(codings, BETWEEN); *codings != '\0';
         codings += strspn(codings, BETWEEN)) {
        size_t size = strcspn(codings, BETWEEN), plain = token_span(codings);
        if (!spells(codings, size, "identity"))
            return err_make(ERR_UNSUPPORTED_MEDIA_TYPE,
                            "Content-Encoding %.*s is not supported: send the body "
                            "uncompressed (identity).",
                            (int)(plain < 32 ? plain : 32), codings);
        codings += size;
    }
    return ERR_NONE;
}
