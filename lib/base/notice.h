/*
 * notice.h - a thread that looks at files when they may have changed, and else rests.
 *
 *      at rest --a folder of theirs changed, or asked--> look --settled--> at rest
 *                                                         ^  |not yet
 *                                                         +--+ after settle_ms
 *
 * The kernel tells of changes (inotify) in the folder that a path names and in the one that
 * it leads to through links, as Kubernetes mounts its files.  What it does not tell (a
 * network file system, a limit of the system) is found by looking now and then.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
    NOTICE_PATHS_MAX = 3,
    NOTICE_REST_MS = 30000, /* between two looks at rest */
    NOTICE_BLIND_MS = 1000, /* likewise, where there is no inotify */
};

struct notice;

struct notice_config {
    const char *name;                    /* of the thread, at most 15 bytes */
    const char *paths[NOTICE_PATHS_MAX]; /* borrowed; NULL: none */
    int64_t settle_ms;                   /* least time between two looks */
    /* On the thread.  `asked`: by notice_ask, so it is to tell what it finds, even if that is
     * nothing new.  True: look again after settle_ms, the files are not done with. */
    bool (*look)(void *arg, bool asked);
    void *arg;
};

/* Takes the files as they are for seen: the first look is at a change. */
struct err notice_start(const struct notice_config *config, struct notice **out)
    __attribute__((warn_unused_result));

/* Has it look at once.  Any thread; waits for nothing.  NULL is allowed. */
void notice_ask(struct notice *notice);

/* Waits for a look under way.  NULL is allowed. */
void notice_stop(struct notice *notice);
