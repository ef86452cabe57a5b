/*
 * cursors.h - how far consumers, the bus and the relay have come: Commit, GetLag, Replay, and
 * the operators' Reset and Delete.
 *
 * A cursor belongs to its caller: no consumer can move another's.  A commit moves it only
 * forward, so a repeated or late commit is safe.
 */
#pragma once

#include "db/db.h"
#include "proto/events.pb-c.h"
#include "rpc/service/request_context.h"

/* OUT_OF_RANGE for a position that no event has yet.  `caller` must live until the answer. */
void cursors_commit(struct db *db, const struct request_context *ctx, const char *caller,
                    const Events__V1__CommitRequest *request);

/* `has_bus`: whether one is configured; if not, nothing is reported as published. */
void cursors_lag(struct db *db, const struct request_context *ctx, bool has_bus);

/* Moves the bus's mark back; the publisher continues there.  OUT_OF_RANGE. */
void cursors_replay(struct db *db, const struct request_context *ctx,
                    const Events__V1__ReplayRequest *request);

/* For operators; both may be repeated.  NOT_FOUND, OUT_OF_RANGE. */
void cursors_reset(struct db *db, const struct request_context *ctx,
                   const Events__V1__ResetCursorRequest *request);
void cursors_delete(struct db *db, const struct request_context *ctx,
                    const Events__V1__DeleteCursorRequest *request);

/* Their kinds of operation. */
extern const struct db_kind CURSORS_COMMIT, CURSORS_REPLAY, CURSORS_RESET, CURSORS_DELETE;
