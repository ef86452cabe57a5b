/*
 * json.h - JSON in, and never half of it because memory was short.
 *
 * jansson's lexer drops a character, and says nothing, when it cannot grow its buffer.  Its
 * allocations are therefore watched, and a text that was read while one failed is not
 * believed.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

#include "base/err.h"

/* Once a process, before the first JSON: from then on allocations are watched. */
void json_memory_watch(void);

/*
 * Parses a whole text that repeats no name in an object; the caller frees `out`.
 * INVALID_ARGUMENT says where it is no JSON; RESOURCE_EXHAUSTED when memory was short.
 */
struct err json_parse(const char *bytes, size_t size, json_t **out)
    __attribute__((warn_unused_result));

/* The same of a file of our own, however large it is. */
struct err json_parse_file(FILE *file, json_t **out) __attribute__((warn_unused_result));
