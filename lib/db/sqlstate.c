/* sqlstate.c - see sqlstate.h.  https://www.postgresql.org/docs/15/errcodes-appendix.html */
#include "db/sqlstate.h"

#include <stddef.h>
#include <string.h>

/* A row matches by its prefix; the first match rules. */
static const struct {
    const char *prefix;
    enum sqlstate_meaning meaning;
} MEANINGS[] = {
    {"40001", SQLSTATE_RACE},       /* serialization_failure */
    {"40P01", SQLSTATE_RACE},       /* deadlock_detected */
    {"55P03", SQLSTATE_RACE},       /* lock_not_available: lock_timeout */
    {"23505", SQLSTATE_TWIN},       /* unique_violation: a twin committed under our snapshot;
                                       run again it is seen, and answered as it was */
    {"25006", SQLSTATE_CONNECTION}, /* read_only_sql_transaction: this is a standby now */
    {"57P", SQLSTATE_CONNECTION},   /* admin_shutdown, crash_shutdown, cannot_connect_now */
    {"57014", SQLSTATE_DATA},       /* query_canceled: too slow for statement_timeout, so in
                                       halves it may be fast enough */
    {"08", SQLSTATE_CONNECTION},
    {"0A000", SQLSTATE_CONNECTION}, /* feature_not_supported: a migration gave a column another
                                       type, and what was prepared before is of no more use */
    {"26", SQLSTATE_CONNECTION},    /* invalid_sql_statement_name: the session was reset */
    {"53", SQLSTATE_RESOURCES},     /* disk_full, out_of_memory, too_many_connections */
    {"58", SQLSTATE_RESOURCES},     /* system errors: I/O */
};

enum sqlstate_meaning sqlstate_meaning(const char *state)
{
    if (state == NULL)
        return SQLSTATE_CONNECTION;
    for (size_t i = 0; i < sizeof MEANINGS / sizeof *MEANINGS; i++)
        if (strncmp(state, MEANINGS[i].prefix, strlen(MEANINGS[i].prefix)) == 0)
            return MEANINGS[i].meaning;
    return SQLSTATE_DATA;
}

struct err sqlstate_err(const char *state)
{
    switch (sqlstate_meaning(state)) {
    case SQLSTATE_CONNECTION:
        return err_make(ERR_UNAVAILABLE, "The database cannot be reached; try again.");
    case SQLSTATE_RESOURCES:
        return err_make(ERR_RESOURCE_EXHAUSTED,
                        "The database is short of disk, memory or connections; try again later.");
    case SQLSTATE_RACE:
        return err_make(ERR_UNAVAILABLE,
                        "Another transaction was in the way several times; try again.");
    case SQLSTATE_TWIN:
    case SQLSTATE_DATA:
        break;
    }
    if (strncmp(state, "23", 2) == 0)
        return err_make(ERR_FAILED_PRECONDITION, "The change would break a rule of the data.");
    if (strncmp(state, "22", 2) == 0)
        return err_make(ERR_INVALID_ARGUMENT, "A value is out of the database's range.");
    return err_make(ERR_INTERNAL, "The database refused a statement (SQLSTATE %s).", state);
}
