/*
 * top.c - checkoutctl top: a live screen of what the servers are doing, look by look
 * (look.h).
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "cli/catalogue.h"
#include "cli/commands.h"
#include "cli/look.h"
#include "cli/output.h"

/* ---- showing ------------------------------------------------------------------ */

static const char *age_text(int64_t ms, char out[TIME_SIZE])
{
    int64_t s = ms / 1000;

    if (s < 3600)
        snprintf(out, TIME_SIZE, "%" PRId64 "m%02" PRId64 "s", s / 60, s % 60);
    else
        snprintf(out, TIME_SIZE, "%" PRId64 "h%02" PRId64 "m", s / 3600, s / 60 % 60);
    return out;
}

static void print_server(FILE *out, const char *name, const struct sample *before,
                         const struct sample *now, double seconds)
{
    char age[TIME_SIZE];

    if (*now->trouble != '\0') {
        fprintf(out, "%-13s %s", name, output_style(out, STYLE_BAD));
        output_text(out, now->trouble);
        fprintf(out, "%s\n", output_style(out, STYLE_PLAIN));
        return;
    }
    struct rate rate = rate_of_server(before, now, seconds);
    fprintf(out,
            "%-13s %8s %9.1f %9.1f %9.2f %9" PRId64 " %7" PRId64 " %7.1f %7" PRId64 "\n",
            name, age_text(now->now_ms - now->started_at_ms, age), rate.calls,
            rate.failed, rate.mean_ms, rate.in_flight, now->queue,
            batch_size(before, now), now->batch_most);
}

static void print_methods(FILE *out, const struct sample *before,
                          const struct sample *now, double seconds)
{
    for (size_t i = 0; i < now->count; i++) {
        const struct method_sample *row = &now->methods[i];
        struct rate rate = rate_of(before, now, row, seconds);
        if (row->calls == 0 || strncmp(row->name, "rpc.v1.", 7) == 0)
            continue;
        fprintf(out, "%-40s %9.1f %9.1f %9.2f %9" PRId64 " %9.2f %9.2f\n", row->name,
                rate.calls, rate.failed, rate.mean_ms, rate.in_flight,
                (double)row->p50_us / 1000, (double)row->p99_us / 1000);
    }
}

static void print_screen(const struct cli *cli, const struct look *before,
                         const struct look *now, double seconds)
{
    FILE *out = cli->out;
    char time[TIME_SIZE];
    const char *bold = output_style(out, STYLE_BOLD),
               *plain = output_style(out, STYLE_PLAIN);

    if (output_for_people(cli))
        fprintf(out, "\033[H\033[J"); /* home, clear to the end */
    fprintf(out, "%s", time_text(clock_wall_ms(), time));
    if (now->unfinished >= 0)
        fprintf(out, "   %s%" PRId64 " unfinished checkouts, %" PRId64 " sagas running",
                now->unfinished >= 1000 ? "at least " : "", now->unfinished, now->sagas);
    fprintf(out, "\n\n%s%-13s %8s %9s %9s %9s %9s %7s %7s %7s%s\n", bold, "server", "up",
            "calls/s", "failed/s", "mean ms", "in flight", "queue", "batch", "largest",
            plain);
    for (size_t i = 0; i < PLACES_COUNT; i++)
        print_server(out, PLACES[i].name, &before->servers[i], &now->servers[i], seconds);
    fprintf(out, "\n%s%-40s %9s %9s %9s %9s %9s %9s%s\n", bold, "method", "calls/s",
            "failed/s", "mean ms", "in flight", "p50 ms", "p99 ms", plain);
    for (size_t i = 0; i < PLACES_COUNT; i++)
        print_methods(out, &before->servers[i], &now->servers[i], seconds);
    fputc('\n', out);
}

/* Whole numbers only: microseconds, thousandths of a call a second. */
static json_t *json_of_rate(const struct rate *rate)
{
    return json_pack(
        "{s:I, s:I, s:I, s:I}", "calls_per_1000s", (json_int_t)(rate->calls * 1000),
        "failed_per_1000s", (json_int_t)(rate->failed * 1000), "mean_us",
        (json_int_t)(rate->mean_ms * 1000), "in_flight", (json_int_t)rate->in_flight);
}

static json_t *json_of_server(const char *name, const struct sample *before,
                              const struct sample *now, double seconds)
{
    struct rate all = rate_of_server(before, now, seconds);
    json_t *json = json_of_rate(&all), *methods = json_array();

    for (size_t i = 0; i < now->count; i++) {
        const struct method_sample *row = &now->methods[i];
        struct rate rate = rate_of(before, now, row, seconds);
        if (row->calls == 0)
            continue;
        json_t *one = json_of_rate(&rate);
        json_object_set_new(one, "method", json_string(row->name));
        json_object_set_new(one, "calls", json_integer(row->calls));
        json_object_set_new(one, "p50_us", json_integer((json_int_t)row->p50_us));
        json_object_set_new(one, "p99_us", json_integer((json_int_t)row->p99_us));
        json_array_append_new(methods, one);
    }
    json_object_set_new(json, "server", json_string(name));
    json_object_set_new(json, "trouble", json_string(now->trouble));
    json_object_set_new(json, "queue", json_integer(now->queue));
    json_object_set_new(json, "batch_most", json_integer(now->batch_most));
    json_object_set_new(json, "methods", methods);
    return json;
}

static struct err print_line(const struct cli *cli, const struct look *before,
                             const struct look *now, double seconds)
{
    json_t *servers = json_array();

    for (size_t i = 0; i < PLACES_COUNT; i++)
        json_array_append_new(servers, json_of_server(PLACES[i].name, &before->servers[i],
                                                      &now->servers[i], seconds));
    return output_json(cli, json_pack("{s:I, s:I, s:I, s:o}", "at_ms",
                                      (json_int_t)clock_wall_ms(), "unfinished",
                                      (json_int_t)now->unfinished, "sagas",
                                      (json_int_t)now->sagas, "servers", servers));
}

/* ---- the loop ----------------------------------------------------------------- */

static void sleep_until(int64_t us)
{
    int64_t left = us - clock_monotonic_us();

    if (left > 0)
        nanosleep(&(struct timespec){.tv_sec = left / 1000000,
                                     .tv_nsec = left % 1000000 * 1000},
                  NULL);
}

/* Looks again and again; the first look is only what the second is compared with. */
static struct outcome loop(const struct cli *cli, struct look looks[2],
                           int64_t interval_s, int64_t times)
{
    int64_t looked_us = clock_monotonic_us();
    struct outcome end = look_take(cli, NULL, &looks[0]);
    struct err e = ERR_NONE;

    for (int64_t round = 0; !failed(e) && (times == 0 || round < times); round++) {
        const struct look *before = &looks[round % 2];
        struct look *now = &looks[(round + 1) % 2];
        sleep_until(looked_us + interval_s * 1000000);
        double seconds = (double)(clock_monotonic_us() - looked_us) / 1e6;
        looked_us = clock_monotonic_us();
        end = look_take(cli, before, now);
        if (cli->options[OPT_JSON] != NULL)
            e = print_line(cli, before, now, seconds);
        else
            print_screen(cli, before, now, seconds);
        if (fflush(cli->out) != 0)
            break;
    }
    return failed(e) ? local(e) : end;
}

struct outcome command_top(struct cli *cli)
{
    const char *interval = cli->options[OPT_INTERVAL], *times = cli->options[OPT_TIMES];
    int64_t seconds = 1, rounds = 0;
    struct err e = interval == NULL
                       ? ERR_NONE
                       : cli_number(interval, "--interval", 1, 3600, &seconds);

    if (!failed(e) && times != NULL)
        e = cli_number(times, "--count", 1, 1000000, &rounds);
    if (failed(e))
        return misused(e);
    struct look *looks = calloc(2, sizeof *looks);
    struct outcome end =
        looks == NULL ? local(err_memory()) : loop(cli, looks, seconds, rounds);
    free(looks);
    return end;
}
