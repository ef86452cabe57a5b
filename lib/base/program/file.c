/* file.c - see file.h. */
#include "base/program/file.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- reading ---- */

static struct err read_all(FILE *file, const char *path, size_t most, char *bytes,
                           size_t *size)
{
    errno = 0;
    *size = fread(bytes, 1, most + 1, file);
    if (ferror(file))
        return err_make(ERR_INVALID_ARGUMENT, "cannot read %s: %s", path,
                        strerror(errno));
    if (*size > most)
        return err_make(ERR_INVALID_ARGUMENT, "%s is longer than %zu bytes", path, most);
    bytes[*size] = '\0';
    return ERR_NONE;
}

static struct err check_private(FILE *file, const char *path)
{
    struct stat status;

    if (fstat(fileno(file), &status) == 0 &&
        (S_ISDIR(status.st_mode) || (status.st_mode & 077) == 0))
        return ERR_NONE; /* reading refuses a folder */
    return err_make(ERR_INVALID_ARGUMENT, "%s can be read by others; chmod 600 it", path);
}

static struct err load(const char *path, bool private, size_t most, char **bytes,
                       size_t *size)
{
    FILE *file = fopen(path, "re");

    *bytes = NULL;
    if (file == NULL)
        return err_make(ERR_INVALID_ARGUMENT, "cannot open %s: %s", path,
                        strerror(errno));
    setvbuf(file, NULL, _IONBF,
            0); /* the content may be secret: leave no copy in a buffer */
    struct err e = private ? check_private(file, path) : ERR_NONE;
    if (!failed(e))
        *bytes = malloc(most + 1);
    if (!failed(e))
        e = *bytes == NULL ? err_memory() : read_all(file, path, most, *bytes, size);
    fclose(file);
    if (failed(e) && *bytes != NULL) {
        sodium_memzero(*bytes, most + 1);
        free(*bytes);
        *bytes = NULL;
    }
    return e;
}

struct err file_load(const char *path, size_t most, char **bytes, size_t *size)
{
    return load(path, false, most, bytes, size);
}

struct err file_load_private(const char *path, size_t most, char **bytes, size_t *size)
{
    return load(path, true, most, bytes, size);
}

/* ---- watching ---- */

/* A file is replaced, or closed after writing; not each write. */
static const uint32_t CHANGES = IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE |
                                IN_CLOSE_WRITE | IN_ATTRIB | IN_DELETE_SELF |
                                IN_MOVE_SELF;

struct file_watch {
    struct file_watch_config config;
    pthread_t thread;
    int inotify; /* -1: not available */
    int wake_fd; /* an eventfd */
    atomic_bool asked, stopping;
};

static void watch_folder(const struct file_watch *w, const char *path)
{
    char copy[PATH_MAX];

    snprintf(copy, sizeof copy, "%s", path);
    (void)inotify_add_watch(w->inotify, dirname(copy), CHANGES);
}

/* Repeated before each look: a folder may have been replaced. */
static void watch_folders(const struct file_watch *w)
{
    char real[PATH_MAX];

    for (size_t i = 0; i < FILE_WATCH_PATHS_MAX && w->inotify >= 0; i++) {
        if (w->config.paths[i] == NULL)
            continue;
        watch_folder(w, w->config.paths[i]);
        if (realpath(w->config.paths[i], real) != NULL)
            watch_folder(w, real);
    }
}

static void drain_fd(int fd)
{
    char bytes[4096] __attribute__((aligned(8)));

    while (read(fd, bytes, sizeof bytes) > 0)
        ;
}

/* Until something may have changed or a check is requested.  Then settle_ms pass before
 * the look, so a busy folder costs little. */
static void wait_for_change(const struct file_watch *w, bool again)
{
    const int poll_ms = w->inotify >= 0 ? FILE_WATCH_POLL_MS : FILE_WATCH_BLIND_POLL_MS;
    struct pollfd fds[] = {{.fd = w->wake_fd, .events = POLLIN},
                           {.fd = w->inotify, .events = POLLIN}};

    bool changed = !again && poll(fds, 2, poll_ms) > 0; /* poll ignores a negative fd */
    if (again || changed)
        (void)poll(fds, 1, (int)w->config.settle_ms);
    drain_fd(w->wake_fd);
    if (w->inotify >= 0)
        drain_fd(w->inotify);
}

static void *run(void *arg)
{
    struct file_watch *w = arg;
    bool again = false;

    for (;;) {
        wait_for_change(w, again);
        if (atomic_load(&w->stopping))
            return NULL;
        watch_folders(w);
        again = w->config.look(w->config.arg, atomic_exchange(&w->asked, false));
    }
}

static void free_watch(struct file_watch *w)
{
    if (w->inotify >= 0)
        close(w->inotify);
    if (w->wake_fd >= 0)
        close(w->wake_fd);
    free(w);
}

struct err file_watch_start(const struct file_watch_config *config,
                            struct file_watch **out)
{
    struct file_watch *w = calloc(1, sizeof *w);

    if (w == NULL)
        return err_memory();
    w->config = *config;
    w->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    w->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    watch_folders(w);
    if (w->wake_fd < 0 || pthread_create(&w->thread, NULL, run, w) != 0) {
        free_watch(w);
        return err_make(ERR_RESOURCE_EXHAUSTED, "Cannot start the thread %s.",
                        config->name);
    }
    pthread_setname_np(w->thread, config->name);
    *out = w;
    return ERR_NONE;
}

static void wake(const struct file_watch *w)
{
    const uint64_t one = 1;

    (void)!write(w->wake_fd, &one, sizeof one);
}

void file_watch_check(struct file_watch *w)
{
    if (w == NULL)
        return;
    atomic_store(&w->asked, true);
    wake(w);
}

void file_watch_stop(struct file_watch *w)
{
    if (w == NULL)
        return;
    atomic_store(&w->stopping, true);
    wake(w);
    pthread_join(w->thread, NULL);
    free_watch(w);
}
