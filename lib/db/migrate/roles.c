/*
 * roles.c - passwords for login roles; see migrate.h.
 *
 * A password is turned into its SCRAM verifier here, so it is never in a statement, a
 * server's log or a dump.  The line that held it is wiped.
 *
 * Roles belong to a whole server, and so do comments on roles, so the comment stores a
 * role's owner.  It is compared after the password was set, in that transaction: by then
 * no other transaction can change the role.
 */
#include <ctype.h>
#include <errno.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "db/migrate/migrate.h"
#include "db/migrate/migrator.h"

#define OWNER_MAX 400

enum { ROLES_MAX = 64, ROLE_SIZE = 64 /* PostgreSQL's names have 63 bytes */ };

/* "ID PLACE": the same owner when either is equal.  (An id may get lost, a place may
 * change.) */
static bool same_owner(const char *a, const char *b)
{
    size_t a_id = strcspn(a, " "), b_id = strcspn(b, " ");

    return (a_id == b_id && strncmp(a, b, a_id) == 0) || strcmp(a + a_id, b + b_id) == 0;
}

static struct err compare_owner(const char *role, const char *has, const char *owner)
{
    const char *place = has + strcspn(has, " ");

    if (*has == '\0' || same_owner(has, owner))
        return ERR_NONE;
    return err_make(ERR_FAILED_PRECONDITION,
                    "the role %s belongs to another state folder:%.80s; see "
                    "docs/operations.md",
                    role, *place != '\0' ? place : " unknown");
}

/* The role must have no owner or this one. */
static struct err check_owner(PGconn *conn, const char *role, const char *owner)
{
    const char *const values[] = {role};
    struct err e = ERR_NONE;
    PGresult *result =
        PQexecParams(conn,
                     "SELECT coalesce(shobj_description(oid, 'pg_authid'), '') "
                     "FROM pg_roles WHERE rolname = $1",
                     1, NULL, values, NULL, NULL, 0);

    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        e = migrator_error(conn, result);
    else if (PQntuples(result) == 1)
        e = compare_owner(role, PQgetvalue(result, 0, 0), owner);
    PQclear(result);
    return e;
}

/* Runs "COMMAND role CLAUSE 'value'". */
static struct err change_role(PGconn *conn, const char *command, const char *role,
                              const char *clause, const char *value)
{
    char sql[OWNER_MAX * 2 + 256];
    char *name = PQescapeIdentifier(conn, role, strlen(role));
    char *literal = PQescapeLiteral(conn, value, strlen(value));
    struct err e = err_memory();

    if (name != NULL && literal != NULL) {
        snprintf(sql, sizeof sql, "%s ROLE %s %s %s", command, name, clause, literal);
        e = migrator_run(conn, sql);
    }
    PQfreemem(name);
    PQfreemem(literal);
    return e;
}

static struct err set_password(PGconn *conn, const char *role, const char *password)
{
    char *verifier = PQencryptPasswordConn(conn, password, role, "scram-sha-256");

    if (verifier == NULL)
        return err_make(ERR_UNKNOWN, "no SCRAM verifier could be made for the role %s",
                        role);
    struct err e = change_role(conn, "ALTER", role, "LOGIN PASSWORD", verifier);
    PQfreemem(verifier);
    if (!failed(e))
        return e;
    return err_make(e.code, "the role %s could not be given its password: %.300s", role,
                    e.message);
}

static char *trim(char *text)
{
    text += strspn(text, " \t");
    for (size_t n = strlen(text); n > 0 && isspace((unsigned char)text[n - 1]); n--)
        text[n - 1] = '\0';
    return text;
}

static struct err take_role(PGconn *conn, const char *role, const char *password,
                            const char *owner)
{
    struct err e = set_password(conn, role, password);

    if (!failed(e) && *owner != '\0')
        e = check_owner(conn, role, owner);
    if (!failed(e) && *owner != '\0')
        e = change_role(conn, "COMMENT ON", role, "IS", owner);
    return e;
}

/* The names set so far, and by which line. */
struct seen {
    char names[ROLES_MAX][ROLE_SIZE];
    int lines[ROLES_MAX];
    int count;
};

static struct err check_seen(struct seen *seen, const char *path, int number,
                             const char *role)
{
    for (int i = 0; i < seen->count; i++)
        if (strcmp(seen->names[i], role) == 0)
            return err_make(
                ERR_INVALID_ARGUMENT,
                "%s line %d sets %s once more, after line %d; keep one of them", path,
                number, role, seen->lines[i]);
    if (seen->count == ROLES_MAX)
        return err_make(ERR_INVALID_ARGUMENT, "%s line %d is one role more than %d", path,
                        number, ROLES_MAX);
    strcpy(seen->names[seen->count], role);
    seen->lines[seen->count++] = number;
    return ERR_NONE;
}

/* `owner` has OWNER_MAX bytes, and is set by the line "@owner = ...". */
static struct err take_line(PGconn *conn, const char *path, int number, char *line,
                            struct seen *seen, char *owner)
{
    char *text = trim(line);

    if (*text == '\0' || *text == '#')
        return ERR_NONE;
    char *equals = strchr(text, '=');
    if (equals == NULL)
        return err_make(ERR_INVALID_ARGUMENT,
                        "%s line %d has no '='; write: role = password", path, number);
    *equals = '\0';
    const char *role = trim(text), *password = trim(equals + 1);
    if (*role == '\0' || strlen(role) >= ROLE_SIZE || *password == '\0')
        return err_make(ERR_INVALID_ARGUMENT,
                        "%s line %d needs a role (1 to 63 characters) and a password",
                        path, number);
    struct err e = check_seen(seen, path, number, role);
    if (failed(e))
        return e;
    if (strcmp(role, "@owner") != 0)
        return take_role(conn, role, password, owner);
    if (strlen(password) >= OWNER_MAX)
        return err_make(ERR_INVALID_ARGUMENT, "%s line %d is too long", path, number);
    strcpy(owner, password);
    return ERR_NONE;
}

static struct err take_lines(PGconn *conn, const char *path, FILE *file)
{
    char line[1024], owner[OWNER_MAX] = "";
    struct seen seen = {.count = 0};
    struct err e = migrator_run(conn, "BEGIN");

    for (int n = 1; !failed(e) && fgets(line, sizeof line, file) != NULL; n++) {
        if (strlen(line) == sizeof line - 1)
            e = err_make(ERR_INVALID_ARGUMENT, "%s line %d is too long", path, n);
        else
            e = take_line(conn, path, n, line, &seen, owner);
    }
    sodium_memzero(line, sizeof line);
    if (!failed(e) && ferror(file))
        e = err_make(ERR_INVALID_ARGUMENT, "%s cannot be read whole", path);
    return failed(e) ? e : migrator_commit(conn);
}

static struct err open_private(const char *path, FILE **out)
{
    struct stat status;

    *out = fopen(path, "re");
    if (*out == NULL)
        return err_make(ERR_INVALID_ARGUMENT, "cannot open the passwords in %s: %s", path,
                        strerror(errno));
    /* Unbuffered, so that no passwords stay in memory of stdio. */
    setvbuf(*out, NULL, _IONBF, 0);
    if (fstat(fileno(*out), &status) != 0 || (status.st_mode & 077) != 0)
        return err_make(ERR_INVALID_ARGUMENT,
                        "%s holds passwords and others may read it; run: chmod 600 %s",
                        path, path);
    return ERR_NONE;
}

struct err migrate_roles(const char *url, const char *file)
{
    PGconn *conn = NULL;
    FILE *opened = NULL;

    struct err e = open_private(file, &opened);
    if (!failed(e))
        e = migrator_open(url, &conn);
    if (!failed(e))
        e = take_lines(conn, file, opened);
    PQfinish(conn);
    if (opened != NULL)
        fclose(opened);
    return e;
}
