/*
 * fuzz.h - what the harnesses share: the bytes of one input, taken piece by piece.
 *
 * A harness is one file, NAME.c.  It gives an input to one parser the way the program
 * does, and asserts what the parser's header promises.  What it takes is always the exact
 * size of an allocation of its own, so that AddressSanitizer sees a read past its end.
 * Nothing is kept from one input to the next: a finding is repeated by its input alone.
 */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

/* libFuzzer's names. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

struct input {
    const uint8_t *at;
    size_t left;
};

/* 0 when there is none left. */
static inline uint8_t input_byte(struct input *in)
{
    if (in->left == 0)
        return 0;
    in->left--;
    return *in->at++;
}

/* The next `size` bytes, as many as there are; free them. */
static inline uint8_t *input_bytes(struct input *in, size_t size, size_t *out_size)
{
    *out_size = size < in->left ? size : in->left;
    uint8_t *bytes = malloc(*out_size > 0 ? *out_size : 1);

    assert(bytes != NULL);
    memcpy(bytes, in->at, *out_size);
    in->at += *out_size;
    in->left -= *out_size;
    return bytes;
}

/* All that is left; free it. */
static inline uint8_t *input_rest(struct input *in, size_t *out_size)
{
    return input_bytes(in, in->left, out_size);
}

/* A string up to the next `end`, a NUL or the end of the input; free it. */
static inline char *input_text(struct input *in, char end)
{
    size_t size = 0;

    while (size < in->left && in->at[size] != '\0' && in->at[size] != (uint8_t)end)
        size++;
    char *text = malloc(size + 1);
    assert(text != NULL);
    memcpy(text, in->at, size);
    text[size] = '\0';
    size += size < in->left;
    in->at += size;
    in->left -= size;
    return text;
}

/* Parsers that say why they refuse must say something, and end it. */
static inline void assert_refusal(struct err e)
{
    assert(failed(e) && e.code < ERR_CODES_COUNT);
    assert(strnlen(e.message, sizeof e.message) < sizeof e.message);
    assert(e.message[0] != '\0');
}
