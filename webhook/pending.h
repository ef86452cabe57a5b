/*
 * pending.h - one endpoint's files: events it has not received yet, and events given up.
 *
 *      STATE/NAME.pending  JSON, replaced atomically
 *      STATE/NAME.dead     the dead-letter list: one JSON line each, appended
 *      STATE/NAME.resend   ids of dead letters to send again, one a line, or "*" for all;
 *                          written by checkoutctl, removed when done
 *      STATE/NAME.gone     JSON: the receiver answered 410 Gone, when, and for which URL
 *                          (its hash, because a URL may be secret)
 *
 * An event is in the pending file, on disk, before the cursor passes it, so a crash loses
 * nothing.  The file is bounded: when it is full, no more events are read.
 *
 * `checkoutctl webhooks` (cli/commands/webhooks.c) reads and writes these files; change
 * both.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "webhook/endpoints.h"

enum { PENDING_MAX = 1000 };

struct delivery {
    int64_t position; /* of the event in the log */
    char *id, *order_id, *json;
    int64_t created_at_ms; /* when the event was created; Unix milliseconds */
    int64_t attempts;
    int64_t next_ms; /* time of the next attempt; Unix milliseconds */
};

struct pending {
    char path[512], dead_path[512];
    struct delivery items[PENDING_MAX]; /* by position */
    size_t count;
    bool changed; /* since it was saved */
};

/* Loads what an earlier process left.  DATA_LOSS if the file is damaged. */
struct err pending_open(struct pending *pending, const char *folder, const char *name)
    __attribute__((warn_unused_result));
void pending_close(struct pending *pending);

bool pending_has(const struct pending *pending, int64_t position);

/* Whether one of the first `count` deliveries is of that order. */
bool pending_has_order(const struct pending *pending, const char *order_id, size_t count);

/* Appends a copy.  RESOURCE_EXHAUSTED when full. */
struct err pending_add(struct pending *pending, const struct delivery *delivery)
    __attribute__((warn_unused_result));

void pending_remove(struct pending *pending, size_t i);

/* Writes the pending file, if anything changed. */
struct err pending_save(struct pending *pending) __attribute__((warn_unused_result));

/* Appends delivery `i` to the dead-letter list, on disk.  The caller then removes it from
 * pending: a crash in between leaves it in both. */
struct err pending_dead_letter(const struct pending *pending, size_t i,
                               const char *problem) __attribute__((warn_unused_result));

/*
 * Moves the dead letters requested by NAME.resend back to pending as if they were new:
 * due at once, and given up only after the full time.  Each is saved as pending before it
 * is removed from the list, so after a crash it is in one of them, or in both with the
 * request still there.  If pending is full, the others stay dead letters and the request
 * stays.
 */
struct err pending_resend(struct pending *pending) __attribute__((warn_unused_result));

/* Whether the endpoint is marked gone.  A mark for another URL is removed.  Safe to
 * repeat. */
struct err gone_check(const char *folder, const struct endpoint *endpoint, bool *gone)
    __attribute__((warn_unused_result));

/*
 * Marks the endpoint as gone, on disk: nothing more is sent to it until it has another
 * URL or an operator removes the file (checkoutctl webhooks resume).  Safe to repeat.
 * https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
 */
struct err gone_mark(const char *folder, const struct endpoint *endpoint)
    __attribute__((warn_unused_result));
