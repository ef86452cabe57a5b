/* loop.c - see loop.h. */
#include "gateway/loop.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cork.h"
#include "gateway/certificates.h"
#include "gateway/receive.h"

struct loop {
    struct MHD_Daemon *daemon;
    struct certificates *certificates;
    int events; /* the daemon's epoll */
    int bell;   /* an eventfd, rung only for a loop that is asleep */
    pthread_t thread;
    atomic_bool asleep;    /* about to wait, or waiting */
    atomic_bool woken;     /* there is something to look at */
    atomic_bool quiescing; /* see loop_quiesce */
    atomic_bool ending;
};

/* How long the daemon may be left alone, in milliseconds; -1: until something comes. */
static int patience(struct MHD_Daemon *daemon)
{
    MHD_UNSIGNED_LONG_LONG wait_ms;

    if (MHD_get_timeout(daemon, &wait_ms) != MHD_YES)
        return -1;
    return wait_ms < INT_MAX ? (int)wait_ms : INT_MAX;
}

/*
 * Either we see `woken` here, or loop_wake sees `asleep` and rings: each side writes its
 * own flag before it reads the other's.
 */
static void sleep_until_needed(struct loop *loop)
{
    struct pollfd on[] = {{.fd = loop->events, .events = POLLIN},
                          {.fd = loop->bell, .events = POLLIN}};
    uint64_t rings;
    int wait_ms = patience(loop->daemon);

    if (wait_ms == 0)
        return;
    atomic_store(&loop->asleep, true);
    if (!atomic_load(&loop->woken))
        (void)poll(on, 2, wait_ms);
    atomic_store(&loop->asleep, false);
    if (on[1].revents != 0)
        (void)!read(loop->bell, &rings, sizeof rings);
}

static unsigned connections(struct MHD_Daemon *daemon)
{
    return MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS)
        ->num_connections;
}

/*
 * When all places were taken, libmicrohttpd looks for newcomers again only as it begins
 * to look; so it begins once more after connections have ended, before anybody sleeps.
 */
static void look(struct loop *loop)
{
    unsigned before;

    do {
        before = connections(loop->daemon);
        MHD_run(loop->daemon);
    } while (connections(loop->daemon) < before);
}

static void *run(void *arg)
{
    struct loop *loop = arg;

    receive_http(loop->certificates != NULL);
    certificates_show(loop->certificates);
    while (!atomic_load(&loop->ending)) {
        sleep_until_needed(loop);
        atomic_store(&loop->woken, false);
        if (atomic_exchange(&loop->quiescing, false))
            MHD_quiesce_daemon(loop->daemon);
        cork_begin(); /* the calls of all requests that came go together */
        look(loop);
        cork_end();
    }
    return NULL;
}

struct err loop_start(struct MHD_Daemon *daemon, struct certificates *certificates,
                      struct loop **out)
{
    struct loop *loop = *out = calloc(1, sizeof *loop);

    if (loop == NULL)
        return err_memory();
    loop->daemon = daemon;
    loop->certificates = certificates;
    loop->events = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    loop->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int status = loop->bell < 0 ? errno : pthread_create(&loop->thread, NULL, run, loop);
    if (status == 0)
        return ERR_NONE;
    if (loop->bell >= 0)
        close(loop->bell);
    free(loop);
    *out = NULL;
    return err_make(ERR_RESOURCE_EXHAUSTED,
                    "cannot start the thread that serves HTTP: %s", strerror(status));
}

static void ring(void *arg)
{
    struct loop *loop = arg;
    const uint64_t one = 1;

    atomic_store(&loop->woken, true);
    if (atomic_exchange(&loop->asleep, false))
        (void)!write(loop->bell, &one, sizeof one);
}

void loop_wake(struct loop *loop)
{
    if (cork_hold(ring, loop) == CORK_NONE)
        ring(loop);
}

void loop_quiesce(struct loop *loop)
{
    atomic_store(&loop->quiescing, true);
    loop_wake(loop);
}

void loop_stop(struct loop *loop)
{
    if (loop == NULL)
        return;
    atomic_store(&loop->ending, true);
    loop_wake(loop);
    pthread_join(loop->thread, NULL);
    close(loop->bell);
    free(loop);
}
