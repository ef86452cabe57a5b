/* output.c - see output.h. */
#include "cli/output.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/schema/json.h"

const char *status_name(unsigned grpc_status)
{
    /* The first seventeen codes are gRPC's own, in its order. */
    static const char *const NAMES[] = {
#define X(name, grpc, reason, http, retryable) #name,
        ERR_CODES(X)
#undef X
    };

    return grpc_status <= 16 ? NAMES[grpc_status] : "UNKNOWN";
}

void output_text(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        bool control = (unsigned char)*text < 0x20 || *text == 0x7f;
        fputc(control ? '?' : *text, out);
    }
}

const char *output_style(FILE *out, enum style style)
{
    static const char *const codes[] = {"\033[0m", "\033[1m", "\033[32m", "\033[31m",
                                        "\033[2m"};
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

    if (!isatty(fileno(out)) || (no != NULL && *no != '\0') || term == NULL ||
        strcmp(term, "dumb") == 0)
        return "";
    return codes[style];
}

bool output_for_people(const struct cli *cli)
{
    return cli->options[OPT_JSON] == NULL && isatty(fileno(cli->out));
}

void output_error(FILE *err, struct outcome end)
{
    const struct err *e = &end.error;

    fprintf(err, "%scheckoutctl:%s ", output_style(err, STYLE_BAD),
            output_style(err, STYLE_PLAIN));
    if (end.status >= EXIT_RPC) {
        fprintf(err, "%s: ", status_name(err_grpc_status(e->code)));
        if (e->code > ERR_UNAUTHENTICATED)
            fprintf(err, "%s: ", err_reason(e->code));
    }
    output_text(err, e->message);
    if (e->subject != NULL && *e->subject != '\0') {
        fprintf(err, " [");
        output_text(err, e->subject);
        fprintf(err, "]");
    }
    if (e->effect == EFFECT_UNKNOWN)
        fprintf(err, " (it may have taken effect: ask again under the same id)");
    fprintf(err, "\n");
}

struct err output_json(const struct cli *cli, json_t *json)
{
    size_t flags = output_for_people(cli) ? JSON_INDENT(2) : JSON_COMPACT;
    struct err e = json == NULL ? err_memory() : ERR_NONE;

    if (!failed(e) && json_dumpf(json, cli->out, flags) != 0)
        e = err_make(ERR_DATA_LOSS, "the output could not be written");
    json_decref(json);
    fputc('\n', cli->out);
    return e;
}

void output_line(const struct cli *cli, json_t *json)
{
    json_dumpf(json, cli->out, JSON_COMPACT);
    json_decref(json);
    fputc('\n', cli->out);
}

struct err output_message(const struct cli *cli, const ProtobufCMessage *message)
{
    const struct json_style style = {
        .original_names = true,
        .defaults = cli->options[OPT_DEFAULTS] != NULL,
    };
    json_t *json = NULL;
    struct err e = message_to_json(message, style, &json);

    return failed(e) ? e : output_json(cli, json);
}

/* ISO 4217's exceptions to two decimals. */
static int decimals(const char *currency)
{
    static const char none[] =
        "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF";
    static const char three[] = "BHD IQD JOD KWD LYD OMR TND";

    if (strlen(currency) != 3)
        return 2;
    return strstr(none, currency) != NULL ? 0 : strstr(three, currency) != NULL ? 3 : 2;
}

const char *money_text(int64_t minor_units, const char *currency, char out[MONEY_SIZE])
{
    static const uint64_t powers[] = {1, 10, 100, 1000};
    int places = decimals(currency);
    uint64_t amount = minor_units < 0 ? -(uint64_t)minor_units : (uint64_t)minor_units;
    const char *sign = minor_units < 0 ? "-" : "";

    if (places == 0)
        snprintf(out, MONEY_SIZE, "%s%" PRIu64 " %.3s", sign, amount, currency);
    else
        snprintf(out, MONEY_SIZE, "%s%" PRIu64 ".%0*" PRIu64 " %.3s", sign,
                 amount / powers[places], places, amount % powers[places], currency);
    return out;
}

const char *time_text(int64_t unix_ms, char out[TIME_SIZE])
{
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm parts;

    if (gmtime_r(&seconds, &parts) == NULL ||
        strftime(out, TIME_SIZE, "%Y-%m-%d %H:%M:%S UTC", &parts) == 0)
        snprintf(out, TIME_SIZE, "%" PRId64 " ms", unix_ms);
    return out;
}

void output_field(FILE *out, int width, const char *name, const char *text)
{
    if (*text == '\0')
        return;
    fprintf(out, "  %-*s ", width, name);
    output_text(out, text);
    fputc('\n', out);
}

void output_time(FILE *out, int width, const char *name, int64_t unix_ms)
{
    char time[TIME_SIZE];

    if (unix_ms != 0)
        output_field(out, width, name, time_text(unix_ms, time));
}
