/* etag.c - see etag.h. */
#include "gateway/api/etag.h"

#include <string.h>

#include "base/contract/bounds.h"
#include "base/contract/ids.h"
#include "gateway/api/body.h"

static const char NO_CART[] = "none"; /* a version that no cart has */

/* One tag of a list; `text` is between its quotes. */
struct tag {
    const char *text;
    size_t size;
    bool weak;
};

char *etag_write(struct arena *arena, const char *lines, const char *prices)
{
    return prices == NULL ? arena_printf(arena, "\"%s\"", lines)
                          : arena_printf(arena, "\"%s.%s\"", lines, prices);
}

/* ---- reading tags ---- */

static bool tag_character(char c)
{
    unsigned char byte = (unsigned char)c;

    return byte == 0x21 || (byte >= 0x23 && byte != 0x7f);
}

/* Reads a tag and moves *at behind it; false when there is none at *at. */
static bool read_tag(const char **at, struct tag *out)
{
    const char *c = *at;

    out->weak = strncmp(c, "W/", 2) == 0;
    c += out->weak ? 2 : 0;
    if (*c++ != '"')
        return false;
    out->text = c;
    while (tag_character(*c))
        c++;
    out->size = (size_t)(c - out->text);
    if (*c != '"')
        return false;
    *at = c + 1;
    return true;
}

/* Skips blanks and, in a list, empty elements (RFC 9110, 5.6.1); returns whether a comma
 * was among them. */
static bool skip(const char **at)
{
    size_t size = strspn(*at, " \t,");
    bool comma = memchr(*at, ',', size) != NULL;

    *at += size;
    return comma;
}

/* Reads the next tag of the list at *at; *more is false at its end. */
static bool next_tag(const char **at, bool first, struct tag *out, bool *more)
{
    bool comma = skip(at);

    *more = **at != '\0';
    if (!*more)
        return !first; /* a list has at least one tag */
    return (first || comma) && read_tag(at, out);
}

static struct err no_list(void)
{
    return invalid(
        "If-Match or If-None-Match is neither \"*\" nor a list of entity tags.");
}

/* ---- the tags of a cart ---- */

/* The LINES of a tag, in the arena; NULL when it is not a cart's or the arena is full. */
static char *lines_of(struct arena *arena, const struct tag *tag)
{
    const char *dot = memchr(tag->text, '.', tag->size);
    size_t size = dot == NULL ? tag->size : (size_t)(dot - tag->text);
    char *lines = arena_alloc(arena, size + 1); /* zeroed */

    if (lines == NULL)
        return NULL;
    memcpy(lines, tag->text, size);
    return cart_version_valid(lines) ? lines : NULL;
}

struct err etag_lines(struct arena *arena, const char *where, const char *text,
                      const char **out)
{
    const char *at = text;
    struct tag tag;

    *out = read_tag(&at, &tag) && *at == '\0' ? lines_of(arena, &tag) : NULL;
    if (*out != NULL)
        return ERR_NONE;
    return invalid(
        "%s must be the ETag of a cart, with its quotes, as GET or PUT gave it.", where);
}

struct err etag_if_match(struct arena *arena, const char *field,
                         struct etag_versions *out)
{
    bool more = true;
    struct tag tag;

    *out = (struct etag_versions){
        .items = arena_alloc(arena, CART_VERSIONS_MAX * sizeof *out->items)};
    if (out->items == NULL)
        return err_memory();
    if (strcmp(field, "*") == 0) {
        out->items[out->count++] = (char *)"*";
        return ERR_NONE;
    }
    while (more) {
        if (!next_tag(&field, out->count == 0, &tag, &more))
            return no_list();
        if (!more)
            break;
        if (out->count == CART_VERSIONS_MAX)
            return invalid("If-Match may name at most %d entity tags.",
                           CART_VERSIONS_MAX);
        char *lines = tag.weak ? NULL : lines_of(arena, &tag);
        out->items[out->count++] = lines != NULL ? lines : (char *)NO_CART;
    }
    return ERR_NONE;
}

struct err etag_named(const char *field, const char *tag, bool strong, bool *out)
{
    const size_t size = strlen(tag) - 2; /* without the quotes */
    bool more = true, first = true;
    struct tag named;

    *out = strcmp(field, "*") == 0;
    while (more && !*out) {
        if (!next_tag(&field, first, &named, &more))
            return no_list();
        first = false;
        *out = more && !(strong && named.weak) && named.size == size &&
               memcmp(named.text, tag + 1, size) == 0;
    }
    return ERR_NONE;
}
