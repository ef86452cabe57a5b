/*
 * statement.c - see statement.h.
 *
 * A one-dimensional array in binary form (array_recv in PostgreSQL's arrayfuncs.c): int32
 * dimensions, int32 has-nulls, int32 element OID, int32 length, int32 lower bound, then
 * each element as int32 size (-1: NULL) and its bytes, all big-endian.
 */
#include "db/statement.h"

#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/contract/ids.h"
#include "base/log.h"

/* ---- preparing and sending -------------------------------------------------------------- */

static Oid oid_of(char type, bool array)
{
    switch (type) {
    case 't':
        return array ? 1009 : 25;
    case 'i':
        return array ? 1016 : 20;
    case 'b':
        return array ? 1000 : 16;
    case 'y':
        return array ? 1001 : 17;
    default:
        return 0;
    }
}

struct err statement_prepare(struct conn *conn, const char *name, const char *sql,
                             const char *types, bool arrays, int64_t deadline_ms)
{
    Oid oids[DB_HEAD_MAX + DB_LINES_MAX + 1];
    int count = (int)strlen(types);
    char refusal[80];
    PGresult *result = NULL;

    for (int i = 0; i < count; i++)
        oids[i] = oid_of(types[i], arrays);
    snprintf(refusal, sizeof refusal, "cannot prepare %s", name);
    if (!PQsendPrepare(conn->pg, name, sql, count, oids))
        return err_make(ERR_UNAVAILABLE, "The database connection was lost in set-up.");
    struct err e = conn_collect(conn, refusal, deadline_ms, &result);
    PQclear(result);
    return e;
}

struct err statement_prepare_once(struct conn *conn, struct prepared *prepared,
                                  const struct db_query *query, int64_t deadline_ms)
{
    for (size_t i = 0; i < prepared->count; i++)
        if (strcmp(prepared->names[i], query->name) == 0)
            return ERR_NONE;
    assert(prepared->count < sizeof prepared->names / sizeof *prepared->names);
    struct err e = statement_prepare(conn, query->name, query->sql, query->types, false,
                                     deadline_ms);
    if (!failed(e))
        prepared->names[prepared->count++] = query->name;
    return e;
}

bool statement_send(struct conn *conn, const struct db_query *query)
{
    const char *values[DB_HEAD_MAX];
    int lengths[DB_HEAD_MAX], formats[DB_HEAD_MAX], count = (int)strlen(query->types);
    uint64_t numbers[DB_HEAD_MAX];
    char truths[DB_HEAD_MAX];

    for (int i = 0; i < count; i++) {
        const struct db_value *value = &query->values[i];
        numbers[i] = htobe64((uint64_t)value->number);
        truths[i] = value->number != 0;
        formats[i] = 1;
        switch (query->types[i]) {
        case 'i':
            values[i] = (char *)&numbers[i], lengths[i] = 8;
            break;
        case 'b':
            values[i] = &truths[i], lengths[i] = 1;
            break;
        case 'y':
            values[i] = value->text, lengths[i] = (int)value->size;
            break;
        default:
            values[i] = value->text;
            lengths[i] = value->text == NULL ? 0 : (int)strlen(value->text);
        }
    }
    return PQsendQueryPrepared(conn->pg, query->name, count, values, lengths, formats,
                               1) &&
           conn_push(conn, query->deadline_ms) == 1;
}

/* ---- arrays as parameters --------------------------------------------------------------- */

static void add(struct buffer *buffer, const void *bytes, size_t size)
{
    if (buffer->failed)
        return;
    if (buffer->room - buffer->size < size) {
        size_t room = (buffer->room + size) * 2;
        char *grown = realloc(buffer->bytes, room);
        if (grown == NULL) {
            buffer->failed = true;
            return;
        }
        buffer->bytes = grown;
        buffer->room = room;
    }
    memcpy(buffer->bytes + buffer->size, bytes, size);
    buffer->size += size;
}

static void add_int32(struct buffer *buffer, int32_t number)
{
    uint32_t wire = htonl((uint32_t)number);

    add(buffer, &wire, sizeof wire);
}

void array_begin(struct buffer *buffer, char type, size_t length)
{
    add_int32(buffer, length > 0 ? 1 : 0);
    add_int32(buffer, 1);
    add_int32(buffer, (int32_t)oid_of(type, false));
    if (length == 0)
        return;
    add_int32(buffer, (int32_t)length);
    add_int32(buffer, 1);
}

void array_add(struct buffer *buffer, char type, const struct db_value *value)
{
    uint64_t number = htobe64((uint64_t)value->number);
    char truth = value->number != 0;

    switch (type) {
    case 'i':
        add_int32(buffer, sizeof number);
        add(buffer, &number, sizeof number);
        return;
    case 'b':
        add_int32(buffer, 1);
        add(buffer, &truth, 1);
        return;
    default:
        break;
    }
    if (value->text == NULL) {
        add_int32(buffer, -1);
        return;
    }
    size_t size = type == 't' ? strlen(value->text) : value->size;
    add_int32(buffer, (int32_t)size);
    add(buffer, value->text, size);
}

/* ---- cells ------------------------------------------------------------------------------ */

struct db_rows rows_of(const PGresult *result)
{
    return (struct db_rows){.result = result,
                            .count = result == NULL ? 0 : PQntuples(result)};
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

/* ---- the shape of rows ------------------------------------------------------------------ */

/* What is wrong with a cell; NULL: nothing. */
static const char *damage_of(const PGresult *result, int row, int column, char type)
{
    if (PQgetisnull(result, row, column)) /* also when there is no such column */
        return isupper((unsigned char)type) ? NULL : "is NULL";
    int size = PQgetlength(result, row, column);
    switch (tolower((unsigned char)type)) {
    case 'i':
        return size == 8 ? NULL : "is not a bigint";
    case 'b':
        return size == 1 ? NULL : "is not a boolean";
    default:
        return NULL;
    }
}

struct err db_row_check(const struct db_rows *rows, int row, int first,
                        const char *columns)
{
    if (row < 0 || row >= rows->count)
        return err_make(ERR_DATA_LOSS, "A row is missing in the database.");
    for (int c = 0; columns[c] != '\0'; c++) {
        const char *damage =
            damage_of(rows->result, rows->first + row, first + c, columns[c]);
        const char *name = PQfname(rows->result, first + c);
        if (damage != NULL)
            return err_make(ERR_DATA_LOSS, "In the database, column %d (%.40s) %s.",
                            first + c + 1, name != NULL ? name : "missing", damage);
    }
    return ERR_NONE;
}

struct err db_entry_check(const struct db_rows *rows, int row, const char *columns)
{
    struct err e = db_row_check(rows, row, 0, columns);

    return failed(e) ? err_make(ERR_DATA_LOSS, "%s: %s", db_text(rows, row, 0), e.message)
                     : e;
}

/* What was asked for, and what it promises. */
struct promise {
    const char *rows; /* the shape, as in db.h; NULL: nothing is promised */
    int skipped;      /* its first columns that are not looked at */
    const char *statement, *types;
    const struct db_value *parameters;
    const char *request, *order;
};

/* Sets *damaged to the first damaged row; -1: it is missing. */
static struct err find_damage(const struct promise *p, const struct db_rows *rows,
                              int *damaged)
{
    struct err e = ERR_NONE;

    *damaged = -1;
    if (p->rows != NULL && p->rows[0] == '+' && rows->count == 0)
        return db_row_check(rows, 0, 0, "");
    for (int row = 0; p->rows != NULL && row < rows->count && !failed(e); row++) {
        e = db_row_check(rows, row, p->skipped, p->rows + 1 + p->skipped);
        *damaged = row;
    }
    return e;
}

/* An id for the log: the first ULID of the damaged row, or else of the parameters.  Other
 * texts may be secret. */
static const char *id_for_log(const struct promise *p, const struct db_rows *rows,
                              int row)
{
    for (int c = p->skipped; row >= 0 && p->rows[1 + c] != '\0'; c++) {
        bool is_text = tolower((unsigned char)p->rows[1 + c]) == 't';
        const char *text = is_text ? db_text(rows, row, c) : NULL;
        if (text != NULL && ulid_valid(text))
            return text;
    }
    for (size_t i = 0; p->types[i] != '\0'; i++)
        if (p->types[i] == 't' && p->parameters[i].text != NULL &&
            ulid_valid(p->parameters[i].text))
            return p->parameters[i].text;
    return "-";
}

static struct err check(const struct promise *p, const struct db_rows *rows)
{
    struct log_record line;
    int damaged;
    struct err e = find_damage(p, rows, &damaged);

    if (!failed(e) || !log_begin(&line, LOG_ERROR, "rows_damaged"))
        return e;
    log_subject(&line, p->request, p->order);
    log_pair(&line, "statement", p->statement);
    log_pair(&line, "id", id_for_log(p, rows, damaged));
    log_pair(&line, "error", e.message);
    log_end(&line);
    return e;
}

struct err rows_check(const struct db_query *query, const struct db_rows *rows)
{
    return check(&(struct promise){query->rows, 0, query->name, query->types,
                                   query->values, query->request, query->order},
                 rows);
}

struct err rows_check_op(const struct db_op *op, const struct db_rows *rows)
{
    return check(&(struct promise){op->kind->rows, 1, op->kind->name, op->kind->head,
                                   op->head, op->request, op->order},
                 rows);
}
