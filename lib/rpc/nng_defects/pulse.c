/* pulse.c - see pulse.h. */
#include "rpc/nng_defects/pulse.h"

#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <stdlib.h>

#include "rpc/nng_defects/watch.h"

/* Known in this process alone. */
static const char URL[] = "inproc://pulse";

struct pulse {
    nng_socket socket;
    struct watch *watch;
};

struct err pulse_start(struct pulse **out)
{
    struct pulse *pulse = calloc(1, sizeof *pulse);

    if (pulse == NULL)
        return err_memory();
    int rv = nng_rep0_open(&pulse->socket);
    if (rv != 0) {
        free(pulse);
        return err_make(ERR_UNAVAILABLE, "no socket to watch nng by: %s",
                        nng_strerror(rv));
    }
    struct err e = watch_start(pulse->socket, URL, &(struct tls_files){0}, &pulse->watch);
    if (failed(e))
        pulse_stop(pulse);
    else
        *out = pulse;
    return e;
}

void pulse_stop(struct pulse *pulse)
{
    if (pulse == NULL)
        return;
    watch_stop(pulse->watch);
    nng_close(pulse->socket);
    watch_free(pulse->watch);
    free(pulse);
}
