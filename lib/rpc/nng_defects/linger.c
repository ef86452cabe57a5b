/* linger.c - see nng_defects.h: closing a socket in time. */
#include "rpc/nng_defects/nng_defects.h"

#include <pthread.h>
#include <stdbool.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

/* Several short waits: a process that was stopped (SIGSTOP) finds only one of them
 * over. */
enum { WAITS = 10, WAIT_MS = 1000 };

struct closing {
    nng_socket socket;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool closed;
};

static void *close_socket(void *arg)
{
    struct closing *closing = arg;

    nng_close(closing->socket);
    pthread_mutex_lock(&closing->lock);
    closing->closed = true;
    pthread_cond_signal(&closing->changed);
    pthread_mutex_unlock(&closing->lock);
    return NULL;
}

static bool wait_until_closed(struct closing *closing)
{
    pthread_mutex_lock(&closing->lock);
    for (int i = 0; i < WAITS && !closing->closed; i++) {
        int64_t deadline = clock_monotonic_ms() + WAIT_MS;
        while (!closing->closed &&
               clock_cond_wait(&closing->changed, &closing->lock, deadline))
            ;
    }
    bool closed = closing->closed;
    pthread_mutex_unlock(&closing->lock);
    return closed;
}

void close_in_time(nng_socket socket)
{
    struct closing closing = {.socket = socket, .lock = PTHREAD_MUTEX_INITIALIZER};
    pthread_t closer;

    clock_cond_init(&closing.changed);
    if (pthread_create(&closer, NULL, close_socket, &closing) != 0) {
        nng_close(socket);
    } else if (wait_until_closed(&closing)) {
        pthread_join(closer, NULL);
    } else {
        log_error("transport_hangs", "note=\"nng does not close a socket; the process "
                                     "exits, to be restarted\"");
        _exit(CLOSE_EXIT_HANGS);
    }
    pthread_cond_destroy(&closing.changed);
    pthread_mutex_destroy(&closing.lock);
}
