/* db.c - opening and closing, and reading the cells of a result. */
#include "db/db.h"

#include <assert.h>
#include <endian.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

#include "db/reader.h"
#include "db/writer.h"

struct db {
    struct writer *writer;
    struct readers *readers;
};

struct err db_open(const struct db_config *config, struct db **out)
{
    struct db *db = calloc(1, sizeof *db);

    if (db == NULL)
        return err_memory();
    struct err e = writer_start(config, &db->writer);
    if (!failed(e) && config->readers > 0)
        e = readers_start(config, &db->readers);
    if (failed(e)) {
        db_close(db);
        return e;
    }
    *out = db;
    return ERR_NONE;
}

void db_close(struct db *db)
{
    if (db == NULL)
        return;
    writer_stop(db->writer);
    readers_stop(db->readers);
    free(db);
}

struct err db_health(struct db *db)
{
    return writer_health(db->writer);
}

void db_submit(struct db *db, struct db_op *op)
{
    writer_submit(db->writer, op);
}

void db_read(struct db *db, struct db_query *query)
{
    assert(db->readers != NULL);
    readers_submit(db->readers, query);
}

static bool is_null(const struct db_rows *rows, int row, int column)
{
    return row < 0 || row >= rows->count ||
           PQgetisnull(rows->result, rows->first + row, column);
}

const char *db_text(const struct db_rows *rows, int row, int column)
{
    return is_null(rows, row, column)
               ? NULL
               : PQgetvalue(rows->result, rows->first + row, column);
}

size_t db_size(const struct db_rows *rows, int row, int column)
{
    return is_null(rows, row, column)
               ? 0
               : (size_t)PQgetlength(rows->result, rows->first + row, column);
}

int64_t db_number(const struct db_rows *rows, int row, int column)
{
    uint64_t wire;

    if (is_null(rows, row, column))
        return 0;
    assert(db_size(rows, row, column) == sizeof wire); /* the shape says so */
    memcpy(&wire, PQgetvalue(rows->result, rows->first + row, column), sizeof wire);
    return (int64_t)be64toh(wire);
}

bool db_bool(const struct db_rows *rows, int row, int column)
{
    return !is_null(rows, row, column) &&
           *PQgetvalue(rows->result, rows->first + row, column);
}
