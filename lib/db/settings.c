/* settings.c - see settings.h; docs/adr/0038-session-settings-are-set-by-us.md has the
 * table for operators. */
#include "db/settings.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#define SERVICE SETTINGS_SERVICE
#define WRITER  SETTINGS_WRITER

static const struct setting SETTINGS[] = {
    /* A statement that waited for a lock sees what its owner wrote, and no statement of
     * ours fails with 40001 for what others do. */
    {SETTINGS_ALL, "default_transaction_isolation", "read committed", NULL, false},
    /* The writer can write; a reader cannot. */
    {WRITER | SETTINGS_MIGRATOR, "default_transaction_read_only", "off", NULL, false},
    {SETTINGS_READER, "default_transaction_read_only", "on", NULL, false},
    /* What was acknowledged is on disk, here and on a synchronous standby. */
    {WRITER | SETTINGS_MIGRATOR, "synchronous_commit", "on", "remote_apply", false},
    /* The warning of a wait for the standby that was cancelled is sent to us: the outcome
     * is then unknown. */
    {SETTINGS_ALL, "client_min_messages", "warning", NULL, false},
    /* Text goes in and comes out as UTF-8. */
    {SETTINGS_ALL, "client_encoding", "UTF8", NULL, false},
    /* Names in our SQL mean PostgreSQL's own functions, not those of whoever may create in
     * a schema of the database's path.  (Migrations may create in `public`.) */
    {SERVICE, "search_path", "pg_catalog, pg_temp", NULL, false},
    /* A wait behind a transaction whose owner died, or thinks, ends so early that those of
     * the batch who do not need its rows keep their deadlines.  A statement that ran into its
     * time-out has had no effect: it never cancels a COMMIT's wait for a standby in a way we
     * could take for success. */
    {WRITER, "lock_timeout", "1s", NULL, false},
    {SETTINGS_READER, "lock_timeout", "5s", NULL, false}, /* holds up nobody */
    {SERVICE, "statement_timeout", "20s", NULL, false},
    /* Nobody waits longer than this for locks of a process of ours that hangs or is gone. */
    {SERVICE, "idle_in_transaction_session_timeout", "20s", NULL, false},
    {SERVICE, "client_connection_check_interval", "1s", NULL, false},
    /* Nor when the link to it was cut without a word. */
    {SERVICE, "tcp_keepalives_idle", "5", NULL, true},
    {SERVICE, "tcp_keepalives_interval", "2", NULL, true},
    {SERVICE, "tcp_keepalives_count", "3", NULL, true},
    {SERVICE, "tcp_user_timeout", "10000", NULL, true},
    /* A deadline can be met.  All of a writer's statements find their rows by key.  Plans
     * made while the tables were still empty would read them from end to end, and be kept.
     * What can only be read so costs ten thousand million then, for which JIT would compile
     * each run: half a second.  And with arrays of few elements, a lone shopper's, each run
     * would be planned anew: a fifth of its time. */
    {WRITER, "enable_seqscan", "off", NULL, false},
    {WRITER, "jit", "off", NULL, false},
    {WRITER, "plan_cache_mode", "force_generic_plan", NULL, false},
};

enum { COUNT = sizeof SETTINGS / sizeof *SETTINGS };

const struct setting *settings_all(size_t *count)
{
    *count = COUNT;
    return SETTINGS;
}

/* Adds to what `out` holds; gives what it holds then. */
__attribute__((format(printf, 3, 4))) static size_t add(char *out, size_t used,
                                                        const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int length = vsnprintf(out + used, SETTINGS_SQL_SIZE - used, format, args);
    va_end(args);
    assert(length > 0 && used + (size_t)length < SETTINGS_SQL_SIZE);
    return used + (size_t)length;
}

/* set_config takes every value in the form in which current_setting gives it; SET does not
 * take a path so.  Nothing is looked up on the path that is being replaced. */
void settings_sql(enum settings_of of, char out[SETTINGS_SQL_SIZE])
{
    size_t used = 0;

    for (const struct setting *s = SETTINGS; s < SETTINGS + COUNT; s++) {
        if ((s->of & of) == 0)
            continue;
        used = add(out, used, "%s pg_catalog.set_config('%s', ",
                   used == 0 ? "SELECT" : ",", s->name);
        if (s->or_else != NULL)
            used = add(out, used,
                       "CASE WHEN pg_catalog.current_setting('%s') OPERATOR(pg_catalog.=)"
                       " '%s' THEN '%s' ELSE '%s' END, false)",
                       s->name, s->or_else, s->or_else, s->value);
        else
            used = add(out, used, "'%s', false)", s->value);
    }
}
