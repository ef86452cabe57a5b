/* process.c - see process.h. */
#include "base/program/process.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"

static void our_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
}

void process_start(void)
{
    const struct rlimit none = {0, 0};
    sigset_t set;

    umask(077);
    json_memory_watch();
    /* Ids and jitter come from libsodium's ChaCha20, seeded by the kernel: five system
     * calls fewer per order.  Keys are made by checkoutctl, directly from the kernel. */
    randombytes_set_implementation(&randombytes_internal_implementation);
    setrlimit(RLIMIT_CORE, &none);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* the limit does not bind a piped core_pattern */
    signal(SIGPIPE, SIG_IGN);
    our_signals(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

int process_wait_signal(void)
{
    sigset_t set;
    int signal_number = 0;

    our_signals(&set);
    while (sigwait(&set, &signal_number) != 0)
        ;
    return signal_number;
}

static void *end_late(void *arg)
{
    const int64_t *ms = arg;
    struct timespec left = {*ms / 1000, *ms % 1000 * 1000000};

    while (nanosleep(&left, &left) != 0)
        ;
    log_error("stop_timed_out",
              "after_ms=%" PRId64 " note=\"the shutdown hangs; everything that "
              "was acknowledged is durable\"",
              *ms);
    _exit(EXIT_FAILURE);
}

void process_end_within(int64_t ms)
{
    static int64_t kept_ms;
    pthread_t thread;

    kept_ms = ms;
    if (pthread_create(&thread, NULL, end_late, &kept_ms) == 0)
        pthread_detach(thread);
    else
        alarm((unsigned)(ms / 1000 + 1)); /* a failure, without a log line */
}

const char *version_text(void)
{
    return CHECKOUT_VERSION;
}
