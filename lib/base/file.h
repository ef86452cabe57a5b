/* file.h - a small file, whole. */
#pragma once

#include <stddef.h>

#include "base/err.h"

/* Reads at most `most` bytes, to which a NUL is added; *bytes is the caller's to free,
 * NULL when failed.  INVALID_ARGUMENT names the file and what is wrong. */
struct err file_load(const char *path, size_t most, char **bytes, size_t *size)
    __attribute__((warn_unused_result));

/* The same for a secret: a file that others than its owner may read is refused. */
struct err file_load_private(const char *path, size_t most, char **bytes, size_t *size)
    __attribute__((warn_unused_result));
