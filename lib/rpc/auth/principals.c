/* principals.c - see principals.h: a line, a list, looking one up. */
#include "rpc/auth/principals.h"

#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PRINCIPALS_MAX = 1024,
    PATTERN_MAX = 128, /* bytes of a method pattern */
};

struct principals {
    atomic_size_t shares;
    uint8_t own[KEY_PUBLIC_SIZE], earlier_own[KEY_PUBLIC_SIZE];
    size_t count;
    struct principal entries[PRINCIPALS_MAX];
};

/* ---------------------------------------------------------- a line */

static bool pattern_valid(const char *pattern)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./";
    size_t length = strlen(pattern), plain = strspn(pattern, allowed);

    if (length == 0 || length > PATTERN_MAX)
        return false;
    return plain == length || (plain == length - 1 && pattern[plain] == '*');
}

/* Fills p->methods from "a,b,c", which it cuts up; false when one is no pattern, or
 * there is no memory.  What was filled is freed by clear. */
static bool take_methods(char *list, struct principal *p)
{
    size_t count = 1;

    for (const char *c = list; *c != '\0'; c++)
        count += *c == ',';
    p->methods = calloc(count, sizeof *p->methods);
    if (p->methods == NULL)
        return false;
    for (char *rest = list, *method; (method = strsep(&rest, ",")) != NULL;) {
        char *copy = pattern_valid(method) ? strdup(method) : NULL;
        if (copy == NULL)
            return false;
        p->methods[p->method_count++] = copy;
    }
    return true;
}

/* Whether the line is NAME PUBLIC, and METHODS when it is a caller's. */
static bool take_line(char *line, bool caller, struct principal *p)
{
    char *rest, *name = strtok_r(line, KEYS_BLANKS, &rest);
    char *public_key = strtok_r(NULL, KEYS_BLANKS, &rest);
    char *methods = strtok_r(NULL, KEYS_BLANKS, &rest);

    if (name == NULL || public_key == NULL || (methods != NULL) != caller ||
        strtok_r(NULL, KEYS_BLANKS, &rest) != NULL)
        return false;
    if (!keys_name_valid(name) || !keys_decode(public_key, p->public_key))
        return false;
    memcpy(p->name, name, strlen(name) + 1);
    return !caller || take_methods(methods, p);
}

/*
 * Whether the list may have the new entry.  The name in a frame is only proven by the key
 * that opens it, so two callers with one key could each pass for the other.  More than
 * two keys of one caller would only cost time: each is tried on a frame that none of them
 * opens.
 */
static bool distinct(const struct principals *list, const struct principal *p,
                     bool callers)
{
    int same_name = 0;

    for (size_t i = 0; i < list->count; i++) {
        const struct principal *other = &list->entries[i];
        same_name += strcmp(other->name, p->name) == 0;
        if (callers && memcmp(other->public_key, p->public_key, KEY_PUBLIC_SIZE) == 0)
            return false;
    }
    return same_name < (callers ? 2 : 1);
}

static void clear(struct principal *p)
{
    for (size_t i = 0; i < p->method_count; i++)
        free(p->methods[i]);
    free(p->methods);
    sodium_free(p->shared);
    sodium_free(p->earlier_shared);
}

/* NULL: there is no memory, or the public key is of small order. */
static uint8_t *agree(const struct key *own, const struct principal *p)
{
    uint8_t *shared = sodium_malloc(KEY_SHARED_SIZE);

    if (shared != NULL && !key_agree(own, p->public_key, shared)) {
        sodium_free(shared);
        return NULL;
    }
    if (shared != NULL)
        sodium_mprotect_readonly(shared);
    return shared;
}

static struct err add_line(struct principals *list, const char *where, char *line,
                           bool callers, const struct key *own)
{
    struct principal *p = &list->entries[list->count];
    struct err e = ERR_NONE;

    if (!take_line(line, callers, p))
        e = err_make(ERR_INVALID_ARGUMENT, "%s: expected NAME PUBLIC%s", where,
                     callers ? " METHOD[,METHOD]" : "");
    else if (!distinct(list, p, callers))
        e = err_make(ERR_INVALID_ARGUMENT, "%s: '%s' or its key is in the list already",
                     where, p->name);
    else if ((p->shared = agree(own, p)) == NULL ||
             (callers && key_earlier(own) != NULL &&
              (p->earlier_shared = agree(key_earlier(own), p)) == NULL))
        e = err_make(ERR_INVALID_ARGUMENT,
                     "%s: not a usable public key (or no memory is left)", where);
    if (!failed(e)) {
        list->count++;
        return e;
    }
    clear(p);
    memset(p, 0, sizeof *p);
    return e;
}

/* ---------------------------------------------------------- a list */

static struct err parse(struct principals *list, const char *path, char *text,
                        bool callers, const struct key *own)
{
    char *line, where[128];

    memcpy(list->own, key_public(own), KEY_PUBLIC_SIZE);
    if (key_earlier(own) != NULL)
        memcpy(list->earlier_own, key_public(key_earlier(own)), KEY_PUBLIC_SIZE);
    for (int number = 1; keys_next_line(&text, &line); number++) {
        if (*line == '\0')
            continue;
        if (list->count == PRINCIPALS_MAX)
            return err_make(ERR_INVALID_ARGUMENT, "%s has more than %d lines", path,
                            PRINCIPALS_MAX);
        snprintf(where, sizeof where, "%s:%d", path, number);
        struct err e = add_line(list, where, line, callers, own);
        if (failed(e))
            return e;
    }
    return ERR_NONE;
}

/* A list of these lines, which it cuts up. */
static struct err list_of(char *text, const char *path, bool callers,
                          const struct key *own, struct principals **out)
{
    struct principals *list = calloc(1, sizeof *list);

    if (list == NULL)
        return err_memory();
    atomic_init(&list->shares, 1);
    struct err e = parse(list, path, text, callers, own);
    if (failed(e))
        principals_free(list);
    else
        *out = list;
    return e;
}

struct err principals_read(const char *path, bool callers, const struct key *own,
                           struct principals **out)
{
    char *text;
    struct err e = keys_file_load(path, false, KEYS_FILE_MAX, &text);

    if (failed(e))
        return e;
    e = list_of(text, path, callers, own, out);
    sodium_free(text);
    return e;
}

struct err principals_of_service(const char *name, const char *public_base64,
                                 const struct key *own, struct principals **out)
{
    char line[KEY_NAME_MAX + 2 * KEYS_BASE64_SIZE];

    if (strlen(public_base64) >= KEYS_BASE64_SIZE ||
        strpbrk(public_base64, "#\n") != NULL)
        return err_make(ERR_INVALID_ARGUMENT, "not a public key (44 characters of "
                                              "base64, as key new prints them)");
    snprintf(line, sizeof line, "%.*s %s", KEY_NAME_MAX, name, public_base64);
    return list_of(line, "the public key given", false, own, out);
}

void principals_free(struct principals *list)
{
    if (list == NULL || atomic_fetch_sub(&list->shares, 1) > 1)
        return;
    for (size_t i = 0; i < list->count; i++)
        clear(&list->entries[i]);
    free(list);
}

struct principals *principals_share(const struct principals *list)
{
    /* Only the count changes. */
    struct principals *shared = (struct principals *)(uintptr_t)list;

    atomic_fetch_add(&shared->shares, 1);
    return shared;
}

size_t principals_count(const struct principals *list)
{
    return list->count;
}

/* ---------------------------------------------------------- looking one up */

const uint8_t *principals_own(const struct principals *list)
{
    return list->own;
}

const uint8_t *principals_earlier_own(const struct principals *list)
{
    return list->earlier_own;
}

static const struct principal *find_from(const struct principals *list, size_t first,
                                         const char *name, size_t length)
{
    if (length == 0 || length > KEY_NAME_MAX)
        return NULL;
    for (size_t i = first; i < list->count; i++) {
        const struct principal *p = &list->entries[i];
        if (strlen(p->name) == length && memcmp(p->name, name, length) == 0)
            return p;
    }
    return NULL;
}

const struct principal *principals_find(const struct principals *list, const char *name,
                                        size_t length)
{
    return find_from(list, 0, name, length);
}

const struct principal *principals_find_next(const struct principals *list,
                                             const struct principal *p)
{
    return find_from(list, (size_t)(p - list->entries) + 1, p->name, strlen(p->name));
}

bool principal_may_call(const struct principal *caller, const char *method)
{
    for (size_t i = 0; i < caller->method_count; i++) {
        const char *pattern = caller->methods[i];
        size_t plain = strcspn(pattern, "*");
        if (pattern[plain] == '*' ? strncmp(pattern, method, plain) == 0
                                  : strcmp(pattern, method) == 0)
            return true;
    }
    return false;
}

bool principal_methods_valid(const char *methods)
{
    char copy[1024];
    struct principal p = {0};

    if (strlen(methods) >= sizeof copy - 128)
        return false;
    snprintf(copy, sizeof copy, "%s", methods);
    bool valid = take_methods(copy, &p);
    clear(&p);
    return valid;
}
