/*
 * base64.h - base64 that is read strictly: one text for each value, and nothing else passes.
 *
 * libsodium does the work.  Its reader of 1.0.18 takes any byte past 0x7f for the last letter
 * of the alphabet ('_' or '/'), so that a signature could be spelt in many ways; and it
 * refuses padding, white space and stray bits as we wish.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <sodium.h>

/*
 * Decodes `size` bytes of `text`; variant: a sodium_base64_VARIANT_....  False when it is
 * not base64 of that variant to its last byte, or more than `room` bytes; `out` is then
 * of no meaning.  Not for secrets whose letters must not show in the time it takes.
 */
static inline bool base64_decode(const char *text, size_t size, int variant, void *out,
                                 size_t room, size_t *out_size)
{
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)text[i] > 0x7f)
            return false;
    return sodium_base642bin(out, room, text, size, NULL, out_size, NULL, variant) == 0;
}
