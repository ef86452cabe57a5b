/* filters.c - see filters.h. */
#include "cli/filters.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/clock.h"
#include "base/contract/bounds.h"
#include "base/contract/ids.h"
#include "cli/output.h"

struct err filter_limit(const struct cli *cli, int32_t *out)
{
    const char *limit = cli->options[OPT_LIMIT];
    int64_t most = LIST_DEFAULT;
    struct err e = limit == NULL
                       ? ERR_NONE
                       : cli_number(limit, "--limit", 1, ENTRIES_PAGE_MAX, &most);

    *out = (int32_t)most;
    return e;
}

/* ---- times ---------------------------------------------------------------------- */

/* "30s", "15m", "2h", "3d" before now; false when it is none. */
static bool read_ago(const char *text, int64_t *out)
{
    static const struct {
        char letter;
        int64_t ms;
    } UNITS[] = {{'s', 1000}, {'m', 60000}, {'h', 3600000}, {'d', 86400000}};
    size_t digits = strspn(text, "0123456789");

    if (digits == 0 || digits > 6 || text[digits] == '\0' || text[digits + 1] != '\0')
        return false;
    for (size_t i = 0; i < sizeof UNITS / sizeof *UNITS; i++)
        if (text[digits] == UNITS[i].letter) {
            *out = clock_wall_ms() - atoll(text) * UNITS[i].ms;
            return true;
        }
    return false;
}

/* A date, with or without a time of UTC. */
static bool read_date(const char *text, int64_t *out)
{
    static const char *const FORMS[] = {"%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%MZ",
                                        "%Y-%m-%d"};

    for (size_t i = 0; i < sizeof FORMS / sizeof *FORMS; i++) {
        struct tm utc = {.tm_mday = 1};
        const char *end = strptime(text, FORMS[i], &utc);
        if (end != NULL && *end == '\0') {
            *out = (int64_t)timegm(&utc) * 1000;
            return true;
        }
    }
    return false;
}

static struct err read_time(const struct cli *cli, enum option option, int64_t *out)
{
    const char *text = cli->options[option];

    *out = 0;
    if (text == NULL)
        return ERR_NONE;
    if ((read_ago(text, out) || read_date(text, out)) && *out > 0 && *out < ULID_MS_END)
        return ERR_NONE;
    return err_make(
        ERR_INVALID_ARGUMENT,
        "--%s is \"%.60s\"; write how long ago, such as 30m, 2h or 3d, or a time "
        "of UTC such as 2026-01-31 or 2026-01-31T12:00:00Z",
        OPTIONS[option].name, text);
}

struct err filter_times(const struct cli *cli, int64_t *since_ms, int64_t *until_ms)
{
    struct err e = read_time(cli, OPT_SINCE, since_ms);

    return failed(e) ? e : read_time(cli, OPT_UNTIL, until_ms);
}

/* ---- states --------------------------------------------------------------------- */

/* "running, aborting, completed or failed": all but the one of number 0. */
static void name_all(const ProtobufCEnumDescriptor *type, char *out, size_t size)
{
    size_t used = 0;

    for (unsigned i = 0; i < type->n_values && used < size; i++)
        if (type->values[i].value != 0)
            used += (size_t)snprintf(out + used, size - used, "%s%s",
                                     used > 0 ? ", " : "", type->values[i].name);
    for (char *c = out; *c != '\0'; c++)
        *c = (char)(*c >= 'A' && *c <= 'Z' ? *c - 'A' + 'a' : *c);
}

struct err filter_state(const struct cli *cli, const ProtobufCEnumDescriptor *type,
                        int *out)
{
    const char *text = cli->options[OPT_STATUS];
    char names[96];

    *out = 0;
    if (text == NULL)
        return ERR_NONE;
    for (unsigned i = 0; i < type->n_values; i++)
        if (type->values[i].value != 0 && strcasecmp(type->values[i].name, text) == 0) {
            *out = type->values[i].value;
            return ERR_NONE;
        }
    name_all(type, names, sizeof names);
    return err_make(ERR_INVALID_ARGUMENT, "--status is \"%.40s\"; it must be one of %s",
                    text, names);
}

/* ---- more ------------------------------------------------------------------------ */

void filter_tell_more(const struct cli *cli, size_t count, const char *next)
{
    const char *limit = cli->options[OPT_LIMIT];
    size_t most = limit == NULL ? LIST_DEFAULT : (size_t)atoi(limit);

    if (*next == '\0')
        return;
    if (count < most)
        fprintf(cli->err, "Only the newest %d were looked at, up to %s.  ", PAGE_SCAN_MAX,
                next);
    fprintf(cli->err, "More: the same command with --after %s\n", next);
}
