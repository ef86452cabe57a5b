/*
 * slow_signals.c - preloaded into a program: each time it sets its signal mask it takes a
 * while, so that what may happen just then does.
 */
#include <dlfcn.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

int sigprocmask(int how, const sigset_t *restrict set, sigset_t *restrict old)
{
    static int (*real)(int, const sigset_t *, sigset_t *);

    if (real == NULL) {
        void *found = dlsym(RTLD_NEXT, "sigprocmask");
        memcpy(&real, &found, sizeof real);
    }
    int result = real(how, set, old);
    if (how == SIG_SETMASK)
        usleep(2000);
    return result;
}
