/* health.c - checkoutctl health and ping: who is there, how well, and how far away. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "cli/catalogue.h"
#include "cli/commands.h"
#include "cli/line.h"
#include "cli/output.h"
#include "cli/remote.h"
#include "cli/several.h"
#include "proto/rpc.pb-c.h"

enum {
    PLACES_MAX = 8,
    PING_MAX = 1000,
    ROW_NAME_SIZE = 64,
    ROWS_MAX = 256, /* that a watch remembers */
};

/* The servers asked: that of --service or --url, else all that the stack has. */
static struct err places_asked(const struct cli *cli, const struct place **out,
                               size_t *count)
{
    struct err e = place_asked(cli, &out[0]);

    *count = out[0] != NULL;
    if (failed(e) || *count > 0)
        return e;
    for (size_t i = 0; i < PLACES_ALL; i++)
        if (i < PLACES_COUNT || place_addresses(cli, &PLACES[i])[0] != '\0')
            out[(*count)++] = &PLACES[i];
    return e;
}

/* ---- health ---------------------------------------------------------------------- */

/* A server, or something that it does beside: as it is shown. */
struct row {
    const char *name, *part; /* part: NULL for the server itself */
    const char *state;       /* SERVING, NOT_SERVING, UNREACHABLE */
    const char *detail;
};

static const char *state_name(Rpc__V1__HealthCheckReply__Status status)
{
    return status == RPC__V1__HEALTH_CHECK_REPLY__STATUS__SERVING ? "SERVING"
                                                                  : "NOT_SERVING";
}

/* The rows of what a server answered, one after another; false when there is no i-th. */
static bool look_row(const struct question *look, size_t i, struct row *out)
{
    const Rpc__V1__HealthCheckReply *reply =
        (const Rpc__V1__HealthCheckReply *)look->reply;

    if (reply == NULL) {
        *out =
            (struct row){look->place->name, NULL, "UNREACHABLE", look->end.error.message};
        return i == 0;
    }
    if (i == 0)
        *out = (struct row){look->place->name, NULL, state_name(reply->status),
                            reply->detail};
    else if (i <= reply->n_parts)
        *out = (struct row){look->place->name, reply->parts[i - 1]->name,
                            state_name(reply->parts[i - 1]->status),
                            reply->parts[i - 1]->detail};
    return i <= reply->n_parts;
}

static bool is_well(const struct row *row)
{
    return strcmp(row->state, "SERVING") == 0;
}

static void name_row(const struct row *row, char out[ROW_NAME_SIZE])
{
    snprintf(out, ROW_NAME_SIZE, "%s%s%s", row->name, row->part == NULL ? "" : ".",
             row->part == NULL ? "" : row->part);
}

static void print_row(const struct cli *cli, const struct row *row, int64_t at_ms)
{
    char time[TIME_SIZE], name[ROW_NAME_SIZE];

    name_row(row, name);
    if (cli->options[OPT_JSON] != NULL) {
        json_t *line = json_pack("{s:s, s:s*, s:s, s:s}", "service", row->name, "part",
                                 row->part, "status", row->state, "detail", row->detail);
        if (at_ms > 0)
            json_object_set_new(line, "at_ms", json_integer(at_ms));
        json_dumpf(line, cli->out, JSON_COMPACT);
        json_decref(line);
    } else {
        if (at_ms > 0)
            fprintf(cli->out, "%s  ", time_text(at_ms, time));
        output_text(cli->out, name);
        fprintf(cli->out, "%*s %s%-12s%s ",
                (int)(strlen(name) < 19 ? 19 - strlen(name) : 0), "",
                output_style(cli->out, is_well(row) ? STYLE_GOOD : STYLE_BAD), row->state,
                output_style(cli->out, STYLE_PLAIN));
        output_text(cli->out, row->detail);
    }
    fputc('\n', cli->out);
}

/* What the exit status says of a row. */
static struct outcome end_of(const struct question *look, const struct row *row)
{
    struct outcome end = look->end;
    char name[ROW_NAME_SIZE];

    end.error.subject = NULL; /* it lives as long as the question */
    if (is_well(row) || end.status != 0)
        return end;
    name_row(row, name);
    return local(err_make(ERR_UNAVAILABLE, "%s is not serving", name));
}

/* All are asked at once, so that the slowest decides how long it takes.  Free with
 * several_close. */
static void look_at_all(const struct cli *cli, const struct place *const *places,
                        size_t count, struct question *looks)
{
    static const Rpc__V1__HealthCheckRequest REQUEST =
        RPC__V1__HEALTH_CHECK_REQUEST__INIT;

    for (size_t i = 0; i < count; i++)
        looks[i] =
            (struct question){.place = places[i],
                              .method = "rpc.v1.Health/Check",
                              .request = &REQUEST.base,
                              .reply_type = &rpc__v1__health_check_reply__descriptor};
    several_ask(cli, looks, count);
}

/* The exit status is that of the first which is not well. */
static struct outcome look_once(const struct cli *cli, const struct place *const *places,
                                size_t count)
{
    struct question looks[PLACES_MAX];
    struct outcome first = done();
    struct row row;

    look_at_all(cli, places, count, looks);
    for (size_t i = 0; i < count; i++)
        for (size_t r = 0; look_row(&looks[i], r, &row); r++) {
            print_row(cli, &row, 0);
            if (first.status == 0)
                first = end_of(&looks[i], &row);
        }
    fflush(cli->out);
    several_close(looks, count);
    return first;
}

/* How each row was when it was last printed. */
struct memory {
    struct {
        char name[ROW_NAME_SIZE];
        const char *state;
    } rows[ROWS_MAX];
    size_t count;
};

/* Whether the row is another than before, or there is no room to remember it. */
static bool has_changed(struct memory *memory, const struct row *row)
{
    char name[ROW_NAME_SIZE];
    size_t i = 0;

    name_row(row, name);
    while (i < memory->count && strcmp(memory->rows[i].name, name) != 0)
        i++;
    if (i == ROWS_MAX)
        return true;
    bool changed = i == memory->count || strcmp(memory->rows[i].state, row->state) != 0;
    if (i == memory->count) {
        memcpy(memory->rows[i].name, name, sizeof name);
        memory->count++;
    }
    memory->rows[i].state = row->state; /* a literal */
    return changed;
}

static void print_changes(const struct cli *cli, const struct question *look,
                          struct memory *memory)
{
    struct row row;

    for (size_t r = 0; look_row(look, r, &row); r++)
        if (has_changed(memory, &row))
            print_row(cli, &row, clock_wall_ms());
}

/* For ever, or --count times, or until nobody reads: a line for each change. */
static struct outcome watch(const struct cli *cli, const struct place *const *places,
                            size_t count, int64_t interval_ms, int64_t times)
{
    struct memory *memory = arena_alloc(cli->arena, sizeof *memory);
    struct question looks[PLACES_MAX];
    struct timespec pause = {.tv_sec = interval_ms / 1000,
                             .tv_nsec = interval_ms % 1000 * 1000000};

    if (memory == NULL)
        return local(err_memory());
    memory->count = 0;
    for (int64_t round = 0; times == 0 || round < times; round++) {
        if (round > 0)
            nanosleep(&pause, NULL);
        look_at_all(cli, places, count, looks);
        for (size_t i = 0; i < count; i++)
            print_changes(cli, &looks[i], memory);
        several_close(looks, count);
        if (fflush(cli->out) != 0)
            break;
    }
    return done();
}

struct outcome command_health(struct cli *cli)
{
    const struct place *places[PLACES_MAX];
    const char *interval = cli->options[OPT_INTERVAL], *times = cli->options[OPT_TIMES];
    int64_t seconds = 1, rounds = 0;
    size_t count = 0;
    struct err e = places_asked(cli, places, &count);

    if (!failed(e) && interval != NULL)
        e = cli_number(interval, "--interval", 1, 3600, &seconds);
    if (!failed(e) && times != NULL)
        e = cli_number(times, "--count", 1, 1000000, &rounds);
    if (failed(e))
        return misused(e);
    return cli->options[OPT_WATCH] != NULL
               ? watch(cli, places, count, seconds * 1000, rounds)
               : look_once(cli, places, count);
}

/* ---- ping ------------------------------------------------------------------------ */

static int compare_times(const void *a, const void *b)
{
    int64_t l = *(const int64_t *)a, r = *(const int64_t *)b;

    return (l > r) - (l < r);
}

/* Round trips on one connection, the first with the connecting. */
static struct outcome measure(const struct cli *cli, const struct place *place,
                              int64_t *us, int64_t count)
{
    struct line *line = NULL;
    int64_t began_us = clock_monotonic_us();
    struct outcome end = line_open(cli, place, &line);

    for (int64_t i = 0; end.status == 0 && i <= count; i++) {
        end = remote_connect(cli, line);
        us[i] = clock_monotonic_us() - began_us;
        began_us = clock_monotonic_us();
    }
    line_close(line);
    return end;
}

static void print_ping(const struct cli *cli, const struct place *place, int64_t *us,
                       int64_t count)
{
    double first = (double)us[0] / 1000;

    qsort(us + 1, (size_t)count, sizeof *us, compare_times);
    double least = (double)us[1] / 1000, most = (double)us[count] / 1000;
    double median = (double)us[1 + count / 2] / 1000;
    if (cli->options[OPT_JSON] != NULL)
        fprintf(cli->out,
                "{\"service\":\"%s\",\"connect_ms\":%.3f,\"count\":%" PRId64
                ",\"least_ms\":%.3f,\"median_ms\":%.3f,\"most_ms\":%.3f}\n",
                place->name, first, count, least, median, most);
    else
        fprintf(cli->out,
                "%-13s connected in %.3f ms; %" PRId64
                " round trips: least %.3f, median %.3f, most %.3f ms\n",
                place->name, first, count, least, median, most);
}

struct outcome command_ping(struct cli *cli)
{
    const struct place *places[PLACES_MAX];
    const char *times = cli->options[OPT_TIMES];
    struct question looks[PLACES_MAX];
    struct outcome first = done();
    size_t places_count = 0;
    int64_t count = 5;
    struct err e =
        times == NULL ? ERR_NONE : cli_number(times, "--count", 1, PING_MAX, &count);

    if (!failed(e))
        e = places_asked(cli, places, &places_count);
    if (failed(e))
        return misused(e);
    int64_t *us = arena_alloc(cli->arena, ((size_t)count + 1) * sizeof *us);
    look_at_all(cli, places, places_count, looks);
    for (size_t i = 0; us != NULL && i < places_count; i++) {
        struct outcome end =
            looks[i].reply != NULL ? measure(cli, places[i], us, count) : looks[i].end;
        end.error.subject = NULL; /* may live in the question's memory */
        if (end.status == 0)
            print_ping(cli, places[i], us, count);
        else
            fprintf(cli->err, "%-13s %s\n", places[i]->name, end.error.message);
        if (first.status == 0)
            first = end;
    }
    several_close(looks, places_count);
    return us == NULL ? local(err_memory()) : first;
}
