/* follow.c - see follow.h. */
#include "rpc/auth/follow.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/program/file.h"

/* What tells one state of a file from another without reading it. */
struct look {
    int error; /* errno, when it cannot be looked at */
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec changed;
};

struct follow {
    struct follow_config config;
    pthread_mutex_t lock;
    struct key *key; /* a share; under the lock */
    struct look used, last;
    struct file_watch *notice;
};

static struct look look_at(const char *path)
{
    struct look look;
    struct stat info;

    memset(&look, 0, sizeof look); /* compared as bytes */
    if (stat(path, &info) != 0) {
        look.error = errno;
        return look;
    }
    look.device = info.st_dev;
    look.inode = info.st_ino;
    look.size = info.st_size;
    look.changed = info.st_mtim;
    return look;
}

static bool same(const struct look *a, const struct look *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

static struct key *share_key(struct follow *follow)
{
    pthread_mutex_lock(&follow->lock);
    struct key *key = key_share(follow->key);
    pthread_mutex_unlock(&follow->lock);
    return key;
}

static void read_again(struct follow *follow)
{
    const struct follow_config *config = &follow->config;
    struct peers *peers = NULL;
    struct key *key = share_key(follow);
    struct err e = peers_read(config->path, config->callers, key, &peers);

    key_free(key);
    if (!failed(e))
        e = config->use(config->arg, peers);
    if (failed(e))
        log_line(LOG_ERROR, "list_not_read_again",
                 "path=%s error=%s note=\"the last one stays\"", config->path, e.message);
    else
        log_info("list_read_again", "path=%s entries=%zu", config->path,
                 peers_count(peers));
    peers_free(peers);
}

static bool look(void *arg, bool asked)
{
    struct follow *follow = arg;
    struct look now = look_at(follow->config.path);
    bool changed = !same(&now, &follow->used), still = same(&now, &follow->last);

    follow->last = now;
    if (!asked && !(changed && still))
        return changed;
    follow->used = now;
    read_again(follow);
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
    follow->used = follow->last = look_at(config->path);
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
