/*
 * cli.h - what every command of checkoutctl is given, and what it gives back.
 *
 * The commands and the options are tables (commands/commands.c): help, shell completion
 * and the man page are made from them.  cli.c parses the command line, finds the row,
 * checks words and options against it, reads the settings if the row asks for them, runs
 * its function, and is the one place that writes an error and chooses the exit status.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/err.h"

enum { CLI_WORDS_MAX = 8, CLI_HEADERS_MAX = 16 };

/* Options, all of them `--name VALUE` or flags; the rows are OPTIONS in commands/commands.c. */
enum option {
    OPT_STATE,
    OPT_CONFIG,
    OPT_PROFILE,
    OPT_JSON,
    OPT_YES,
    OPT_MAX_TIME,
    OPT_CONNECT_TIMEOUT,
    OPT_HEADER,
    OPT_VERBOSE,
    OPT_HELP,
    OPT_VERSION,
    OPT_SERVICE,
    OPT_URL,
    OPT_SERVICE_KEY,
    OPT_KEY,
    OPT_TLS_CERT,
    OPT_TLS_KEY,
    OPT_TLS_CA,
    OPT_REFLECT,
    OPT_PROTOSET,
    OPT_TEMPLATE,
    OPT_WATCH,
    OPT_INTERVAL,
    OPT_TIMES,
    OPT_CONCURRENCY,
    OPT_SECONDS,
    OPT_DIR,
    OPT_ROLES,
    OPT_LOCK_WAIT,
    OPT_USER,
    OPT_IDEMPOTENCY_KEY,
    OPT_TTL,
    OPT_ISSUER,
    OPT_AUDIENCE,
    OPT_OUT,
    OPT_JWKS,
    OPT_DEFAULTS,
    OPT_REASON,
    OPT_ID,
    OPT_TITLE,
    OPT_PRICE,
    OPT_CURRENCY,
    OPT_GRACE,
    OPT_LIMIT,
    OPT_AFTER,
    OPT_UNFINISHED,
    OPT_CURSOR,
    OPT_WAIT,
    OPT_FROM,
    OPT_QUERY,
    OPT_SKU,
    OPT_CART,
    OPT_ORDER,
    OPT_STATUS,
    OPT_SINCE,
    OPT_UNTIL,
    OPT_COUNT
};

#define OPT(name) (UINT64_C(1) << OPT_##name)

struct option_row {
    const char *name;
    char letter;       /* "-v" for --verbose; 0: none */
    const char *value; /* what --help calls it; NULL for a flag */
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

/* Failed here, not in a service; success passes through all three. */
static inline struct outcome local(struct err e)
{
    return (struct outcome){.status = failed(e) ? EXIT_LOCAL : 0, .error = e};
}

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

/* A heading of help and of the man page: the commands from one path to the next's. */
struct chapter {
    const char *title;
    const char *first; /* path of its first command */
};

extern const struct chapter CHAPTERS[];
extern const size_t CHAPTERS_COUNT;

extern const struct command COMMANDS[];
extern const size_t COMMANDS_COUNT;

/* Help (commands/help.c): of one command, or of all whose path begins with the word `group`. */
void help_command(FILE *out, const struct command *command);
void help_group(FILE *out, const char *group);

/* Before something is changed on a stack marked production: asks on a terminal, refuses
 * elsewhere, is content with --yes.  `what` is what would be done. */
struct outcome cli_confirm(const struct cli *cli, const char *what)
    __attribute__((warn_unused_result));

/* The whole program; the exit status.  Call sodium_init first. */
int cli_main(int argc, char **argv, FILE *out, FILE *err);

/* A whole number of an option or a word within bounds; a usage error names `what`. */
struct err cli_number(const char *text, const char *what, int64_t least, int64_t most,
                      int64_t *out) __attribute__((warn_unused_result));

/* The same of an option; *out stays what it was when the option is not given. */
struct err cli_option(const struct cli *cli, enum option option, int64_t least,
                      int64_t most, int64_t *out) __attribute__((warn_unused_result));

/* The error for a setting a command cannot do without. */
struct err cli_need(const char *value, const char *setting)
    __attribute__((warn_unused_result));
