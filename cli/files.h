/* files.h - whole files in, whole files out. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "base/arena.h"
#include "base/err.h"

/*
 * Reads at most `most` bytes of a file ("-" is standard input) into the arena, followed
 * by a zero byte.  INVALID_ARGUMENT says why it could not.
 */
struct err file_read(const char *path, size_t most, struct arena *arena, char **out,
                     size_t *size) __attribute__((warn_unused_result));

/*
 * Writes a file atomically, also in case of a crash.  With `replace` it replaces an
 * existing file; without, an existing file gives ALREADY_EXISTS.
 */
struct err file_write(const char *path, const char *text, size_t size, mode_t mode,
                      bool replace) __attribute__((warn_unused_result));
