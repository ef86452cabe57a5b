/* utf8.h - where one character of UTF-8 ends.  RFC 3629 */
#pragma once

#include <stddef.h>

/* How many bytes the well-formed character at `at` has, of which `left` (at least 1) may be
 * read; 0 when it is not one.  Overlong forms and surrogates are none. */
size_t utf8_length(const unsigned char *at, size_t left);
