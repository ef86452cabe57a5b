/* migrate.c - see migrate.h. */
#include "db/migrate/migrate.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db/migrate/migrator.h"

/* A fixed, arbitrary number: all migrators of one database must use the same. */
#define MIGRATE_LOCK "4850143087654321"

/* ---- the files ---------------------------------------------------------------------- */

enum {
    MIGRATION_CHECKSUM_SIZE = 65, /* hexadecimal BLAKE2b-256, NUL-terminated */
    MIGRATION_MAX = 9999,
    MIGRATION_BYTES_MAX = 4 << 20, /* of one file */
};

struct migration {
    int number;
    char *file; /* "0001_roles.sql" */
    char *sql;
    char checksum[MIGRATION_CHECKSUM_SIZE];
};

struct migrations {
    struct migration *items; /* items[i].number == i + 1 */
    size_t count;
};

static bool ends_in_sql(const char *name)
{
    size_t length = strlen(name);

    return length > 4 && strcmp(name + length - 4, ".sql") == 0;
}

/* NNNN_what.sql with `what` of a-z 0-9 _; the number, or 0 when the form is another. */
static int number_of(const char *name)
{
    static const char word[] = "abcdefghijklmnopqrstuvwxyz0123456789_";
    size_t what = strlen(name) > 5 ? strspn(name + 5, word) : 0;

    if (strspn(name, "0123456789") != 4 || name[4] != '_' || what == 0 ||
        strcmp(name + 5 + what, ".sql") != 0)
        return 0;
    return atoi(name);
}

static struct err take_name(const char *folder, const char *name, struct migrations *out)
{
    int number = number_of(name);

    if (number == 0)
        return err_make(
            ERR_INVALID_ARGUMENT,
            "%s in %s is not named like a migration; call it NNNN_what.sql, from "
            "0001, in small letters",
            name, folder);
    struct migration *items = reallocarray(out->items, out->count + 1, sizeof *items);
    if (items == NULL)
        return err_memory();
    out->items = items;
    items[out->count] = (struct migration){.number = number, .file = strdup(name)};
    if (items[out->count].file == NULL)
        return err_memory();
    out->count++;
    return ERR_NONE;
}

static struct err list(const char *folder, struct migrations *out)
{
    struct err e = ERR_NONE;
    DIR *dir = opendir(folder);

    if (dir == NULL)
        return err_make(ERR_INVALID_ARGUMENT,
                        "cannot open the folder of migrations %s: %s", folder,
                        strerror(errno));
    for (struct dirent *entry; !failed(e) && (entry = readdir(dir)) != NULL;)
        if (entry->d_name[0] != '.' && ends_in_sql(entry->d_name))
            e = take_name(folder, entry->d_name, out);
    closedir(dir);
    return e;
}

static int by_file(const void *a, const void *b)
{
    return strcmp(((const struct migration *)a)->file,
                  ((const struct migration *)b)->file);
}

static struct err check_order(const char *folder, const struct migrations *all)
{
    for (size_t i = 0; i < all->count; i++) {
        const struct migration *m = &all->items[i];
        if (i > 0 && m->number == m[-1].number)
            return err_make(
                ERR_INVALID_ARGUMENT,
                "%s and %s in %s have the same number; give one the next free",
                m[-1].file, m->file, folder);
        if (m->number != (int)i + 1)
            return err_make(ERR_INVALID_ARGUMENT,
                            "%s in %s comes after a gap: there is no migration %04zu",
                            m->file, folder, i + 1);
    }
    return ERR_NONE;
}

static struct err read_bytes(FILE *file, const char *path, char **out, size_t *size)
{
    char *text = malloc(MIGRATION_BYTES_MAX + 1);

    if (text == NULL)
        return err_memory();
    *out = text;
    *size = fread(text, 1, MIGRATION_BYTES_MAX, file);
    text[*size] = '\0';
    if (ferror(file) || fgetc(file) != EOF)
        return err_make(ERR_INVALID_ARGUMENT, "%s cannot be read whole, or is over 4 MiB",
                        path);
    if (strlen(text) != *size)
        return err_make(ERR_INVALID_ARGUMENT, "%s holds a zero byte, so it is not SQL",
                        path);
    char *fitted = realloc(text, *size + 1);
    if (fitted != NULL)
        *out = fitted;
    return ERR_NONE;
}

static void checksum(const char *bytes, size_t size, char out[MIGRATION_CHECKSUM_SIZE])
{
    unsigned char hash[(MIGRATION_CHECKSUM_SIZE - 1) / 2];

    crypto_generichash(hash, sizeof hash, (const unsigned char *)bytes, size, NULL, 0);
    sodium_bin2hex(out, MIGRATION_CHECKSUM_SIZE, hash, sizeof hash);
}

static struct err load(const char *folder, struct migration *migration)
{
    char path[PATH_MAX];
    size_t size = 0;

    if (snprintf(path, sizeof path, "%s/%s", folder, migration->file) >= (int)sizeof path)
        return err_make(ERR_INVALID_ARGUMENT, "the path of %s is too long",
                        migration->file);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return err_make(ERR_INVALID_ARGUMENT, "cannot open the migration %s: %s", path,
                        strerror(errno));
    struct err e = read_bytes(file, path, &migration->sql, &size);
    fclose(file);
    if (!failed(e))
        checksum(migration->sql, size, migration->checksum);
    return e;
}

/* Reads every *.sql of the folder and ignores other files.  INVALID_ARGUMENT names the file that
 * breaks the order.  Free with migrations_free, also when failed. */
static struct err migrations_read(const char *folder, struct migrations *out)
{
    *out = (struct migrations){0};
    struct err e = list(folder, out);

    if (!failed(e) && out->count == 0)
        e = err_make(ERR_INVALID_ARGUMENT,
                     "there are no migrations (NNNN_what.sql) in %s", folder);
    if (failed(e))
        return e;
    qsort(out->items, out->count, sizeof *out->items, by_file);
    e = check_order(folder, out);
    for (size_t i = 0; !failed(e) && i < out->count; i++)
        e = load(folder, &out->items[i]);
    return e;
}

static void migrations_free(struct migrations *migrations)
{
    for (size_t i = 0; i < migrations->count; i++) {
        free(migrations->items[i].file);
        free(migrations->items[i].sql);
    }
    free(migrations->items);
}

/* ---- the record in the database ----------------------------------------------------- */

static struct err lock(PGconn *conn, const struct migrate_config *config)
{
    char sql[160];

    snprintf(sql, sizeof sql,
             "SET lock_timeout = %" PRId64 "; SELECT pg_advisory_lock(%s)",
             config->lock_wait_ms, MIGRATE_LOCK);
    PGresult *result = PQexec(conn, sql);
    struct err e = ERR_NONE;
    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
        if (state != NULL && strcmp(state, "55P03") == 0)
            e = err_make(
                ERR_ABORTED,
                "another migrator holds this database's lock for longer than %" PRId64
                " ms; wait until it is done, then run this again",
                config->lock_wait_ms);
        else
            e = migrator_error(conn, result);
    }
    PQclear(result);
    return e;
}

static struct err make_record(PGconn *conn)
{
    return migrator_run(conn,
                        "CREATE SCHEMA IF NOT EXISTS checkout_meta;"
                        "CREATE TABLE IF NOT EXISTS checkout_meta.migrations ("
                        "    number     integer PRIMARY KEY CHECK (number > 0),"
                        "    name       text NOT NULL,"
                        "    checksum   text NOT NULL CHECK (length(checksum) = 64),"
                        "    applied_at timestamptz NOT NULL DEFAULT now())");
}

static struct err compare_row(const PGresult *record, int row,
                              const struct migrations *all, const char *folder)
{
    int number = atoi(PQgetvalue(record, row, 0));
    const char *name = PQgetvalue(record, row, 1);

    if (number != row + 1)
        return err_make(
            ERR_FAILED_PRECONDITION,
            "the database's record has %s but no migration %04d; restore the row "
            "in checkout_meta.migrations",
            name, row + 1);
    if ((size_t)number > all->count)
        return err_make(ERR_FAILED_PRECONDITION,
                        "the database has %s, which is not in %s: it is newer than these "
                        "files; use those of its version",
                        name, folder);
    const struct migration *file = &all->items[row];
    if (strcmp(file->file, name) != 0)
        return err_make(
            ERR_FAILED_PRECONDITION,
            "%s was applied as %s; an applied migration keeps its name, so rename "
            "it back",
            file->file, name);
    if (strcmp(file->checksum, PQgetvalue(record, row, 2)) != 0)
        return err_make(
            ERR_FAILED_PRECONDITION,
            "%s was edited after it was applied (%s); restore the file and write "
            "a new migration",
            name, PQgetvalue(record, row, 3));
    return ERR_NONE;
}

/* How many of the files are applied already. */
static struct err compare(PGconn *conn, const struct migrations *all, const char *folder,
                          size_t *applied)
{
    struct err e = ERR_NONE;
    PGresult *record = PQexec(conn, "SELECT number, name, checksum,"
                                    "       to_char(applied_at, 'YYYY-MM-DD HH24:MI')"
                                    "  FROM checkout_meta.migrations ORDER BY number");

    if (PQresultStatus(record) != PGRES_TUPLES_OK)
        e = migrator_error(conn, record);
    for (int row = 0; !failed(e) && row < PQntuples(record); row++)
        e = compare_row(record, row, all, folder);
    *applied = (size_t)PQntuples(record);
    PQclear(record);
    return e;
}

/* ---- running one migration ----------------------------------------------------------- */

/* The line of the file at which the server found the error, or 1. */
static int line_of(const char *sql, const PGresult *result)
{
    const char *position = PQresultErrorField(result, PG_DIAG_STATEMENT_POSITION);
    int line = 1;

    /* In characters, counted from 1: bytes that continue a UTF-8 character do not count.
     */
    for (int left = position == NULL ? 0 : atoi(position); *sql != '\0'; sql++) {
        if (((unsigned char)*sql & 0xc0) != 0x80 && --left <= 0)
            break;
        line += *sql == '\n';
    }
    return line;
}

static struct err run_file(PGconn *conn, const struct migration *m)
{
    PGresult *result = PQexec(conn, m->sql);
    ExecStatusType status = PQresultStatus(result);
    struct err e = ERR_NONE;

    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK &&
        status != PGRES_EMPTY_QUERY) {
        e = migrator_error(conn, result);
        char message[sizeof e.message];
        memcpy(message, e.message, sizeof message);
        e = err_make(ERR_UNKNOWN, "%s failed at line %d and changed nothing: %s", m->file,
                     line_of(m->sql, result), message);
    }
    PQclear(result);
    return e;
}

static struct err transaction_id(PGconn *conn, char out[24])
{
    PGresult *result = PQexec(conn, "SELECT pg_current_xact_id()");
    struct err e = ERR_NONE;

    if (PQresultStatus(result) == PGRES_TUPLES_OK)
        snprintf(out, 24, "%s", PQgetvalue(result, 0, 0));
    else
        e = migrator_error(conn, result);
    PQclear(result);
    return e;
}

/* A file with its own COMMIT would no longer be all or nothing. */
static struct err check_transaction(PGconn *conn, const struct migration *m,
                                    const char before[24])
{
    char after[24] = "";

    struct err e = transaction_id(conn, after);
    if (!failed(e) &&
        (PQtransactionStatus(conn) != PQTRANS_INTRANS || strcmp(before, after) != 0))
        e = err_make(
            ERR_INVALID_ARGUMENT,
            "%s ends its transaction (COMMIT or ROLLBACK), which is not allowed; remove "
            "that, and check what it has left in the database",
            m->file);
    return e;
}

static struct err record(PGconn *conn, const struct migration *m)
{
    char number[12];
    const char *const values[] = {number, m->file, m->checksum};
    struct err e = ERR_NONE;

    snprintf(number, sizeof number, "%d", m->number);
    PGresult *result = PQexecParams(conn,
                                    "INSERT INTO checkout_meta.migrations (number, name, "
                                    "checksum) VALUES ($1, $2, $3)",
                                    3, NULL, values, NULL, NULL, 0);
    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        e = migrator_error(conn, result);
    PQclear(result);
    return e;
}

/* Settings and the role that the previous file has set must not affect this one. */
static struct err begin(PGconn *conn, const struct migrate_config *config)
{
    char sql[256];

    snprintf(sql, sizeof sql,
             "SET lock_timeout = %" PRId64 "; SET statement_timeout = '15min'",
             config->lock_wait_ms);
    struct err e = migrator_run(conn, "RESET SESSION AUTHORIZATION; RESET ALL");
    if (!failed(e))
        e = migrator_settings(conn);
    if (!failed(e))
        e = migrator_run(conn, sql);
    return failed(e) ? e : migrator_run(conn, "BEGIN");
}

static struct err apply(PGconn *conn, const struct migrate_config *config,
                        const struct migration *m)
{
    char id[24] = "";

    struct err e = begin(conn, config);
    if (!failed(e))
        e = transaction_id(conn, id);
    if (!failed(e))
        e = run_file(conn, m);
    if (!failed(e))
        e = check_transaction(conn, m, id);
    if (!failed(e))
        e = migrator_run(conn, "RESET SESSION AUTHORIZATION");
    if (!failed(e))
        e = record(conn, m);
    if (!failed(e))
        e = migrator_commit(conn);
    if (!failed(e) && config->applied != NULL)
        config->applied(config->arg, m->file);
    return e;
}

static struct err run(PGconn *conn, const struct migrate_config *config,
                      const struct migrations *all)
{
    size_t applied = 0;

    struct err e = lock(conn, config);
    if (!failed(e))
        e = make_record(conn);
    if (!failed(e))
        e = compare(conn, all, config->folder, &applied);
    for (size_t i = applied; !failed(e) && i < all->count; i++)
        e = apply(conn, config, &all->items[i]);
    return e;
}

struct err migrate(const struct migrate_config *config)
{
    struct migrations all;
    PGconn *conn = NULL;

    assert(config->lock_wait_ms >= 1 && config->lock_wait_ms <= 600000);
    struct err e = migrations_read(config->folder, &all);
    if (!failed(e))
        e = migrator_open(config->url, &conn);
    if (!failed(e))
        e = run(conn, config, &all);
    PQfinish(conn); /* releases the lock, and rolls back a failed transaction */
    migrations_free(&all);
    return e;
}
