/*
 * cork.h - what comes about in one moment goes out together.
 *
 * Fifty operations commit at once, and each sends its next message from its completion.
 * Between cork_begin and cork_end of the thread that completes them, whoever sends puts it
 * off to the end and then sends one message for all.  Without a cork nothing waits: a
 * lone request goes at once.
 *
 * Only for stretches that never wait.
 */
#pragma once

#include <stdint.h>

/* Nest; the outermost end flushes, in the order of the first holds. */
void cork_begin(void);
void cork_end(void);

enum cork_answer {
    CORK_NONE, /* no cork, or no room: flush yourself, now */
    CORK_HELD, /* flush(arg) was held already: it will be called */
    CORK_NEW, /* flush(arg) will be called once, by this thread; arg must stay until then */
};

/* Names the outermost cork this thread is in; no two ever have the same, in any thread.  0:
 * there is none. */
uint64_t cork_moment(void);

/* Asks the thread's cork to call flush(arg) at its end. */
enum cork_answer cork_hold(void (*flush)(void *arg), void *arg);
