/*
 * array.h - PostgreSQL arrays in their binary form, built into one reused buffer.
 *
 * Layout of a one-dimensional array: int32 dimensions, int32 has-nulls, int32 element
 * OID, int32 length, int32 lower bound, then each element as int32 size (-1: NULL) and
 * its bytes, all big-endian (array_recv in PostgreSQL's arrayfuncs.c).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "db/db.h"

/* A growing buffer.  Start zeroed; free(bytes) at the end. */
struct buffer {
    char *bytes;
    size_t size, room;
    bool failed; /* memory ran out once; nothing was added since */
};

/* Starts an array of `length` elements of db.h's letter. */
void array_begin(struct buffer *buffer, char type, size_t length);

/* Adds the next element. */
void array_add(struct buffer *buffer, char type, const struct db_value *value);
