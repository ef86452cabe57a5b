/* main.c - checkoutctl: what is common to all commands is in cli.c. */
#include <signal.h>
#include <sodium.h>

#include "base/log.h"
#include "cli/cli.h"

int main(int argc, char **argv)
{
    /* A closed pipe is an error to report, not a reason to vanish. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP,
           SIG_IGN); /* what runs goes on; a terminal that is gone ends its output */
    log_start("checkoutctl", LOG_ERROR);
    if (sodium_init() < 0) {
        fprintf(stderr, "checkoutctl: no source of random numbers on this system\n");
        return EXIT_LOCAL;
    }
    return cli_main(argc, argv, stdout, stderr);
}
