/*
 * cork.h - coalesces the output of one thread (TCP_CORK for anything that is flushed).
 *
 * When fifty operations commit at once, each sends its next message from its completion.
 * Between cork_begin and cork_end on that thread, senders defer their flush to the end,
 * and one message is sent for all.  Without a cork nothing is deferred: a lone request
 * goes at once.
 *
 * Only for stretches of code that never wait.
 */
#pragma once

#include <stdint.h>

/* Nest; the outermost end flushes, in the order of the first holds. */
void cork_begin(void);
void cork_end(void);

enum cork_result {
    CORK_NONE, /* no cork, or it is full: flush now, yourself */
    CORK_HELD, /* flush(arg) is deferred already */
    CORK_NEW,  /* flush(arg) will be called once, on this thread; arg must stay valid */
};

/* An id of the outermost cork that this thread is in, unique over all threads; 0:
 * none. */
uint64_t cork_id(void);

/* Defers flush(arg) to the end of this thread's cork. */
enum cork_result cork_hold(void (*flush)(void *arg), void *arg);
