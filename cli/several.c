/* several.c - see several.h. */
#include "cli/several.h"

#include <stdio.h>

#include "base/clock.h"

enum { QUESTION_MEMORY_MAX = 32 << 20 };

static int64_t patience(const struct cli *cli)
{
    return cli->options[OPT_MAX_TIME] != NULL ? cli->max_time_ms : SEVERAL_MS;
}

int64_t several_deadline(const struct cli *cli)
{
    return clock_monotonic_ms() + patience(cli);
}

int64_t several_share(int64_t deadline_ms, bool last)
{
    int64_t left = clock_remaining_ms(deadline_ms);
    int64_t share = last ? left : left / 2;

    return share > 0 ? share : 1; /* 0 would mean the default */
}

static void start(const struct cli *cli, struct question *q)
{
    q->reply = NULL;
    q->started = false;
    q->line = NULL;
    q->arena = arena_new(QUESTION_MEMORY_MAX);
    q->end = q->arena == NULL ? local(err_memory()) : line_open(cli, q->place, &q->line);
    if (q->end.status != 0)
        return;
    line_start(q->line, &q->call, q->method, q->request, q->reply_type, q->arena,
               q->timeout_ms > 0 ? q->timeout_ms : patience(cli));
    q->started = true;
}

void several_ask(const struct cli *cli, struct question *questions, size_t count)
{
    for (size_t i = 0; i < count; i++)
        start(cli, &questions[i]);
    for (size_t i = 0; i < count; i++) {
        struct question *q = &questions[i];
        if (q->started)
            q->end = line_wait(&q->call, &q->reply);
        if (q->end.status != 0)
            q->reply = NULL;
    }
}

void several_close(struct question *questions, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        line_close(questions[i].line);
        arena_free(questions[i].arena);
        questions[i].line = NULL;
        questions[i].arena = NULL;
    }
}

bool question_missing(const struct question *q)
{
    return q->end.status != 0 && q->end.error.code != ERR_NOT_FOUND;
}

/* Whether it is missing, and the first of its service that is. */
static bool is_first(const struct question *questions, size_t i)
{
    if (!question_missing(&questions[i]))
        return false;
    for (size_t k = 0; k < i; k++)
        if (questions[k].place == questions[i].place && question_missing(&questions[k]))
            return false;
    return true;
}

static struct err reason_of(const struct question *q)
{
    struct err e = q->end.error;

    snprintf(e.message, sizeof e.message, "%s is missing: %.140s", q->place->name,
             q->end.error.message);
    e.subject = NULL; /* may live in the question's memory */
    e.effect = EFFECT_NONE;
    return e;
}

/* Where the next one is, from `at` on; count: there is none. */
static size_t next_missing(const struct question *questions, size_t count, size_t at)
{
    while (at < count && !is_first(questions, at))
        at++;
    return at;
}

struct outcome several_end(const struct question *questions, size_t count)
{
    size_t first = next_missing(questions, count, 0);

    if (first == count)
        return done();
    return (struct outcome){questions[first].end.status, reason_of(&questions[first])};
}

void several_name_others(const struct cli *cli, const struct question *questions,
                         size_t count)
{
    size_t i = next_missing(questions, count, 0);

    while (i < count && (i = next_missing(questions, count, i + 1)) < count)
        fprintf(cli->err, "checkoutctl: %s\n", reason_of(&questions[i]).message);
}

json_t *several_missing_json(const struct question *questions, size_t count)
{
    json_t *missing = json_array();

    for (size_t i = next_missing(questions, count, 0); i < count;
         i = next_missing(questions, count, i + 1))
        json_array_append_new(missing,
                              json_pack("{s:s, s:s}", "service", questions[i].place->name,
                                        "reason", questions[i].end.error.message));
    return missing;
}
