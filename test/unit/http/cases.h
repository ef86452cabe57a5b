/* cases.h - bytes with NULs in them as rows of a table, and reasons by their names. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/parse.h"

/* A literal and its size, without the NUL behind it. */
#define BYTES(literal) literal, sizeof(literal) - 1

static inline const char *reason_name(enum http_reason reason)
{
    static const char *const NAMES[HTTP_REASONS_COUNT] = {[HTTP_OK] = "OK",
                                                          [HTTP_MORE] = "MORE",
#define X(name, status, ends, sentence, limit) [HTTP_##name] = #name,
                                                          HTTP_REASONS(X)
#undef X
    };

    return NAMES[reason];
}

/* A copy of exactly that size, so that AddressSanitizer sees a read past its end; free
 * it. */
static inline char *exact(const char *bytes, size_t size)
{
    char *copy = malloc(size > 0 ? size : 1);

    assert_non_null(copy);
    memcpy(copy, bytes, size);
    return copy;
}
