/*
 * cli.h - the input and the result of every command of checkoutctl.
 *
 * The options (OPTION_TABLE) and the commands (commands/commands.c) are tables: help,
 * shell completion and the man page are made from them.  cli.c parses the command
 * line, finds the row, checks words and options against it, reads the settings if the
 * row asks for them, runs its function, and is the one place that writes an error and
 * chooses the exit status.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/err.h"

enum { CLI_WORDS_MAX = 8, CLI_HEADERS_MAX = 16 };

/* clang-format off */
/* The options, all of them `--name VALUE` or flags: constant, name, letter ("-v" for
 * --verbose; 0: none), what --help calls the value (NULL for a flag), help. */
#define OPTION_TABLE(X) \
    X(STATE, "state", 0, "DIR", "the stack's state folder (or CHECKOUT_STATE)") \
    X(CONFIG, "config", 0, "FILE", "settings, instead of DIR/conf/checkoutctl.conf") \
    X(PROFILE, "profile", 0, "NAME", "a stack of profiles.conf (or CHECKOUT_PROFILE)") \
    X(JSON, "json", 0, NULL, "JSON on one line, also on a terminal") \
    X(YES, "yes", 'y', NULL, "change a production stack without a question") \
    X(MAX_TIME, "max-time", 0, "SECONDS", "how long a call may take [10]") \
    X(CONNECT_TIMEOUT, "connect-timeout", 0, "SECONDS", \
      "how long to wait for the server's first answer") \
    X(HEADER, "header", 'H', "NAME:VALUE", \
      "metadata, traceparent or tracestate; may be repeated") \
    X(VERBOSE, "verbose", 'v', NULL, \
      "say on standard error what is called, and timings") \
    X(HELP, "help", 'h', NULL, "this text; also after each command") \
    X(VERSION, "version", 0, NULL, "the version") \
    X(SERVICE, "service", 0, "NAME", \
      "orchestrator, inventory, payment, gateway or webhook") \
    X(URL, "url", 0, "URL", "call the server there: ipc://, tcp:// or tls+tcp://") \
    X(SERVICE_KEY, "service-key", 0, "PUBLIC", "that server's public key, in base64") \
    X(KEY, "key", 0, "FILE", "our own key, instead of key_file") \
    X(TLS_CERT, "tls-cert", 0, "FILE", "for tls+tcp: our certificate, PEM") \
    X(TLS_KEY, "tls-key", 0, "FILE", "for tls+tcp: its key, PEM, mode 0600") \
    X(TLS_CA, "tls-ca", 0, "FILE", \
      "for tls+tcp: the CAs that may sign the server's, PEM") \
    X(REFLECT, "reflect", 0, NULL, \
      "ask the server for its types; implied by --url") \
    X(PROTOSET, "protoset", 0, "FILE", "types from protoc --descriptor_set_out") \
    X(TEMPLATE, "template", 0, NULL, "print an example request, call nothing") \
    X(WATCH, "watch", 0, NULL, "keep running, and print changes") \
    X(INTERVAL, "interval", 0, "SECONDS", "time between two looks [1]") \
    X(TIMES, "count", 0, "N", "how many times") \
    X(CONCURRENCY, "concurrency", 0, "N", "calls in flight at once, 1 to 256 [8]") \
    X(SECONDS, "seconds", 0, "N", "for how long, 1 to 3600 [5]") \
    X(DIR, "dir", 0, "DIR", "the folder, instead of the settings'") \
    X(ROLES, "roles", 0, "FILE", \
      "afterwards set the passwords of `role = password` lines") \
    X(LOCK_WAIT, "lock-wait", 0, "SECONDS", \
      "how long to wait for another migrator [60]") \
    X(USER, "user", 0, "UUID", "the user") \
    X(IDEMPOTENCY_KEY, "idempotency-key", 0, "KEY", \
      "only what was placed under this key of the user's") \
    X(TTL, "ttl", 0, "SECONDS", "how long it is valid [3600]") \
    X(ISSUER, "issuer", 0, "TEXT", "iss, instead of jwt_issuer") \
    X(AUDIENCE, "audience", 0, "TEXT", "aud, instead of jwt_audience") \
    X(OUT, "out", 0, "FILE", "the private key's file, made with mode 0600") \
    X(JWKS, "jwks", 0, "FILE", "the public part, as a JWK set") \
    X(DEFAULTS, "defaults", 0, NULL, "also print fields that are zero or empty") \
    X(REASON, "reason", 0, "TEXT", "why, for the ledger") \
    X(ID, "id", 0, "ID", "names the adjustment: the same one is booked once") \
    X(TITLE, "title", 0, "TEXT", "what shoppers read") \
    X(PRICE, "price", 0, "CENTS", "in minor units") \
    X(CURRENCY, "currency", 0, "CODE", "ISO 4217, three capitals") \
    X(GRACE, "grace", 0, "MS", \
      "how long to wait before looking at a suspect again [5000]") \
    X(LIMIT, "limit", 0, "N", "how many at most [100]") \
    X(AFTER, "after", 0, "ID", "begin after this one") \
    X(UNFINISHED, "unfinished", 0, NULL, "only those running or aborting") \
    X(CURSOR, "cursor", 0, "NAME", "begin after this cursor of the operator's") \
    X(WAIT, "wait", 0, "MS", "how long to wait for an event when there is none [0]") \
    X(FROM, "from", 0, "POSITION", "the first to be published again") \
    X(QUERY, "query", 0, "TEXT", "only with this text in title or SKU, in any case") \
    X(SKU, "sku", 0, "SKU[,SKU]", "only these; 100 at most") \
    X(CART, "cart", 0, "ID", "only of this cart") \
    X(ORDER, "order", 0, "ID", "only of this order") \
    X(STATUS, "status", 0, "STATE", "only those in this state, such as failed") \
    X(SINCE, "since", 0, "TIME", \
      "only from then on: 2h, 3d, 2026-01-31, 2026-01-31T12:00Z") \
    X(UNTIL, "until", 0, "TIME", "only from before then")
/* clang-format on */

enum option {
#define X(constant, ...) OPT_##constant,
    OPTION_TABLE(X)
#undef X
        OPT_COUNT
};

#define OPT(name) (UINT64_C(1) << OPT_##name)

struct option_row {
    const char *name;
    char letter;
    const char *value;
    const char *help;
};

extern const struct option_row OPTIONS[OPT_COUNT];

/* Those every command takes. */
extern const uint64_t OPTIONS_GLOBAL;

/* Of conf/checkoutctl.conf; "" where nothing is set. */
struct settings {
    char *key_file;
    char *services_file;
    char *orchestrator_addresses;
    char *inventory_addresses;
    char *payment_addresses;
    char *gateway_addresses;
    char *webhook_addresses;
    char *database_url;
    char *migrations_dir;
    char *webhook_dir;
    char *jwt_key_file;
    char *jwt_issuer;
    char *jwt_audience;
    char *tls_cert, *tls_key, *tls_ca;
    bool production; /* changing commands ask first */
};

struct cli {
    const char *words[CLI_WORDS_MAX]; /* after the command's own */
    int word_count;
    const char *options[OPT_COUNT]; /* NULL: not given; "" for a flag that is */
    struct cli_header {
        const char *name, *value;
    } headers[CLI_HEADERS_MAX]; /* of each -H */
    int header_count;
    struct settings settings;
    char stack[128]; /* whose settings they are, for questions: a profile, a folder */
    int64_t max_time_ms;
    int64_t connect_timeout_ms; /* 0: none of its own */
    struct arena *arena;        /* of this run: messages, and what errors point at */
    FILE *out;
    FILE *err;
};

/* How a command ended: its exit status, and the error to write when that is not 0. */
enum { EXIT_LOCAL = 1, EXIT_USAGE = 2, EXIT_RPC = 64 /* plus the gRPC status */ };

struct outcome {
    int status;
    struct err error;
};

static inline struct outcome done(void)
{
    return (struct outcome){.status = 0};
}

/* Failed here, not in a service; success passes through all three of these. */
static inline struct outcome local(struct err e)
{
    return (struct outcome){.status = failed(e) ? EXIT_LOCAL : 0, .error = e};
}

/* The error of a wrong command line, file or reply; a printf format and its arguments. */
#define invalid(...) err_make(ERR_INVALID_ARGUMENT, __VA_ARGS__)

static inline struct outcome misused(struct err e)
{
    return (struct outcome){.status = failed(e) ? EXIT_USAGE : 0, .error = e};
}

static inline struct outcome remote(struct err e)
{
    int status = failed(e) ? EXIT_RPC + (int)err_grpc_status(e.code) : 0;

    return (struct outcome){.status = status, .error = e};
}

struct command {
    const char *path;    /* "key new" */
    const char *args;    /* its words, as help shows them: "NAME [METHODS]" */
    int least, most;     /* how many */
    uint64_t options;    /* those it takes besides the global ones */
    uint64_t required;   /* those of them that must be given */
    bool settings;       /* whether it needs the stack's settings */
    bool changes;        /* asks first on a stack marked production */
    const char *help;    /* one line */
    const char *about;   /* more of it, or NULL */
    const char *example; /* a command line that works, after "checkoutctl "; or NULL */
    struct outcome (*run)(struct cli *cli);
};

/* A heading of help and of the man page: it covers the commands up to the next one's
 * first. */
struct chapter {
    const char *title;
    const char *first; /* path of its first command */
};

extern const struct chapter CHAPTERS[];
extern const size_t CHAPTERS_COUNT;

extern const struct command COMMANDS[];
extern const size_t COMMANDS_COUNT;

/* Help (commands/help.c): of one command, or of all whose path begins with the word
 * `group`. */
void help_command(FILE *out, const struct command *command);
void help_group(FILE *out, const char *group);

/* Before a change on a stack marked production: asks on a terminal, refuses elsewhere,
 * and proceeds with --yes.  `what` describes the change. */
struct outcome cli_confirm(const struct cli *cli, const char *what)
    __attribute__((warn_unused_result));

/* The whole program; the exit status.  Call sodium_init first. */
int cli_main(int argc, char **argv, FILE *out, FILE *err);

/* A whole number of an option or a word within bounds; a usage error names `what`. */
struct err cli_number(const char *text, const char *what, int64_t least, int64_t most,
                      int64_t *out) __attribute__((warn_unused_result));

/* The same for an option; *out is unchanged when the option is not given. */
struct err cli_option(const struct cli *cli, enum option option, int64_t least,
                      int64_t most, int64_t *out) __attribute__((warn_unused_result));

/* The error for a required setting that is missing. */
struct err cli_need(const char *value, const char *setting)
    __attribute__((warn_unused_result));
