/*
 * writer.h - the group-commit writer: one thread, one connection, many operations a COMMIT.
 *
 * Its promises are db.h's; this is their room.  Private to lib/db.
 */
#pragma once

#include "db/db.h"

struct writer;

struct err writer_start(const struct db_config *config, struct writer **out)
    __attribute__((warn_unused_result));
void writer_stop(struct writer *writer); /* NULL is allowed */
void writer_submit(struct writer *writer, struct db_op *op);
struct err writer_health(struct writer *writer) __attribute__((warn_unused_result));
