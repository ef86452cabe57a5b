/*
 * cli.h - what every command of checkoutctl is given, and what it gives back.
 *
 * The command tree is a table (commands.c).  cli.c finds the row, checks words and
 * options against it, reads the settings if the row asks for them, runs its function,
 * and is the one place that writes an error and chooses the exit status.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/err.h"

enum { CLI_WORDS_MAX = 8 };

/* Options, all of them `--name VALUE` or flags; the rows are OPTIONS in cli.c. */
enum option {
    OPT_STATE,
    OPT_CONFIG,
    OPT_JSON,
    OPT_MAX_TIME,
    OPT_HELP,
    OPT_VERSION,
    OPT_DIR,
    OPT_ROLES,
    OPT_LOCK_WAIT,
    OPT_USER,
    OPT_TTL,
    OPT_ISSUER,
    OPT_AUDIENCE,
    OPT_OUT,
    OPT_JWKS,
    OPT_SERVICE,
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
    OPT_COUNT
};

#define OPT(name) (UINT64_C(1) << OPT_##name)

/* Of conf/checkoutctl.conf; "" where nothing is set. */
struct settings {
    char *key_file;
    char *services_file;
    char *orchestrator_addresses;
    char *inventory_addresses;
    char *payment_addresses;
    char *database_url;
    char *migrations_dir;
    char *jwt_key_file;
    char *jwt_issuer;
    char *jwt_audience;
};

struct cli {
    const char *words[CLI_WORDS_MAX]; /* after the command's own */
    int word_count;
    const char *options[OPT_COUNT]; /* NULL: not given; "" for a flag that is */
    struct settings settings;
    int64_t max_time_ms;
    struct arena *arena; /* of this run: messages, and what errors point at */
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
    const char *path;  /* "key new" */
    const char *args;  /* its words, as help shows them: "NAME [METHODS]" */
    int least, most;   /* how many */
    uint64_t options;  /* those it takes besides the global ones */
    uint64_t required; /* those of them that must be given */
    bool settings;     /* whether it needs the stack's settings */
    const char *help;
    struct outcome (*run)(struct cli *cli);
};

extern const struct command COMMANDS[];
extern const size_t COMMANDS_COUNT;

/* The whole program; the exit status.  Call sodium_init first. */
int cli_main(int argc, char **argv, FILE *out, FILE *err);

/* A whole number of an option or a word within bounds; a usage error names `what`. */
struct err cli_number(const char *text, const char *what, int64_t least, int64_t most,
                      int64_t *out) __attribute__((warn_unused_result));

/* The error for a setting a command cannot do without. */
struct err cli_need(const char *value, const char *setting)
    __attribute__((warn_unused_result));
