/* utf8.c - see utf8.h. */
#include "base/utf8.h"

size_t utf8_length(const unsigned char *at, size_t left)
{
    static const struct {
        unsigned char first, last, low, high; /* of the first byte; of the second */
        size_t length;
    } FORMS[] = {
        {0x00, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2},
        {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
        {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4},
        {0xf4, 0xf4, 0x80, 0x8f, 4},
    };

    for (size_t f = 0; f < sizeof FORMS / sizeof FORMS[0]; f++) {
        if (at[0] < FORMS[f].first || at[0] > FORMS[f].last)
            continue;
        size_t length = FORMS[f].length;
        if (length > left ||
            (length > 1 && (at[1] < FORMS[f].low || at[1] > FORMS[f].high)))
            return 0;
        for (size_t i = 2; i < length; i++)
            if (at[i] < 0x80 || at[i] > 0xbf)
                return 0;
        return length;
    }
    return 0;
}
