/* cursors.c - checkoutctl cursors: how far consumers are, moving and forgetting one. */
#include "cli/cursors.h"

#include <inttypes.h>

#include "cli/commands.h"
#include "cli/output.h"
#include "cli/remote.h"

void print_cursors(FILE *out, const Events__V1__GetLagReply *lag)
{
    char time[TIME_SIZE];

    fprintf(out, "%-16s %-24s %12s %10s  %s\n", "caller", "cursor", "position", "behind",
            "committed");
    for (size_t i = 0; i < lag->n_cursors; i++) {
        const Events__V1__Cursor *c = lag->cursors[i];
        fprintf(out, "%-16s %-24s %12" PRId64 " %10" PRId64 "  %s\n", c->caller, c->name,
                c->position, c->behind, time_text(c->committed_at_ms, time));
    }
}

static void print_list(const struct cli *cli, const ProtobufCMessage *message)
{
    print_cursors(cli->out, (const Events__V1__GetLagReply *)message);
}

struct outcome command_cursors_list(struct cli *cli)
{
    Events__V1__GetLagRequest request = EVENTS__V1__GET_LAG_REQUEST__INIT;

    return remote_show(cli, "orchestrator", "events.v1.Events/GetLag", &request.base,
                       &events__v1__get_lag_reply__descriptor, print_list);
}

static void print_reset(const struct cli *cli, const ProtobufCMessage *message)
{
    (void)message;
    fprintf(cli->out, "%s of %s begins after %s.\n", cli->words[1], cli->words[0],
            cli->options[OPT_AFTER]);
}

struct outcome command_cursors_reset(struct cli *cli)
{
    Events__V1__ResetCursorRequest request = EVENTS__V1__RESET_CURSOR_REQUEST__INIT;
    struct err e =
        cli_number(cli->options[OPT_AFTER], "--after", 0, INT64_MAX, &request.position);

    if (failed(e))
        return misused(e);
    request.caller = borrow(cli->words[0]);
    request.cursor = borrow(cli->words[1]);
    return remote_show(cli, "orchestrator", "events.v1.Events/ResetCursor", &request.base,
                       &events__v1__reset_cursor_reply__descriptor, print_reset);
}

static void print_deleted(const struct cli *cli, const ProtobufCMessage *message)
{
    (void)message;
    fprintf(cli->out, "There is no cursor %s of %s.\n", cli->words[1], cli->words[0]);
}

struct outcome command_cursors_delete(struct cli *cli)
{
    Events__V1__DeleteCursorRequest request = EVENTS__V1__DELETE_CURSOR_REQUEST__INIT;

    request.caller = borrow(cli->words[0]);
    request.cursor = borrow(cli->words[1]);
    return remote_show(cli, "orchestrator", "events.v1.Events/DeleteCursor",
                       &request.base, &events__v1__delete_cursor_reply__descriptor,
                       print_deleted);
}
