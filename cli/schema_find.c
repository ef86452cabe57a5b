/* schema_find.c - a symbol by its name or the end of it, or the one that was meant. */
#include <string.h>

#include "cli/schema.h"
#include "cli/suggest.h"

/* Whether `name` is all of a symbol's name, or its end after a '.' or '/'. */
static bool ends_with(const char *full, const char *name)
{
    size_t all = strlen(full), end = strlen(name);

    if (end == 0 || end > all || strcmp(full + all - end, name) != 0)
        return false;
    return end == all || full[all - end - 1] == '.' || full[all - end - 1] == '/';
}

static bool counts(const struct symbol *symbol, const char *name, unsigned kinds)
{
    bool part = symbol->kind == SYMBOL_FIELD || symbol->kind == SYMBOL_VALUE;

    return (kinds >> symbol->kind & 1) != 0 && ends_with(symbol->name, name) &&
           !(part && strpbrk(name, "./") == NULL);
}

/* There is none of that name: which of those kinds is near? */
static struct err not_found(const struct schema *schema, const char *name, unsigned kinds)
{
    struct suggestion near = suggest_start(name, strlen(name));
    char text[SUGGEST_TEXT_SIZE];

    for (size_t i = 0; i < schema->count; i++) {
        const struct symbol *symbol = schema->symbols[i];
        if (symbol->kind == SYMBOL_FIELD || symbol->kind == SYMBOL_VALUE ||
            (kinds >> symbol->kind & 1) == 0)
            continue;
        const char *method = strrchr(symbol->name, '/'),
                   *dot = strrchr(symbol->name, '.');
        suggest_offer(&near, symbol->name, symbol->name);
        if (dot != NULL)
            suggest_offer(&near, dot + 1, symbol->name);
        if (method != NULL)
            suggest_offer(&near, method + 1, symbol->name);
    }
    return err_make(ERR_INVALID_ARGUMENT, "there is no %s \"%.80s\"; %s",
                    kinds == 1U << SYMBOL_METHOD    ? "method"
                    : kinds == 1U << SYMBOL_SERVICE ? "service"
                                                    : "symbol",
                    name, suggest_text(&near, "see checkoutctl list", text));
}

struct err schema_find(const struct schema *schema, const char *name, unsigned kinds,
                       const struct symbol **out)
{
    const struct symbol *found = schema_get(schema, name), *other = NULL;
    int count = found != NULL && (kinds >> found->kind & 1) != 0;

    for (size_t i = 0; count == 0 && i < schema->count; i++) {
        if (!counts(schema->symbols[i], name, kinds))
            continue;
        /* The first and the last of several, for the sentence. */
        found = schema->symbols[i];
        for (i++; i < schema->count; i++)
            if (counts(schema->symbols[i], name, kinds))
                other = schema->symbols[i];
        count = other == NULL ? 1 : 2;
    }
    *out = found;
    if (count == 1)
        return ERR_NONE;
    if (count == 0)
        return not_found(schema, name, kinds);
    return err_make(ERR_INVALID_ARGUMENT,
                    "\"%.40s\" may be %.60s or %.60s; give more of it", name, found->name,
                    other->name);
}
