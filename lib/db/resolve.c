/* resolve.c - see resolve.h. */
#include "db/resolve.h"

#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"

struct lookup {
    char *name;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t finished;
    bool done;
    int owners; /* its thread, and whoever asked; the last to let go frees it */
    struct addresses found;
};

static void take_addresses(const struct addrinfo *list, struct addresses *out)
{
    for (; list != NULL && out->count < RESOLVE_MOST; list = list->ai_next)
        if (getnameinfo(list->ai_addr, list->ai_addrlen, out->text[out->count],
                        ADDRESS_SIZE, NULL, 0, NI_NUMERICHOST) == 0)
            out->count++;
    if (out->count == 0)
        out->problem = "it has no address";
}

static int resolve(const char *name, int flags, struct addresses *out)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags};
    struct addrinfo *list = NULL;

    *out = (struct addresses){.count = 0};
    int status = getaddrinfo(name, NULL, &hints, &list);
    if (status != 0) {
        out->problem = gai_strerror(status);
        return status;
    }
    take_addresses(list, out);
    freeaddrinfo(list);
    return 0;
}

bool resolve_numeric(const char *name, struct addresses *out)
{
    return resolve(name, AI_NUMERICHOST, out) == 0;
}

static void let_go(struct lookup *lookup)
{
    pthread_mutex_lock(&lookup->lock);
    bool last = --lookup->owners == 0;
    pthread_mutex_unlock(&lookup->lock);
    if (!last)
        return;
    pthread_cond_destroy(&lookup->finished);
    pthread_mutex_destroy(&lookup->lock);
    free(lookup->name);
    free(lookup);
}

static void *lookup_main(void *arg)
{
    struct lookup *lookup = arg;
    struct addresses found;

    resolve(lookup->name, 0, &found);
    pthread_mutex_lock(&lookup->lock);
    lookup->found = found;
    lookup->done = true;
    pthread_cond_signal(&lookup->finished);
    pthread_mutex_unlock(&lookup->lock);
    let_go(lookup);
    return NULL;
}

/* Detached, and deaf to signals, which are the others' to handle. */
static bool start_thread(struct lookup *lookup)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    pthread_t thread;

    if (pthread_attr_init(&attributes) != 0)
        return false;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(&thread, &attributes, lookup_main, lookup) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return started;
}

struct lookup *lookup_start(const char *name)
{
    struct lookup *lookup = calloc(1, sizeof *lookup);

    if (lookup == NULL)
        return NULL;
    pthread_mutex_init(&lookup->lock, NULL);
    clock_cond_init(&lookup->finished);
    lookup->owners = 1;
    lookup->name = strdup(name);
    if (lookup->name != NULL) {
        lookup->owners = 2;
        if (start_thread(lookup))
            return lookup;
        lookup->owners = 1;
    }
    let_go(lookup);
    return NULL;
}

const char *lookup_name(const struct lookup *lookup)
{
    return lookup->name;
}

bool lookup_wait(struct lookup *lookup, int64_t until_ms, struct addresses *out)
{
    pthread_mutex_lock(&lookup->lock);
    while (!lookup->done && clock_cond_wait(&lookup->finished, &lookup->lock, until_ms))
        ;
    bool done = lookup->done;
    if (done)
        *out = lookup->found;
    pthread_mutex_unlock(&lookup->lock);
    return done;
}

void lookup_drop(struct lookup *lookup)
{
    if (lookup != NULL)
        let_go(lookup);
}
