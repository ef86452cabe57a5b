/*
 * nng_hangs.c - a library to preload: nng gives no connection back any more.
 *
 * That is what a connection of nng 1.5.2 does to its process that ends at the wrong moment
 * (lib/rpc/nng_defects/linger.c): the one thread that frees connections waits for ever.  Here it does so in
 * a process for which there is a file $NNG_HANGS_DIR/PROGRAM, which is deleted as it happens:
 * the callback that nng makes on that thread, before it frees a connection, does not return.
 */
#include <dlfcn.h>
#include <errno.h>
#include <nng/nng.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef int notify(nng_socket socket, nng_pipe_ev event, nng_pipe_cb callback, void *arg);

/* What was to be called; never freed, as nng may call it at any time. */
struct called {
    nng_pipe_cb callback;
    void *arg;
};

static void on_gone(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    const struct called *called = arg;
    const char *folder = getenv("NNG_HANGS_DIR");
    char path[512];

    snprintf(path, sizeof path, "%s/%s", folder == NULL ? "" : folder,
             program_invocation_short_name);
    called->callback(pipe, event, called->arg);
    if (unlink(path) == 0)
        for (;;)
            pause();
}

int nng_pipe_notify(nng_socket socket, nng_pipe_ev event, nng_pipe_cb callback, void *arg)
{
    notify *real = (notify *)dlsym(RTLD_NEXT, "nng_pipe_notify");

    if (event != NNG_PIPE_EV_REM_POST || callback == NULL)
        return real(socket, event, callback, arg);
    struct called *called = malloc(sizeof *called);
    if (called == NULL)
        return NNG_ENOMEM;
    *called = (struct called){callback, arg};
    return real(socket, event, on_gone, called);
}
