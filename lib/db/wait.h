/*
 * wait.h - for chores on threads of their own: submit and wait for the answer.
 *
 * Never on an nng thread, a writer's or a reader's: those must not block.
 */
#pragma once

#include "db/db.h"

/*
 * Runs the query, or all the operations together (their done and arg are set here), and
 * calls on_rows(arg, rows) for each that succeeds, on the database's thread, before
 * returning.  Gives the first error.  Returns within the deadlines and a little.  on_rows
 * may be NULL.
 */
struct err db_read_wait(struct db *db, struct db_query *query,
                        void (*on_rows)(void *arg, const struct db_rows *rows), void *arg)
    __attribute__((warn_unused_result));
struct err db_submit_wait(struct db *db, struct db_op *ops, size_t count,
                          void (*on_rows)(void *arg, const struct db_rows *rows),
                          void *arg) __attribute__((warn_unused_result));
