/*
 * keys_file.h - the files of keys.h, read whole and appended to.
 *
 * What is read may be a secret, so it is only ever in sodium_malloc memory.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* The whole file as a string in guarded memory, for sodium_free; INVALID_ARGUMENT names
 * `path` when it is no regular file of text, or has 1 MiB or more. */
struct err keys_file_read(int fd, const char *path, char **out)
    __attribute__((warn_unused_result));

/* All of the text, where `fd` stands; false with errno. */
bool keys_file_append(int fd, const char *text, size_t size)
    __attribute__((warn_unused_result));
