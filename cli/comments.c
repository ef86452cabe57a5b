/*
 * comments.c - what a .proto says beside its declarations; see schema_parts.h.
 *
 * protoc keeps comments apart from what they are about, under a path: {4, 2, 2, 0} is the
 * first field (2, 0) of the third message (4, 2) of a file.
 */
#include <stdlib.h>
#include <string.h>

#include "base/contract/ids.h"
#include "cli/schema_parts.h"

static int compare_paths(const int32_t *a, size_t a_length, const int32_t *b,
                         size_t b_length)
{
    for (size_t i = 0; i < a_length && i < b_length; i++)
        if (a[i] != b[i])
            return a[i] < b[i] ? -1 : 1;
    return (a_length > b_length) - (a_length < b_length);
}

static int compare_locations(const void *a, const void *b)
{
    const Descriptor__SourceCodeInfo__Location *l =
        *(const Descriptor__SourceCodeInfo__Location *const *)a;
    const Descriptor__SourceCodeInfo__Location *r =
        *(const Descriptor__SourceCodeInfo__Location *const *)b;

    return compare_paths(l->path, l->n_path, r->path, r->n_path);
}

struct err comments_read(const Descriptor__SourceCodeInfo *info, struct arena *arena,
                         struct comments *out)
{
    *out = (struct comments){.arena = arena};
    if (info == NULL || info->n_location == 0)
        return ERR_NONE;
    out->sorted =
        arena_copy(arena, info->location, info->n_location * sizeof *info->location);
    if (out->sorted == NULL)
        return err_memory();
    out->count = info->n_location;
    qsort(out->sorted, out->count, sizeof *out->sorted, compare_locations);
    return ERR_NONE;
}

/* Appends a comment's lines without the blank that follows their slashes. */
static size_t append(char *text, size_t used, const char *comment)
{
    while (comment != NULL && *comment != '\0') {
        comment += *comment == ' ';
        size_t line = strcspn(comment, "\n");
        memcpy(text + used, comment, line);
        used += line;
        text[used++] = '\n';
        comment += line;
        comment += *comment == '\n';
    }
    return used;
}

/* What a foreign comment could do to a terminal or to JSON: control characters become
 * '?', and all of a line that is not UTF-8. */
static void make_harmless(char *text)
{
    while (*text != '\0') {
        size_t length = strcspn(text, "\n");
        char end = text[length];
        text[length] = '\0';
        for (size_t i = 0; i < length; i++)
            if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
                text[i] = '?';
        if (!utf8_valid(text, length))
            memset(text, '?', length);
        text[length] = end;
        text += length + (end == '\n');
    }
}

const char *comments_find(const struct comments *comments, const int32_t *path,
                          size_t length)
{
    Descriptor__SourceCodeInfo__Location key =
        DESCRIPTOR__SOURCE_CODE_INFO__LOCATION__INIT;
    const Descriptor__SourceCodeInfo__Location *wanted = &key;

    key.path = (int32_t *)(uintptr_t)path;
    key.n_path = length;
    if (comments->count == 0)
        return "";
    Descriptor__SourceCodeInfo__Location *const *found =
        bsearch(&wanted, comments->sorted, comments->count, sizeof *comments->sorted,
                compare_locations);
    if (found == NULL)
        return "";
    const char *leading = (*found)->leading_comments;
    const char *trailing = (*found)->trailing_comments;
    size_t most = (leading != NULL ? strlen(leading) : 0) +
                  (trailing != NULL ? strlen(trailing) : 0) + 3;
    char *text = arena_alloc(comments->arena, most);
    if (text == NULL)
        return NULL;
    size_t used = append(text, append(text, 0, leading), trailing);
    while (used > 0 && text[used - 1] == '\n')
        used--;
    text[used] = '\0';
    make_harmless(text);
    return text;
}
