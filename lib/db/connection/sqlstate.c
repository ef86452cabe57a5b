/* sqlstate.c - see sqlstate.h.
 * https://www.postgresql.org/docs/15/errcodes-appendix.html */
#include "db/connection/sqlstate.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { RETRY_UNABLE_MS = 30000, RETRY_LOCKED_MS = 5000 };

#define AWAY "the database cannot be reached"

/* A row matches by its prefix; the first match rules. */
static const struct row {
    const char *prefix;
    enum sqlstate_meaning meaning;
    const char *words; /* NULL: the database is well */
} ROWS[] = {
    /* clang-format off */
    {"40001", SQLSTATE_RACE, NULL},       /* serialization_failure */
    {"40P01", SQLSTATE_RACE, NULL},       /* deadlock_detected */
    {"55P03", SQLSTATE_LOCKED, NULL},     /* lock_not_available: lock_timeout */
    {"23505", SQLSTATE_UNIQUE, NULL},       /* unique_violation: a concurrent repeat committed after
                                             our snapshot; run again, it is seen and answered */
    {"25006", SQLSTATE_READ_ONLY, "the database is read-only"}, /* it is a standby now */
    {"42501", SQLSTATE_UNABLE, "a right in the database is missing"},
    {"57P", SQLSTATE_CONNECTION, AWAY},   /* admin_shutdown, crash_shutdown, cannot_connect_now */
    {"57014", SQLSTATE_DATA, NULL},       /* query_canceled: too slow for statement_timeout, so
                                             half of the batch may be fast enough */
    {"08", SQLSTATE_CONNECTION, AWAY},
    {"0A000", SQLSTATE_CONNECTION, AWAY}, /* feature_not_supported: a migration changed a column's
                                             type; prepared statements are then invalid */
    {"26", SQLSTATE_CONNECTION, AWAY},    /* invalid_sql_statement_name: the session was reset */
    {"53100", SQLSTATE_UNABLE, "the database's disk is full"},
    {"53200", SQLSTATE_UNABLE, "the database is out of memory"},
    {"53300", SQLSTATE_UNABLE, "the database has no connection left"},
    {"53", SQLSTATE_UNABLE, "the database is at a limit of its configuration"},
    {"58", SQLSTATE_UNABLE, "the database's disk has an error"}, /* system errors: I/O */
    /* clang-format on */
};

static const struct row *find(const char *state)
{
    static const struct row GONE = {"", SQLSTATE_CONNECTION, AWAY};
    static const struct row OTHER = {"", SQLSTATE_DATA, NULL};

    if (state == NULL)
        return &GONE;
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++)
        if (strncmp(state, ROWS[i].prefix, strlen(ROWS[i].prefix)) == 0)
            return &ROWS[i];
    return &OTHER;
}

enum sqlstate_meaning sqlstate_meaning(const char *state)
{
    return find(state)->meaning;
}

const char *sqlstate_words(const char *state)
{
    const char *words = find(state)->words;

    return words != NULL ? words : "the database refuses to write";
}

struct err sqlstate_err(const char *state)
{
    struct err e;

    switch (sqlstate_meaning(state)) {
    case SQLSTATE_CONNECTION:
        return err_make(ERR_UNAVAILABLE, "The database cannot be reached; try again.");
    case SQLSTATE_READ_ONLY:
        return err_make(ERR_UNAVAILABLE, "Nothing was done: %s; try again.",
                        sqlstate_words(state));
    case SQLSTATE_UNABLE:
        e = err_make(ERR_UNAVAILABLE, "Nothing was done: %s; try again later.",
                     sqlstate_words(state));
        e.retry_after_ms = RETRY_UNABLE_MS;
        return e;
    case SQLSTATE_RACE:
        return err_make(ERR_UNAVAILABLE,
                        "Another transaction was in the way several times; try again.");
    case SQLSTATE_LOCKED:
        e = err_make(ERR_UNAVAILABLE,
                     "Nothing was done: another transaction keeps locked "
                     "what this needs; try again later.");
        e.retry_after_ms = RETRY_LOCKED_MS;
        return e;
    case SQLSTATE_UNIQUE:
    case SQLSTATE_DATA:
        break;
    }
    if (strncmp(state, "23", 2) == 0)
        return err_make(ERR_FAILED_PRECONDITION,
                        "The change would break a rule of the data.");
    if (strncmp(state, "22", 2) == 0)
        return err_make(ERR_INVALID_ARGUMENT, "A value is out of the database's range.");
    return err_make(ERR_INTERNAL, "The database refused a statement (SQLSTATE %s).",
                    state);
}

/*
 * ---- messages ----------------------------------------------------------------------------
 *
 * For operators, on one line, with DETAIL and HINT, which often have the remedy.  Never
 * for an HTTP client.
 */

/* Adds a text to `out`: what is not printable, and runs of it, becomes one blank. */
static void add(char out[WORDS_SIZE], const char *label, const char *text)
{
    size_t used = strlen(out);

    if (text == NULL || *text == '\0')
        return;
    int length =
        snprintf(out + used, WORDS_SIZE - used, "%s%s", used == 0 ? "" : " ", label);
    used += (size_t)length < WORDS_SIZE - used ? (size_t)length : WORDS_SIZE - used - 1;
    bool blank = true;
    for (; *text != '\0' && used < WORDS_SIZE - 1; text++) {
        bool now = (unsigned char)*text <= ' ' || *text == 0x7f;
        if (!now)
            out[used++] = *text;
        else if (!blank)
            out[used++] = ' ';
        blank = now;
    }
    while (used > 0 && out[used - 1] == ' ')
        used--;
    out[used] = '\0';
}

static void gather(const PGconn *pg, const PGresult *result, bool detail,
                   char out[WORDS_SIZE])
{
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

    *out = '\0';
    if (message == NULL) {
        add(out, "", PQerrorMessage(pg));
        return;
    }
    add(out, "", message);
    if (detail)
        add(out, "DETAIL: ", PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL));
    add(out, "HINT: ", PQresultErrorField(result, PG_DIAG_MESSAGE_HINT));
}

void words_of_result(const PGconn *pg, const PGresult *result, char out[WORDS_SIZE])
{
    gather(pg, result, true, out);
}

void words_for_log(const PGconn *pg, const PGresult *result, char out[WORDS_SIZE])
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    bool quotes =
        state != NULL && (strncmp(state, "22", 2) == 0 || strncmp(state, "23", 2) == 0);

    gather(pg, result, !quotes, out);
}

struct err words_of_connection(const PGconn *pg)
{
    char words[WORDS_SIZE] = "";

    add(words, "", PQerrorMessage(pg));
    return err_make(ERR_UNAVAILABLE, "Cannot connect to the database: %s",
                    *words != '\0' ? words : "libpq does not say why.");
}
