/*
 * dead_letters.h - what operators see of, and do to, events that the bus refused
 * (letters.h): list, resend, drop.
 */
#pragma once

#include "db/db.h"
#include "proto/events.pb-c.h"
#include "rpc/service/request_context.h"

/* By position; `limit` 1 and up.  Changes nothing. */
void dead_letters_list(struct db *db, const struct request_context *ctx,
                       const Events__V1__ListDeadLettersRequest *request);

/* May be repeated: they are then tried from now on, and one that the bus has taken meanwhile
 * is none any more. */
void dead_letters_resend(struct db *db, const struct request_context *ctx,
                         const Events__V1__ResendDeadLettersRequest *request);

/* May be repeated.  `caller` is who does it, for the log; it must live until the answer. */
void dead_letters_drop(struct db *db, const struct request_context *ctx,
                       const char *caller,
                       const Events__V1__DropDeadLetterRequest *request);

/* Their kinds of operation. */
extern const struct db_kind DEAD_LETTERS_RESEND, DEAD_LETTERS_DROP;
