/*
 * suggest.h - suggests a similar name for an unknown one.
 *
 * Near: differs in case, or in few letters (one or two; a third of a longer word).
 */
#pragma once

#include <stddef.h>

struct suggestion {
    const char *word; /* the unknown name */
    size_t length;    /* of it, in bytes */
    const char *best; /* the nearest so far; NULL: none is near */
    size_t distance;  /* of it: letters to change */
};

struct suggestion suggest_start(const char *word, size_t length);

/* Adds a candidate; `name` is suggested when its spelling `form` is near. */
void suggest_offer(struct suggestion *suggestion, const char *form, const char *name);

enum { SUGGEST_TEXT_SIZE = 160 };

/* The end of a sentence: "did you mean NAME?", or `otherwise` when none was near. */
const char *suggest_text(const struct suggestion *suggestion, const char *otherwise,
                         char out[SUGGEST_TEXT_SIZE]);
