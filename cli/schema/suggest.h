/*
 * suggest.h - the name that was meant by one that is not there.
 *
 * Near: differs in case, or in few letters (one or two; a third of a longer word).
 */
#pragma once

#include <stddef.h>

struct suggestion {
    const char *word; /* as it was given */
    size_t length;    /* of it, in bytes */
    const char *best; /* the nearest so far; NULL: none is near */
    size_t distance;  /* of it: letters to change */
};

struct suggestion suggest_start(const char *word, size_t length);

/* Takes note of a name; `name` is what is suggested when `form` of it is near. */
void suggest_offer(struct suggestion *suggestion, const char *form, const char *name);

enum { SUGGEST_TEXT_SIZE = 160 };

/* The end of a sentence: "did you mean NAME?", or `otherwise` when none was near. */
const char *suggest_text(const struct suggestion *suggestion, const char *otherwise,
                         char out[SUGGEST_TEXT_SIZE]);
