/* trace.c - see trace.h. */
#include "base/trace.h"

#include <sodium.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/ids.h"

bool trace_valid(const char *text)
{
    static const char PATTERN[] =
        "00-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx-xxxxxxxxxxxxxxxx-xx";

    if (strlen(text) != sizeof PATTERN - 1)
        return false;
    for (size_t i = 0; i < sizeof PATTERN - 1; i++)
        if (PATTERN[i] == 'x' ? strchr("0123456789abcdef", text[i]) == NULL
                              : text[i] != PATTERN[i])
            return false;
    return strspn(text + 3, "0") < 32 && strspn(text + 36, "0") < 16;
}

void trace_context(const char *given, char out[TRACEPARENT_SIZE])
{
    uint8_t random[24];

    if (given != NULL && trace_valid(given)) {
        memcpy(out, given, TRACEPARENT_SIZE);
        return;
    }
    random_take(random, sizeof random);
    random[0] |= 1; /* neither id may be all zeros */
    random[16] |= 1;
    memcpy(out, "00-", 3);
    sodium_bin2hex(out + 3, 33, random, 16);
    out[35] = '-';
    sodium_bin2hex(out + 36, 17, random + 16, 8);
    memcpy(out + 52, "-01", 4);
}
