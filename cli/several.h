/*
 * several.h - asking several services at once, so that one that is down or hangs takes
 * nothing away from what the others know.
 *
 *     several_ask(questions) --> each has a reply, or the reason why there is none
 *     several_end()          --> the exit status, and who is missing
 *
 * A command that needs one round to know what to ask in the next gives all of them one
 * deadline: several_deadline() at its beginning, several_share() for each round.
 */
#pragma once

#include <jansson.h>

#include "cli/line.h"

enum { SEVERAL_MS = 2000 }; /* for an answer, unless --max-time says otherwise */

struct question {
    const struct place *place;
    const char *method;
    const ProtobufCMessage *request;
    const ProtobufCMessageDescriptor *reply_type;
    int64_t timeout_ms; /* 0: --max-time, or SEVERAL_MS */
    /* What came of it: `reply` is NULL when there is none, also for NOT_FOUND, which is an
     * answer.  `end` lives as long as the arena. */
    struct outcome end;
    const ProtobufCMessage *reply;
    /* Its own. */
    struct arena *arena;
    struct line *line;
    struct line_call call;
    bool started;
};

/* When a command that begins now, of however many rounds, has no time left: after --max-time,
 * or SEVERAL_MS. */
int64_t several_deadline(const struct cli *cli);

/* What a round may take of the time until then, as its questions' timeout_ms: all of it, or
 * half when another round may follow, so that one that hangs leaves time to ask the others. */
int64_t several_share(int64_t deadline_ms, bool last);

/* Asks all of them and waits until each has ended.  Free with several_close. */
void several_ask(const struct cli *cli, struct question *questions, size_t count);

/* Frees what the questions hold, replies and subjects of errors too. */
void several_close(struct question *questions, size_t count);

/* Whether the service of a question did not say what it was asked for. */
bool question_missing(const struct question *question);

/* OK when none is missing, else the first one's outcome: to end with, also after
 * several_close. */
struct outcome several_end(const struct question *questions, size_t count)
    __attribute__((warn_unused_result));

/* Names on cli->err each service that is missing, but for the one of several_end. */
void several_name_others(const struct cli *cli, const struct question *questions,
                         size_t count);

/* All that are missing, for programs: [{"service", "reason"}], each service once. */
json_t *several_missing_json(const struct question *questions, size_t count);
