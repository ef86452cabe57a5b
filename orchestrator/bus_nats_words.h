/* bus_nats_words.h - what libnats and the server say of a failure, in their own words. */
#pragma once

#include <nats/nats.h>

#include "base/err.h"

/*
 * Why this thread's last call of libnats ended with `status`: what the server said, where it
 * said something.  Lives until the thread's next call.  Never holds a URL.
 */
const char *nats_words(natsStatus status);

/* "NATS: WHAT: WORDS." */
struct err nats_unavailable(const char *what, natsStatus status)
    __attribute__((warn_unused_result));
