/*
 * reader.h - a few threads for read-only queries, so that a slow query delays no order.
 *
 * Private to lib/db; the promises are db.h's.
 */
#pragma once

#include "db/db.h"

struct readers;

struct err readers_start(const struct db_config *config, struct readers **out)
    __attribute__((warn_unused_result));
void readers_stop(struct readers *readers); /* NULL is allowed */
void readers_submit(struct readers *readers, struct db_query *query);
