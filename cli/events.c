/* events.c - checkoutctl events: read the log, follow it, see its lag, publish it anew.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "cli/catalogue.h"
#include "cli/commands.h"
#include "cli/cursors.h"
#include "cli/line.h"
#include "cli/output.h"
#include "cli/remote.h"
#include "proto/events.pb-c.h"
#include "rpc/server/server.h"

enum { WAIT_MS = 10000, PAGE = 1000 };

/* An option that is a number; `fallback` when it was not given. */
static struct err take_number(const struct cli *cli, enum option option, const char *name,
                              int64_t least, int64_t most, int64_t fallback, int64_t *out)
{
    *out = fallback;
    return cli->options[option] == NULL
               ? ERR_NONE
               : cli_number(cli->options[option], name, least, most, out);
}

/* ---- read and tail ----------------------------------------------------------------- */

/* One line an event: its position, and the CloudEvent as it is published. */
static void print_events(const struct cli *cli, const Events__V1__ReadReply *reply)
{
    for (size_t i = 0; i < reply->n_events; i++) {
        fprintf(cli->out,
                "{\"position\":%" PRId64 ",\"event\":", reply->events[i]->position);
        output_text(cli->out, reply->events[i]->json);
        fprintf(cli->out, "}\n");
    }
}

/* A page that was cut says how to go on. */
static void tell_cut(const struct cli *cli, const Events__V1__ReadReply *reply)
{
    if (reply->n_events > 0 && reply->last < reply->placed)
        fprintf(cli->err,
                "More, up to %" PRId64 ": the same command with --after %" PRId64 "\n",
                reply->placed, reply->last);
}

static struct outcome read_some(const struct cli *cli, struct line *line,
                                struct arena *arena,
                                const Events__V1__ReadRequest *request,
                                const Events__V1__ReadReply **out)
{
    const ProtobufCMessage *reply = NULL;
    struct line_call call;

    line_start(line, &call, "events.v1.Events/Read", &request->base,
               &events__v1__read_reply__descriptor, arena,
               request->wait_ms + cli->max_time_ms);
    struct outcome end = line_wait(&call, &reply);
    *out = (const Events__V1__ReadReply *)reply;
    return end;
}

static struct err take_read(const struct cli *cli, Events__V1__ReadRequest *request)
{
    int64_t limit = 0, wait_ms = 0;
    struct err e =
        take_number(cli, OPT_AFTER, "--after", 0, INT64_MAX, 0, &request->after);

    if (!failed(e))
        e = take_number(cli, OPT_LIMIT, "--limit", 1, PAGE, 0, &limit);
    if (!failed(e))
        e = take_number(cli, OPT_WAIT, "--wait", 0, 60000, 0, &wait_ms);
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
    struct line *line = NULL;
    struct err e = take_read(cli, &request);

    if (failed(e))
        return misused(e);
    struct outcome end = line_open(cli, place_find("orchestrator"), &line);
    if (end.status == 0)
        end = read_some(cli, line, cli->arena, &request, &reply);
    if (end.status == 0) {
        print_events(cli, reply);
        tell_cut(cli, reply);
    }
    line_close(line);
    return end;
}

/* The newest position there is. */
static struct outcome find_end(const struct cli *cli, int64_t *placed)
{
    Events__V1__GetLagRequest request = EVENTS__V1__GET_LAG_REQUEST__INIT;
    const ProtobufCMessage *reply = NULL;
    struct outcome end =
        remote_call(cli, place_find("orchestrator"), "events.v1.Events/GetLag",
                    &request.base, &events__v1__get_lag_reply__descriptor, &reply);

    if (end.status == 0)
        *placed = ((const Events__V1__GetLagReply *)reply)->placed;
    return end;
}

/* Whether asking once more may help: a replica died, or the database is away. */
static bool passing(struct outcome end)
{
    return end.status >= EXIT_RPC &&
           (end.error.code == ERR_UNAVAILABLE || end.error.code == ERR_DEADLINE_EXCEEDED);
}

/* Until a signal, or until nobody reads what is printed. */
static struct outcome follow(const struct cli *cli, struct line *line,
                             struct arena *arena, Events__V1__ReadRequest *request)
{
    struct outcome end = done();

    while ((end.status == 0 || passing(end)) && !ferror(cli->out)) {
        const Events__V1__ReadReply *reply = NULL;
        arena_reset(arena);
        end = read_some(cli, line, arena, request, &reply);
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
    struct line *line = NULL;
    struct err e = arena == NULL ? err_memory() : take_read(cli, &request);
    struct outcome end = misused(e);

    request.limit = PAGE;
    request.wait_ms = WAIT_MS;
    if (end.status == 0 && cli->options[OPT_AFTER] == NULL)
        end = find_end(cli, &request.after);
    if (end.status == 0)
        end = line_open(cli, place_find("orchestrator"), &line);
    if (end.status == 0)
        end = follow(cli, line, arena, &request);
    line_close(line);
    arena_free(arena);
    return end;
}

/* ---- replay ------------------------------------------------------------------------ */

struct outcome command_events_replay(struct cli *cli)
{
    Events__V1__ReplayRequest request = EVENTS__V1__REPLAY_REQUEST__INIT;
    const ProtobufCMessage *reply = NULL;
    struct err e = take_number(cli, OPT_FROM, "--from", 1, INT64_MAX, 0, &request.from);

    if (failed(e))
        return misused(e);
    struct outcome end =
        remote_call(cli, place_find("orchestrator"), "events.v1.Events/Replay",
                    &request.base, &events__v1__replay_reply__descriptor, &reply);
    if (end.status != 0)
        return end;
    if (cli->options[OPT_JSON] != NULL)
        return local(output_message(cli, reply));
    fprintf(cli->out,
            "%" PRId64
            " events are being published once more; see: checkoutctl events lag\n",
            ((const Events__V1__ReplayReply *)reply)->count);
    return end;
}

/* ---- lag --------------------------------------------------------------------------- */

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

static void print_lag(const struct cli *cli, const Events__V1__GetLagReply *lag)
{
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
    print_cursors(out, lag);
}

struct outcome command_events_lag(struct cli *cli)
{
    Events__V1__GetLagRequest request = EVENTS__V1__GET_LAG_REQUEST__INIT;
    const ProtobufCMessage *reply = NULL;
    struct outcome end =
        remote_call(cli, place_find("orchestrator"), "events.v1.Events/GetLag",
                    &request.base, &events__v1__get_lag_reply__descriptor, &reply);

    if (end.status == 0 && cli->options[OPT_JSON] != NULL)
        return local(output_message(cli, reply));
    if (end.status == 0)
        print_lag(cli, (const Events__V1__GetLagReply *)reply);
    return end;
}
