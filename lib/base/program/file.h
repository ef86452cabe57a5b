/*
 * file.h - small files: read one whole, or watch a few for changes.
 *
 * A watch is a thread that calls `look` when its files may have changed:
 *
 *      idle --a folder of the files changed, or file_watch_check--> look --done--> idle
 *                                                                   ^  |not settled
 *                                                                   +--+ after settle_ms
 *
 * inotify reports changes in the folder that a path names and in the one that it resolves
 * to through links, as Kubernetes mounts its files.  Changes that it does not report (a
 * network file system, a system limit) are found by polling.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Reads at most `most` bytes and appends a NUL; *bytes is the caller's to free, NULL when
 * failed.  INVALID_ARGUMENT names the file and what is wrong. */
struct err file_load(const char *path, size_t most, char **bytes, size_t *size)
    __attribute__((warn_unused_result));

/* The same for a secret: a file that others than its owner may read is refused. */
struct err file_load_private(const char *path, size_t most, char **bytes, size_t *size)
    __attribute__((warn_unused_result));

enum {
    FILE_WATCH_PATHS_MAX = 3,
    FILE_WATCH_POLL_MS = 30000,      /* between two looks when idle */
    FILE_WATCH_BLIND_POLL_MS = 1000, /* the same where inotify is not available */
};

struct file_watch;

struct file_watch_config {
    const char *name;                        /* of the thread, at most 15 bytes */
    const char *paths[FILE_WATCH_PATHS_MAX]; /* borrowed; NULL: none */
    int64_t settle_ms;                       /* least time between two looks */
    /* Called on the thread.  `asked`: file_watch_check requested it, so the result is to
     * be logged even if nothing changed.  Returns true to be called again after
     * settle_ms, as the files have not settled. */
    bool (*look)(void *arg, bool asked);
    void *arg;
};

/* The present state of the files counts as seen: `look` is first called after a
 * change. */
struct err file_watch_start(const struct file_watch_config *config,
                            struct file_watch **out) __attribute__((warn_unused_result));

/* Requests a look at once.  Any thread; never waits.  NULL is allowed. */
void file_watch_check(struct file_watch *watch);

/* Waits for a look under way, then ends the thread.  NULL is allowed. */
void file_watch_stop(struct file_watch *watch);
