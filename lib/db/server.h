/*
 * server.h - what a promise rests on and no session can set (settings.h has the rest).
 *
 * A server that may forget or garble what it acknowledged (fsync off, and the like) is
 * refused by the migrator and warned of by services, which must go on serving what is there.
 * A pooler in transaction mode is refused by all.
 */
#pragma once

#include "db/conn.h"

/*
 * For a new connection, on which nothing was set yet.  A migrator is told with
 * FAILED_PRECONDITION what is not as it must be, where it is set, and what to do; for the writer
 * it is one line in the log, event database_unsafe.  UNAVAILABLE: a pooler in transaction
 * mode, or the connection was lost.
 */
struct err server_check(struct conn *conn, int64_t deadline_ms)
    __attribute__((warn_unused_result));
