/* reload_lists.c - see reload.h. */
#include "rpc/auth/reload.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/program/file.h"

/* Tells whether a file was changed or replaced, without reading it. */
struct file_state {
    int error; /* errno, when it cannot be looked at */
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec changed;
};

struct follow {
    struct follow_config config;
    pthread_mutex_t lock;
    struct key *key; /* a reference; under the lock */
    struct file_state used, last;
    struct file_watch *notice;
};

static struct file_state state_of(const char *path)
{
    struct file_state state;
    struct stat info;

    memset(&state, 0, sizeof state); /* compared as bytes */
    if (stat(path, &info) != 0) {
        state.error = errno;
        return state;
    }
    state.device = info.st_dev;
    state.inode = info.st_ino;
    state.size = info.st_size;
    state.changed = info.st_mtim;
    return state;
}

static bool same(const struct file_state *a, const struct file_state *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

static void read_list(struct follow *follow)
{
    const struct follow_config *config = &follow->config;
    struct principals *list = NULL;

    pthread_mutex_lock(&follow->lock);
    struct key *key = key_share(follow->key);
    pthread_mutex_unlock(&follow->lock);
    struct err e = principals_read(config->path, config->callers, key, &list);
    key_free(key);
    if (!failed(e))
        e = config->use(config->arg, list);
    if (failed(e))
        log_line(LOG_ERROR, "list_reload_failed",
                 "path=%s error=%s note=\"the previous list stays in use\"", config->path,
                 e.message);
    else
        log_info("list_reloaded", "path=%s entries=%zu", config->path,
                 principals_count(list));
    principals_free(list);
}

static bool look(void *arg, bool asked)
{
    struct follow *follow = arg;
    struct file_state now = state_of(follow->config.path);
    bool changed = !same(&now, &follow->used), still = same(&now, &follow->last);

    follow->last = now;
    if (!asked && !(changed && still))
        return changed;
    follow->used = now;
    read_list(follow);
    return false;
}

static void free_follow(struct follow *follow)
{
    key_free(follow->key);
    pthread_mutex_destroy(&follow->lock);
    free(follow);
}

struct err follow_start(const struct follow_config *config, struct follow **out)
{
    struct follow *follow = calloc(1, sizeof *follow);

    if (follow == NULL)
        return err_memory();
    follow->config = *config;
    follow->config.key = NULL;
    follow->key = key_share(config->key);
    pthread_mutex_init(&follow->lock, NULL);
    follow->used = follow->last = state_of(config->path);
    struct err e =
        file_watch_start(&(struct file_watch_config){.name = "follow",
                                                     .paths = {config->path},
                                                     .settle_ms = config->settle_ms,
                                                     .look = look,
                                                     .arg = follow},
                         &follow->notice);
    if (failed(e))
        free_follow(follow);
    else
        *out = follow;
    return e;
}

void follow_now(struct follow *follow, const struct key *key)
{
    if (follow == NULL)
        return;
    struct key *share = key_share(key);
    pthread_mutex_lock(&follow->lock);
    struct key *before = follow->key;
    follow->key = share;
    pthread_mutex_unlock(&follow->lock);
    key_free(before);
    file_watch_check(follow->notice);
}

void follow_stop(struct follow *follow)
{
    if (follow == NULL)
        return;
    file_watch_stop(follow->notice);
    free_follow(follow);
}
