/* operation.c - see operation.h. */
#include "orchestrator/store/operation.h"

void *operation_new(struct db *db, const struct request_context *ctx, size_t size)
{
    struct operation *operation = arena_alloc(ctx->arena, size);

    if (operation == NULL) {
        ctx->done(ctx->arg, err_memory(), NULL);
        return NULL;
    }
    operation->db = db;
    operation->ctx = *ctx;
    return operation;
}

void operation_read(struct operation *operation, struct db_query query, db_done *done)
{
    const struct request_context *ctx = &operation->ctx;

    query.deadline_ms = ctx->deadline_ms;
    query.cancel = ctx->cancel;
    query.request = ctx->request;
    query.order = ctx->order;
    query.done = done;
    query.arg = operation;
    operation->query = query;
    db_read(operation->db, &operation->query);
}

void operation_write(struct operation *operation, struct db_op op, db_done *done)
{
    op.deadline_ms = operation->ctx.deadline_ms;
    op.request = operation->ctx.request;
    op.order = operation->ctx.order;
    op.done = done;
    op.arg = operation;
    operation->op = op;
    db_submit(operation->db, &operation->op);
}

void operation_finish(const struct operation *operation, struct err error,
                      const ProtobufCMessage *reply)
{
    operation->ctx.done(operation->ctx.arg, error, failed(error) ? NULL : reply);
}
