/*
 * json.h - parsing JSON, safe when memory is short.
 *
 * jansson's lexer silently drops a character when it cannot grow its buffer.  Allocations
 * are therefore observed, and a text is rejected if one failed while it was parsed.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

#include "base/err.h"

/* Installs the observing allocator.  Once per process, before the first JSON. */
void json_memory_watch(void);

/* Parses a whole text in which no object repeats a name; the caller frees `out`.
 * INVALID_ARGUMENT says where the text is malformed; RESOURCE_EXHAUSTED: memory was
 * short. */
struct err json_parse(const char *bytes, size_t size, json_t **out)
    __attribute__((warn_unused_result));

/* The same for a trusted file of any size. */
struct err json_parse_file(FILE *file, json_t **out) __attribute__((warn_unused_result));
