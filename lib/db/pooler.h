/*
 * pooler.h - whether a pooler gives a session's commands to one server process, or to any.
 *
 * In session mode a pooler is as good as the server.  In transaction or statement mode it lends
 * a session another server process each time: what was set and locked there stays with
 * somebody else, and an advisory lock is nobody's.  So that mode is refused, before anything
 * was set or locked.
 *
 * https://www.pgbouncer.org/features.html
 */
#pragma once

#include "db/conn.h"

/*
 * `pid` is the server process that served this connection before.  Asks for it again, and asks a
 * second connection: in transaction mode they are given each other's.  A pooler that has no
 * second one to give is believed.  UNAVAILABLE: transaction mode, or no answer in time.
 */
struct err pooler_detect(struct conn *conn, int pid, int64_t deadline_ms)
    __attribute__((warn_unused_result));

/* Whether this connection is served by `pid` still. */
struct err pooler_check(struct conn *conn, int pid, int64_t deadline_ms)
    __attribute__((warn_unused_result));
