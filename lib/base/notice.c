/* notice.c - see notice.h. */
#include "base/notice.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

/* What makes a file another, or ends a writing of it; not each write. */
static const uint32_t CHANGES = IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE |
                                IN_CLOSE_WRITE | IN_ATTRIB | IN_DELETE_SELF |
                                IN_MOVE_SELF;

struct notice {
    struct notice_config config;
    pthread_t thread;
    int changes; /* of inotify; -1: there is none */
    int asks;    /* an eventfd */
    atomic_bool asked, stopping;
};

static void watch_folder(const struct notice *n, const char *path)
{
    char copy[PATH_MAX];

    snprintf(copy, sizeof copy, "%s", path);
    (void)inotify_add_watch(n->changes, dirname(copy), CHANGES);
}

/* Again before each look: a folder may be another than it was. */
static void watch_folders(const struct notice *n)
{
    char real[PATH_MAX];

    for (size_t i = 0; i < NOTICE_PATHS_MAX && n->changes >= 0; i++) {
        if (n->config.paths[i] == NULL)
            continue;
        watch_folder(n, n->config.paths[i]);
        if (realpath(n->config.paths[i], real) != NULL)
            watch_folder(n, real);
    }
}

static void empty(int fd)
{
    char bytes[4096] __attribute__((aligned(8)));

    while (read(fd, bytes, sizeof bytes) > 0)
        ;
}

/* Until something may have changed, or it is asked.  What changes is let settle before it is
 * looked at, so a busy folder costs little. */
static void rest(const struct notice *n, bool again)
{
    const int rest_ms = n->changes >= 0 ? NOTICE_REST_MS : NOTICE_BLIND_MS;
    struct pollfd fds[] = {{.fd = n->asks, .events = POLLIN},
                           {.fd = n->changes, .events = POLLIN}};

    bool changed = !again && poll(fds, 2, rest_ms) > 0; /* a negative fd is overlooked */
    if (again || changed)
        (void)poll(fds, 1, (int)n->config.settle_ms);
    empty(n->asks);
    if (n->changes >= 0)
        empty(n->changes);
}

static void *run(void *arg)
{
    struct notice *n = arg;
    bool again = false;

    for (;;) {
        rest(n, again);
        if (atomic_load(&n->stopping))
            return NULL;
        watch_folders(n);
        again = n->config.look(n->config.arg, atomic_exchange(&n->asked, false));
    }
}

static void free_notice(struct notice *n)
{
    if (n->changes >= 0)
        close(n->changes);
    if (n->asks >= 0)
        close(n->asks);
    free(n);
}

struct err notice_start(const struct notice_config *config, struct notice **out)
{
    struct notice *n = calloc(1, sizeof *n);

    if (n == NULL)
        return err_memory();
    n->config = *config;
    n->changes = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    n->asks = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    watch_folders(n);
    if (n->asks < 0 || pthread_create(&n->thread, NULL, run, n) != 0) {
        free_notice(n);
        return err_make(ERR_RESOURCE_EXHAUSTED, "Cannot start the thread %s.",
                        config->name);
    }
    pthread_setname_np(n->thread, config->name);
    *out = n;
    return ERR_NONE;
}

static void wake(const struct notice *n)
{
    const uint64_t one = 1;

    (void)!write(n->asks, &one, sizeof one);
}

void notice_ask(struct notice *n)
{
    if (n == NULL)
        return;
    atomic_store(&n->asked, true);
    wake(n);
}

void notice_stop(struct notice *n)
{
    if (n == NULL)
        return;
    atomic_store(&n->stopping, true);
    wake(n);
    pthread_join(n->thread, NULL);
    free_notice(n);
}
