/*
 * operation.h - one statement of an RPC: it lives in the request's arena, has the request's
 * deadline, and ends in the request's reply.
 *
 *      operation_new --> operation_read  --+--> on_rows --> operation_finish
 *                    `-> operation_write --'
 *
 * A store function that needs more than this puts `struct operation` first in a struct of
 * its own; completions get a pointer to that.
 */
#pragma once

#include "db/db.h"
#include "rpc/service/request_context.h"

struct operation {
    struct db *db; /* borrowed */
    struct request_context ctx;
    union {
        struct db_query query;
        struct db_op op;
    };
};

/* Zeroed, of `size` bytes.  NULL when memory is short; the request is then already
 * answered. */
void *operation_new(struct db *db, const struct request_context *ctx, size_t size)
    __attribute__((warn_unused_result));

/* Reads.  The query has its name, types, rows, SQL and values; the rest is filled in. */
void operation_read(struct operation *operation, struct db_query query, db_done *done);

/* Writes.  The operation has its kind, head and, if it may be cancelled, `cancel`. */
void operation_write(struct operation *operation, struct db_op op, db_done *done);

/* Answers the request.  `reply` is ignored when `error` failed. */
void operation_finish(const struct operation *operation, struct err error,
                      const ProtobufCMessage *reply);
