/* suggest.c - see suggest.h. */
#include "cli/schema/suggest.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { WORD_MAX = 64 }; /* bytes; of a longer word nothing is suggested */

struct suggestion suggest_start(const char *word, size_t length)
{
    size_t changes = length < 4 ? 1 : length < 9 ? 2 : length / 3;

    return (struct suggestion){.word = word, .length = length, .distance = changes + 1};
}

static size_t least(size_t a, size_t b, size_t c)
{
    size_t smaller = a < b ? a : b;

    return smaller < c ? smaller : c;
}

static bool same(char a, char b)
{
    return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/* Letters to insert, remove or replace (Levenshtein), whatever their case. */
static size_t distance(const char *a, size_t a_size, const char *b, size_t b_size)
{
    size_t row[WORD_MAX + 1];

    for (size_t i = 0; i <= b_size; i++)
        row[i] = i;
    for (size_t i = 0; i < a_size; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t k = 0; k < b_size; k++) {
            size_t above = row[k + 1];
            row[k + 1] = least(above + 1, row[k] + 1, diagonal + !same(a[i], b[k]));
            diagonal = above;
        }
    }
    return row[b_size];
}

void suggest_offer(struct suggestion *suggestion, const char *form, const char *name)
{
    size_t size = strlen(form);

    if (suggestion->length == 0 || suggestion->length > WORD_MAX || size > WORD_MAX)
        return;
    size_t found = distance(suggestion->word, suggestion->length, form, size);
    if (found >= suggestion->distance)
        return;
    suggestion->distance = found;
    suggestion->best = name;
}

const char *suggest_text(const struct suggestion *suggestion, const char *otherwise,
                         char out[SUGGEST_TEXT_SIZE])
{
    if (suggestion->best == NULL)
        return otherwise;
    snprintf(out, SUGGEST_TEXT_SIZE, "did you mean %.120s?", suggestion->best);
    return out;
}
