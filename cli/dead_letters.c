/* dead_letters.c - checkoutctl events dead, resend, drop: what the bus refused. */
#include <inttypes.h>

#include "cli/commands.h"
#include "cli/filters.h"
#include "cli/output.h"
#include "cli/remote.h"
#include "proto/events.pb-c.h"

/* ---- dead -------------------------------------------------------------------------- */

static void print_letter(FILE *out, const Events__V1__DeadLetter *letter)
{
    char time[TIME_SIZE];

    output_text(out, letter->id);
    fprintf(out, "  %s  ", time_text(letter->refused_at_ms, time));
    if (letter->attempts == 0)
        fprintf(out, "waits: ");
    else
        fprintf(out, "%s after %" PRId64 " attempts: ",
                letter->next_attempt_ms == 0 ? "given up" : "still tried",
                letter->attempts);
    output_text(out, letter->reason);
    fputc('\n', out);
}

static void print_letters(const struct cli *cli, const ProtobufCMessage *message)
{
    const Events__V1__ListDeadLettersReply *reply =
        (const Events__V1__ListDeadLettersReply *)message;

    for (size_t i = 0; i < reply->n_letters; i++)
        print_letter(cli->out, reply->letters[i]);
    if (reply->next_before != 0)
        fprintf(cli->err, "More: the same command with --after %" PRId64 "\n",
                reply->next_before);
}

struct outcome command_events_dead(struct cli *cli)
{
    Events__V1__ListDeadLettersRequest request =
        EVENTS__V1__LIST_DEAD_LETTERS_REQUEST__INIT;
    int state = 0;
    struct err e = filter_limit(cli, &request.limit);

    if (!failed(e) && cli->options[OPT_AFTER] != NULL)
        e = cli_number(cli->options[OPT_AFTER], "--after", 1, INT64_MAX, &request.before);
    if (!failed(e))
        e = filter_times(cli, &request.since_ms, &request.until_ms);
    if (!failed(e))
        e = filter_state(cli, &events__v1__dead_letter_state__descriptor, &state);
    if (failed(e))
        return misused(e);
    request.newest_first = true;
    request.state = (Events__V1__DeadLetterState)state;
    request.order_id = borrow(cli->options[OPT_ORDER]);
    request.user_id = borrow(cli->options[OPT_USER]);
    return remote_show(cli, "orchestrator", "events.v1.Events/ListDeadLetters",
                       &request.base, &events__v1__list_dead_letters_reply__descriptor,
                       print_letters);
}

/* ---- resend and drop --------------------------------------------------------------- */

static void print_resent(const struct cli *cli, const ProtobufCMessage *message)
{
    int64_t count = ((const Events__V1__ResendDeadLettersReply *)message)->count;

    if (count == 0 && cli->word_count > 0)
        fprintf(cli->out, "There is no dead letter %s, or the bus has it by now.\n",
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
    return remote_show(cli, "orchestrator", "events.v1.Events/ResendDeadLetters",
                       &request.base, &events__v1__resend_dead_letters_reply__descriptor,
                       print_resent);
}

static void print_dropped(const struct cli *cli, const ProtobufCMessage *message)
{
    (void)message;
    fprintf(cli->out, "There is no dead letter %s.\n", cli->words[0]);
}

struct outcome command_events_drop(struct cli *cli)
{
    Events__V1__DropDeadLetterRequest request =
        EVENTS__V1__DROP_DEAD_LETTER_REQUEST__INIT;

    request.id = borrow(cli->words[0]);
    return remote_show(cli, "orchestrator", "events.v1.Events/DropDeadLetter",
                       &request.base, &events__v1__drop_dead_letter_reply__descriptor,
                       print_dropped);
}
