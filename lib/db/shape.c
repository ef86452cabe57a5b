/* shape.c - see shape.h. */
#include "db/shape.h"

#include <ctype.h>
#include <libpq-fe.h>

#include "base/contract/ids.h"
#include "base/log.h"

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

/* Gives the damaged row, too; -1: it is missing. */
static struct err check(struct shape shape, const struct db_rows *rows, int *damaged)
{
    *damaged = -1;
    if (shape.rows == NULL)
        return ERR_NONE;
    if (shape.rows[0] == '+' && rows->count == 0)
        return db_row_check(rows, 0, 0, "");
    for (int row = 0; row < rows->count; row++) {
        struct err e =
            db_row_check(rows, row, shape.skipped, shape.rows + 1 + shape.skipped);
        *damaged = row;
        if (failed(e))
            return e;
    }
    return ERR_NONE;
}

/* Of a damaged row; NULL: it has none. */
static const char *id_in_row(struct shape shape, const struct db_rows *rows, int row)
{
    for (int c = shape.skipped; row >= 0 && shape.rows[1 + c] != '\0'; c++) {
        const char *text = tolower((unsigned char)shape.rows[1 + c]) == 't'
                               ? db_text(rows, row, c)
                               : NULL;
        if (text != NULL && ulid_valid(text))
            return text;
    }
    return NULL;
}

/* Of what was asked for.  Only a ULID is sure to be nobody's secret. */
static const char *id_among(const struct shape_asked *asked)
{
    for (size_t i = 0; asked->types[i] != '\0'; i++)
        if (asked->types[i] == 't' && asked->parameters[i].text != NULL &&
            ulid_valid(asked->parameters[i].text))
            return asked->parameters[i].text;
    return "-";
}

static void tell(const struct shape_asked *asked, const char *id, const struct err *e)
{
    struct log_record line;

    if (!log_begin(&line, LOG_ERROR, "rows_damaged"))
        return;
    log_subject(&line, asked->request, asked->order);
    log_pair(&line, "statement", asked->statement);
    log_pair(&line, "id", id != NULL ? id : id_among(asked));
    log_pair(&line, "error", e->message);
    log_end(&line);
}

struct err shape_check(struct shape shape, const struct db_rows *rows,
                       const struct shape_asked *asked)
{
    int damaged;
    struct err e = check(shape, rows, &damaged);

    if (!failed(e))
        return e;
    tell(asked, id_in_row(shape, rows, damaged), &e);
    return e;
}
