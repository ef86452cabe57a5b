/*
 * events.c - checkoutctl events and cursors: reads and follows the log, shows its lag,
 * publishes it again, moves and deletes consumers' cursors, and handles dead letters,
 * which the bus refused.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "cli/commands/commands.h"
#include "cli/output.h"
#include "cli/view/find.h"
#include "proto/events.pb-c.h"
#include "rpc/server/server.h"

enum { WAIT_MS = 10000, PAGE = 1000 };

/* ---- read and tail ----------------------------------------------------------------- */

/* One line for each event: its position, and the CloudEvent as published. */
static void print_events(const struct cli *cli, const Events__V1__ReadReply *reply)
{
    for (size_t i = 0; i < reply->n_events; i++) {
        fprintf(cli->out,
                "{\"position\":%" PRId64 ",\"event\":", reply->events[i]->position);
        output_text(cli->out, reply->events[i]->json);
        fprintf(cli->out, "}\n");
    }
}

/* Prints how to continue after an incomplete page. */
static void print_more(const struct cli *cli, const Events__V1__ReadReply *reply)
{
    if (reply->n_events > 0 && reply->last < reply->placed)
        fprintf(cli->err,
                "More, up to %" PRId64 ": the same command with --after %" PRId64 "\n",
                reply->placed, reply->last);
}

static struct outcome read_some(const struct cli *cli, struct remote *server,
                                struct arena *arena,
                                const Events__V1__ReadRequest *request,
                                const Events__V1__ReadReply **out)
{
    const ProtobufCMessage *reply = NULL;
    struct pending_call call;

    remote_start(server, &call, &READ_EVENTS, &request->base, arena,
                 request->wait_ms + cli->max_time_ms);
    struct outcome end = remote_wait(&call, &reply);
    *out = (const Events__V1__ReadReply *)reply;
    return end;
}

static struct err take_read(const struct cli *cli, Events__V1__ReadRequest *request)
{
    int64_t limit = 0, wait_ms = 0;
    struct err e = cli_option(cli, OPT_AFTER, 0, INT64_MAX, &request->after);

    if (!failed(e))
        e = cli_option(cli, OPT_LIMIT, 1, PAGE, &limit);
    if (!failed(e))
        e = cli_option(cli, OPT_WAIT, 0, 60000, &wait_ms);
    request->limit = (int32_t)limit;
    request->wait_ms = (int32_t)wait_ms;
    if (cli->options[OPT_CURSOR] != NULL)
        request->cursor = borrow(cli->options[OPT_CURSOR]);
    return e;
}

struct outcome command_events_read(struct cli *cli)
{
    Events__V1__ReadRequest request = EVENTS__V1__READ_REQUEST__INIT;
    const Events__V1__ReadReply *reply = NULL;
    struct remote *server = NULL;
    struct err e = take_read(cli, &request);

    if (failed(e))
        return misused(e);
    struct outcome end = remote_open(cli, place_find("orchestrator"), &server);
    if (end.status == 0)
        end = read_some(cli, server, cli->arena, &request, &reply);
    if (end.status == 0) {
        print_events(cli, reply);
        print_more(cli, reply);
    }
    remote_close(server);
    return end;
}

/* The newest position there is. */
static struct outcome find_end(const struct cli *cli, int64_t *placed)
{
    Events__V1__GetLagRequest request = EVENTS__V1__GET_LAG_REQUEST__INIT;
    const ProtobufCMessage *reply = NULL;
    struct outcome end = remote_call(cli, NULL, &GET_LAG, &request.base, &reply);

    if (end.status == 0)
        *placed = ((const Events__V1__GetLagReply *)reply)->placed;
    return end;
}

/* Whether repeating the call may help: a replica died, or the database is unreachable. */
static bool is_passing(struct outcome end)
{
    return end.status >= EXIT_RPC &&
           (end.error.code == ERR_UNAVAILABLE || end.error.code == ERR_DEADLINE_EXCEEDED);
}

/* Runs until a signal, or until the output is closed. */
static struct outcome follow(const struct cli *cli, struct remote *server,
                             struct arena *arena, Events__V1__ReadRequest *request)
{
    struct outcome end = done();

    while ((end.status == 0 || is_passing(end)) && !ferror(cli->out)) {
        const Events__V1__ReadReply *reply = NULL;
        arena_reset(arena);
        end = read_some(cli, server, arena, request, &reply);
        if (end.status != 0)
            continue;
        print_events(cli, reply);
        fflush(cli->out);
        request->after = reply->last;
    }
    return end;
}

struct outcome command_events_tail(struct cli *cli)
{
    Events__V1__ReadRequest request = EVENTS__V1__READ_REQUEST__INIT;
    struct arena *arena = arena_new(RPC_ARENA_MAX);
    struct remote *server = NULL;
    struct err e = arena == NULL ? err_memory() : take_read(cli, &request);
    struct outcome end = misused(e);

    request.limit = PAGE;
    request.wait_ms = WAIT_MS;
    if (end.status == 0 && cli->options[OPT_AFTER] == NULL)
        end = find_end(cli, &request.after);
    if (end.status == 0)
        end = remote_open(cli, place_find("orchestrator"), &server);
    if (end.status == 0)
        end = follow(cli, server, arena, &request);
    remote_close(server);
    arena_free(arena);
    return end;
}

/* ---- replay ------------------------------------------------------------------------ */

static void print_replayed(const struct cli *cli, const void *message)
{
    fprintf(cli->out,
            "%" PRId64
            " events are being published once more; see: checkoutctl events lag\n",
            ((const Events__V1__ReplayReply *)message)->count);
}

struct outcome command_events_replay(struct cli *cli)
{
    Events__V1__ReplayRequest request = EVENTS__V1__REPLAY_REQUEST__INIT;
    struct err e = cli_option(cli, OPT_FROM, 1, INT64_MAX, &request.from);

    return failed(e) ? misused(e)
                     : remote_show(cli, &REPLAY_EVENTS, &request.base, print_replayed);
}

/* ---- lag --------------------------------------------------------------------------- */

static void print_cursors(const struct cli *cli, const void *message)
{
    const Events__V1__GetLagReply *lag = message;
    FILE *out = cli->out;
    char time[TIME_SIZE];

    fprintf(out, "%-16s %-24s %12s %10s  %s\n", "caller", "cursor", "position", "behind",
            "committed");
    for (size_t i = 0; i < lag->n_cursors; i++) {
        const Events__V1__Cursor *c = lag->cursors[i];
        fprintf(out, "%-16s %-24s %12" PRId64 " %10" PRId64 "  %s\n", c->caller, c->name,
                c->position, c->behind, time_text(c->committed_at_ms, time));
    }
}

static void print_bus(FILE *out, const Events__V1__GetLagReply *lag)
{
    if (!lag->bus) {
        fprintf(out, "published    %12s  no bus is configured (nats_url)\n", "-");
        return;
    }
    fprintf(out, "published    %12" PRId64 "  acknowledged by the bus up to here\n",
            lag->published);
    fprintf(out, "unpublished  %12" PRId64 "  the oldest for %.1f s\n", lag->unpublished,
            (double)lag->unpublished_ms / 1000);
    if (lag->dead_letters + lag->waiting_letters > 0)
        fprintf(out,
                "dead letters %12" PRId64 "  given up, and %" PRId64
                " still tried: checkoutctl events dead\n",
                lag->dead_letters, lag->waiting_letters);
}

static void print_lag(const struct cli *cli, const void *message)
{
    const Events__V1__GetLagReply *lag = message;
    char time[TIME_SIZE];
    FILE *out = cli->out;

    fprintf(out, "placed       %12" PRId64 "  the newest position\n", lag->placed);
    print_bus(out, lag);
    fprintf(out, "pruned       %12" PRId64 "  gone up to here\n", lag->pruned);
    fprintf(out, "unplaced     %12" PRId64 "  the oldest for %.1f s\n", lag->unplaced,
            (double)lag->unplaced_ms / 1000);
    fprintf(out, "relayed by   %s", *lag->holder == '\0' ? "nobody yet" : lag->holder);
    if (lag->held_since_ms != 0)
        fprintf(out, " since %s", time_text(lag->held_since_ms, time));
    fprintf(out, "\n\n");
    print_cursors(cli, message);
}

struct outcome command_events_lag(struct cli *cli)
{
    Events__V1__GetLagRequest request = EVENTS__V1__GET_LAG_REQUEST__INIT;

    return remote_show(cli, &GET_LAG, &request.base, print_lag);
}

/* ---- cursors ----------------------------------------------------------------------- */

struct outcome command_cursors_list(struct cli *cli)
{
    Events__V1__GetLagRequest request = EVENTS__V1__GET_LAG_REQUEST__INIT;

    return remote_show(cli, &GET_LAG, &request.base, print_cursors);
}

struct outcome command_cursors_reset(struct cli *cli)
{
    Events__V1__ResetCursorRequest request = EVENTS__V1__RESET_CURSOR_REQUEST__INIT;
    struct err e = cli_option(cli, OPT_AFTER, 0, INT64_MAX, &request.position);

    if (failed(e))
        return misused(e);
    request.caller = borrow(cli->words[0]);
    request.cursor = borrow(cli->words[1]);
    return remote_say(cli, &RESET_CURSOR, &request.base, "%s of %s begins after %s.\n",
                      cli->words[1], cli->words[0], cli->options[OPT_AFTER]);
}

struct outcome command_cursors_delete(struct cli *cli)
{
    Events__V1__DeleteCursorRequest request = EVENTS__V1__DELETE_CURSOR_REQUEST__INIT;

    request.caller = borrow(cli->words[0]);
    request.cursor = borrow(cli->words[1]);
    return remote_say(cli, &DELETE_CURSOR, &request.base,
                      "There is no cursor %s of %s.\n", cli->words[1], cli->words[0]);
}

/* ---- dead letters ------------------------------------------------------------------ */

static void print_dead_letter(FILE *out, const Events__V1__DeadLetter *event)
{
    char time[TIME_SIZE];

    output_text(out, event->id);
    fprintf(out, "  %s  ", time_text(event->refused_at_ms, time));
    if (event->attempts == 0)
        fprintf(out, "waits: ");
    else
        fprintf(out, "%s after %" PRId64 " attempts: ",
                event->next_attempt_ms == 0 ? "given up" : "still tried",
                event->attempts);
    output_text(out, event->reason);
    fputc('\n', out);
}

static void print_dead_letters(const struct cli *cli, const void *message)
{
    const Events__V1__ListDeadLettersReply *reply = message;

    for (size_t i = 0; i < reply->n_letters; i++)
        print_dead_letter(cli->out, reply->letters[i]);
    if (reply->next_before != 0)
        fprintf(cli->err, "More: the same command with --after %" PRId64 "\n",
                reply->next_before);
}

struct outcome command_events_dead(struct cli *cli)
{
    Events__V1__ListDeadLettersRequest request =
        EVENTS__V1__LIST_DEAD_LETTERS_REQUEST__INIT;
    struct filters filters;
    struct err e =
        filters_read(cli, &events__v1__dead_letter_state__descriptor, &filters);

    if (!failed(e))
        e = cli_option(cli, OPT_AFTER, 1, INT64_MAX, &request.before);
    if (failed(e))
        return misused(e);
    request.newest_first = true;
    request.limit = filters.limit;
    request.since_ms = filters.since_ms;
    request.until_ms = filters.until_ms;
    request.state = (Events__V1__DeadLetterState)filters.state;
    request.order_id = borrow(cli->options[OPT_ORDER]);
    request.user_id = borrow(cli->options[OPT_USER]);
    return remote_show(cli, &LIST_DEAD_LETTERS, &request.base, print_dead_letters);
}

static void print_resent(const struct cli *cli, const void *message)
{
    int64_t count = ((const Events__V1__ResendDeadLettersReply *)message)->count;

    if (count == 0 && cli->word_count > 0)
        fprintf(cli->out,
                "There is no dead letter %s, or the bus has stored it by now.\n",
                cli->words[0]);
    else
        fprintf(cli->out, "%" PRId64 " event%s given to the bus once more.\n", count,
                count == 1 ? " is" : "s are");
}

struct outcome command_events_resend(struct cli *cli)
{
    Events__V1__ResendDeadLettersRequest request =
        EVENTS__V1__RESEND_DEAD_LETTERS_REQUEST__INIT;

    request.id = borrow(cli->word_count > 0 ? cli->words[0] : "");
    return remote_show(cli, &RESEND_DEAD_LETTERS, &request.base, print_resent);
}

struct outcome command_events_drop(struct cli *cli)
{
    Events__V1__DropDeadLetterRequest request =
        EVENTS__V1__DROP_DEAD_LETTER_REQUEST__INIT;

    request.id = borrow(cli->words[0]);
    return remote_say(cli, &DROP_DEAD_LETTER, &request.base,
                      "There is no dead letter %s.\n", cli->words[0]);
}
