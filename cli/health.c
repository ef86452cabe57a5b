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

enum { PLACES_MAX = 8, PING_MAX = 1000, STATE_SIZE = 256 };

/* The servers asked: that of --service or --url, else all of the stack's. */
static struct err places_asked(const struct cli *cli, const struct place **out,
                               size_t *count)
{
    struct err e = place_asked(cli, &out[0]);

    *count = out[0] != NULL;
    for (size_t i = 0; *count == 0 && !failed(e) && i < PLACES_COUNT; i++)
        out[i] = &PLACES[i];
    if (!failed(e) && *count == 0)
        *count = PLACES_COUNT;
    return e;
}

/* ---- health ---------------------------------------------------------------------- */

/* What one server said, as one looks at it. */
struct look {
    const char *state; /* SERVING, NOT_SERVING, UNREACHABLE */
    char detail[STATE_SIZE];
    struct outcome end;
};

static void take_answer(const struct question *q, struct look *look)
{
    const Rpc__V1__HealthCheckReply *reply = (const Rpc__V1__HealthCheckReply *)q->reply;

    *look = (struct look){.state = "UNREACHABLE", .end = q->end};
    look->end.error.subject = NULL; /* lives in the question's memory */
    snprintf(look->detail, sizeof look->detail, "%s", q->end.error.message);
    if (reply == NULL)
        return;
    bool serving = reply->status == RPC__V1__HEALTH_CHECK_REPLY__STATUS__SERVING;
    look->state = serving ? "SERVING" : "NOT_SERVING";
    snprintf(look->detail, sizeof look->detail, "%s", reply->detail);
    if (!serving)
        look->end = local(err_make(ERR_UNAVAILABLE, "%s is not serving", q->place->name));
}

/* Asks all at once, and makes a look of each answer. */
static void look_at(const struct cli *cli, const struct place *const *places, size_t count,
                    struct look *looks)
{
    Rpc__V1__HealthCheckRequest request = RPC__V1__HEALTH_CHECK_REQUEST__INIT;
    struct question q[PLACES_MAX];

    for (size_t i = 0; i < count; i++)
        q[i] = (struct question){.place = places[i],
                                 .method = "rpc.v1.Health/Check",
                                 .request = &request.base,
                                 .reply_type = &rpc__v1__health_check_reply__descriptor};
    several_ask(cli, q, count);
    for (size_t i = 0; i < count; i++)
        take_answer(&q[i], &looks[i]);
    several_close(q, count);
}

static void print_look(const struct cli *cli, const struct place *place,
                       const struct look *look, int64_t at_ms)
{
    char time[TIME_SIZE];
    enum style style = look->end.status == 0 ? STYLE_GOOD : STYLE_BAD;

    if (cli->options[OPT_JSON] != NULL) {
        json_t *line = json_pack("{s:s, s:s, s:s}", "service", place->name, "status",
                                 look->state, "detail", look->detail);
        if (at_ms > 0)
            json_object_set_new(line, "at_ms", json_integer(at_ms));
        json_dumpf(line, cli->out, JSON_COMPACT);
        json_decref(line);
    } else {
        if (at_ms > 0)
            fprintf(cli->out, "%s  ", time_text(at_ms, time));
        fprintf(cli->out, "%-13s %s%-12s%s ", place->name, output_style(cli->out, style),
                look->state, output_style(cli->out, STYLE_PLAIN));
        output_text(cli->out, look->detail);
    }
    fputc('\n', cli->out);
}

/* All are asked; the exit status is that of the first which is not well. */
static struct outcome look_once(const struct cli *cli, const struct place *const *places,
                                size_t count)
{
    struct look looks[PLACES_MAX];
    struct outcome first = done();

    look_at(cli, places, count, looks);
    for (size_t i = 0; i < count; i++) {
        print_look(cli, places[i], &looks[i], 0);
        if (first.status == 0)
            first = looks[i].end;
    }
    return first;
}

/* For ever, or --count times, or until nobody reads: a line for each change. */
static struct outcome watch(const struct cli *cli, const struct place *const *places,
                            size_t count, int64_t interval_ms, int64_t times)
{
    struct look looks[PLACES_MAX];
    const char *last[PLACES_MAX] = {NULL}; /* the state that was told */
    struct timespec pause = {.tv_sec = interval_ms / 1000,
                             .tv_nsec = interval_ms % 1000 * 1000000};

    for (int64_t round = 0; times == 0 || round < times; round++) {
        if (round > 0)
            nanosleep(&pause, NULL);
        look_at(cli, places, count, looks);
        for (size_t i = 0; i < count; i++) {
            if (last[i] == NULL || strcmp(last[i], looks[i].state) != 0)
                print_look(cli, places[i], &looks[i], clock_wall_ms());
            last[i] = looks[i].state;
        }
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
    struct look looks[PLACES_MAX];
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
    look_at(cli, places, places_count, looks);
    for (size_t i = 0; us != NULL && i < places_count; i++) {
        bool there = strcmp(looks[i].state, "UNREACHABLE") != 0;
        struct outcome end = there ? measure(cli, places[i], us, count) : looks[i].end;
        if (end.status == 0)
            print_ping(cli, places[i], us, count);
        else
            fprintf(cli->err, "%-13s %s\n", places[i]->name, end.error.message);
        if (first.status == 0)
            first = end;
    }
    return us == NULL ? local(err_memory()) : first;
}
