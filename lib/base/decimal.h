/* decimal.h - a number in decimal digits, without printf: for what is written very often. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { DECIMAL_SIZE = 20 }; /* of an int64_t, with its sign */

/* Writes the number at the end of `out`, without a NUL; gives where it begins. */
static inline size_t decimal_write(int64_t number, char out[DECIMAL_SIZE])
{
    uint64_t left = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    size_t first = DECIMAL_SIZE;

    do {
        out[--first] = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (number < 0)
        out[--first] = '-';
    return first;
}
