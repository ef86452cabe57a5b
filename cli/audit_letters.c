/* audit_letters.c - see audit_letters.h. */
#include "cli/audit_letters.h"

#include <inttypes.h>

#include "cli/catalogue.h"
#include "cli/line.h"
#include "proto/events.pb-c.h"

enum { PAGE = 1000, PAGE_MEMORY_MAX = 4 << 20 };

static struct err judge(struct findings *findings, const Events__V1__DeadLetter *letter)
{
    char what[FINDING_SIZE];

    if (letter->next_attempt_ms != 0)
        return ERR_NONE;
    snprintf(what, sizeof what, "given up after %" PRId64 " attempts: %s",
             letter->attempts, letter->reason);
    return findings_add(findings, CHECK_EVENT_BUS, letter->id, what);
}

/* How many events there are to be looked at. */
static struct outcome count_events(struct line *line, struct arena *arena,
                                   int64_t timeout_ms, struct findings *findings)
{
    Events__V1__GetLagRequest request = EVENTS__V1__GET_LAG_REQUEST__INIT;
    const ProtobufCMessage *message = NULL;
    struct line_call call;

    line_start(line, &call, "events.v1.Events/GetLag", &request.base,
               &events__v1__get_lag_reply__descriptor, arena, timeout_ms);
    struct outcome end = line_wait(&call, &message);
    if (end.status == 0)
        findings->looked_at[CHECK_EVENT_BUS] =
            ((const Events__V1__GetLagReply *)message)->placed;
    return end;
}

static struct outcome judge_page(struct line *line, struct arena *arena,
                                 int64_t timeout_ms, struct findings *findings,
                                 Events__V1__ListDeadLettersRequest *request, bool *more)
{
    const ProtobufCMessage *message = NULL;
    struct line_call call;

    line_start(line, &call, "events.v1.Events/ListDeadLetters", &request->base,
               &events__v1__list_dead_letters_reply__descriptor, arena, timeout_ms);
    struct outcome end = line_wait(&call, &message);
    const Events__V1__ListDeadLettersReply *reply =
        (const Events__V1__ListDeadLettersReply *)message;
    for (size_t i = 0; end.status == 0 && i < reply->n_letters; i++) {
        if (reply->letters[i]->position <= request->after)
            return remote(err_make(ERR_DATA_LOSS, "ListDeadLetters is not in order."));
        request->after = reply->letters[i]->position;
        end = local(judge(findings, reply->letters[i]));
    }
    *more = end.status == 0 && reply->n_letters == PAGE;
    return end;
}

struct outcome audit_letters(const struct cli *cli, int64_t timeout_ms,
                             struct findings *findings)
{
    Events__V1__ListDeadLettersRequest request =
        EVENTS__V1__LIST_DEAD_LETTERS_REQUEST__INIT;
    struct arena *arena = arena_new(PAGE_MEMORY_MAX);
    struct line *line = NULL;
    bool more = true;
    struct outcome end = arena == NULL
                             ? local(err_memory())
                             : line_open(cli, place_find("orchestrator"), &line);

    request.limit = PAGE;
    if (end.status == 0)
        end = count_events(line, arena, timeout_ms, findings);
    while (more && end.status == 0) {
        arena_reset(arena);
        end = judge_page(line, arena, timeout_ms, findings, &request, &more);
    }
    line_close(line);
    arena_free(arena);
    return end;
}
