/*
 * resend.h - dead letters that somebody wants sent after all.
 *
 *      STATE/NAME.resend     ids, a line each, or "*" for all; made by checkoutctl, which
 *                            leaves one that is there alone; gone when it was done
 *
 * Each goes from NAME.dead back to what is pending, as if it were new: it is tried at
 * once, and given up when it has been tried for as long again.  It is pending, on the
 * disk, before it leaves the list; whenever the process dies in between, it is in one of
 * them, or in both with the request still there.
 */
#pragma once

#include "webhook/pending.h"

/* Does what NAME.resend asks, if there is one.  What finds no room stays in both. */
struct err resend_asked(struct pending *pending) __attribute__((warn_unused_result));
