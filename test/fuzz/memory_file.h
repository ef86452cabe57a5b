/* memory_file.h - a file that is in memory only, for parsers that read files by path. */
#pragma once

#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz/fuzz.h"

struct memory_file {
    int fd;
    char path[32];
};

/* Closed with memory_file_close. */
static inline struct memory_file memory_file_open(const uint8_t *bytes, size_t size)
{
    struct memory_file file = {.fd = memfd_create("input", MFD_CLOEXEC)};

    assert(file.fd >= 0 && fchmod(file.fd, 0600) == 0);
    assert(write(file.fd, bytes, size) == (ssize_t)size);
    snprintf(file.path, sizeof file.path, "/proc/self/fd/%d", file.fd);
    return file;
}

static inline void memory_file_close(struct memory_file *file)
{
    close(file->fd);
}
