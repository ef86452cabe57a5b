/*
 * runtime.h - what every service's process has: settings, keys, one RPC server, signals.
 *
 *   settings -> start (opens keys, database, server) -> serving -> SIGTERM -> stop
 */
#pragma once

#include <stdbool.h>

#include "base/metrics.h"
#include "base/program/conf.h"
#include "rpc/auth/principals.h"
#include "rpc/server/server.h"

struct runtime {
    struct key *key; /* until runtime_reload; take a reference to keep it longer */
    struct principals *callers;
    const char *key_file;              /* borrowed */
    struct follow *follow;             /* of the server's callers; see reload.h */
    struct certificates *certificates; /* of tls+tcp://; see reload.h */
    struct err (*use_tls)(void *arg,
                          const struct tls_pem *pem); /* see runtime_follow_tls */
    void *use_tls_arg;
    struct derived *derived; /* the keys that runtime_derive gave */
    struct rpc_server *server;
    struct metrics *metrics; /* what the process counts; NULL when there was no memory */
    /* As in rpc/server/server.h; set before runtime_serve, or left NULL. */
    size_t (*health_parts)(void *arg, struct rpc_health_part *parts);
};

/* Settings every such service has. */
struct runtime_settings {
    const char *listen_url, *key_file;
    const char
        *callers_file; /* "" for a program that serves nothing: no runtime_serve then */
    int64_t in_flight_max;                           /* requests served at once */
    int64_t caller_in_flight_max, caller_per_second; /* of one caller; 0: no limit */
    bool access_log;                                 /* see rpc/server/server.h */
    struct tls_files tls;
};

/* The rows of a program that serves or calls at tls+tcp://. */
#define RUNTIME_ROWS_TLS                                                                 \
    CONF_ROW_TEXT(tls_cert, "", "for tls+tcp: our certificate, a PEM file"),             \
        CONF_ROW_TEXT(tls_key, "", "for tls+tcp: its key, a PEM file of mode 0600"),     \
        CONF_ROW_TEXT(tls_ca, "",                                                        \
                      "for tls+tcp: CAs of the other side's certificate, PEM")

/* The rows of the limits. */
#define RUNTIME_ROWS_LIMITS                                                              \
    CONF_ROW_NUMBER(caller_in_flight_max, "0", 0, 65536,                                 \
                    "requests of one caller served at once; 0: no limit of its own"),    \
        CONF_ROW_NUMBER(caller_per_second, "0", 0, 1000000,                              \
                        "requests per second of one caller; 0: no limit")

/* How long runtime_stop_serving may wait.  A call ends at its own deadline, so only one
 * that is never answered takes the whole time; the default covers the most that
 * place_timeout_ms of the gateway and step_timeout_ms of the orchestrator can be. */
#define RUNTIME_ROW_DRAIN                                                                \
    CONF_ROW_NUMBER(drain_ms, "60000", 0, 600000,                                        \
                    "when stopping: how long requests being served may take, "           \
                    "milliseconds")

/* The row of the log of calls. */
#define RUNTIME_ROW_ACCESS_LOG                                                           \
    CONF_ROW_FLAG(access_log, "true", "one log line per call: true or false")

/* The row that every program has, for runtime_main. */
#define RUNTIME_ROW_LOG_FORMAT                                                           \
    CONF_ROW_TEXT(log_format, "logfmt", "how log lines are written: logfmt or json")

/* Reads the key and the callers, and makes the registry of metrics. */
struct err runtime_open(struct runtime *runtime, const struct runtime_settings *settings)
    __attribute__((warn_unused_result));

/* Serves one service (borrowed) until runtime_stop_serving, to the callers in their file,
 * also when it changes.  `health` says whether it can do its work, and gets `arg`, as
 * does runtime->health_parts; see rpc/server/server.h. */
struct err runtime_serve(struct runtime *runtime, const struct runtime_settings *settings,
                         ProtobufCService *service, struct err (*health)(void *arg),
                         void *arg) __attribute__((warn_unused_result));

/* The same of several services. */
struct err runtime_serve_all(struct runtime *runtime,
                             const struct runtime_settings *settings,
                             ProtobufCService *const *services, size_t count,
                             struct err (*health)(void *arg), void *arg)
    __attribute__((warn_unused_result));

/* From here on the certificates of tls+tcp:// are reloaded (reload.h): the server's, and
 * those of channels, which `use` sets (channel_set_tls; NULL: there are none).  After
 * runtime_serve, or without it. */
struct err runtime_follow_tls(struct runtime *runtime,
                              const struct runtime_settings *settings,
                              struct err (*use)(void *arg, const struct tls_pem *pem),
                              void *arg) __attribute__((warn_unused_result));

/*
 * Reads the callers, the certificates and our own key again.  A new key is used from then
 * on by the server, and by channels once their services are read with it (follow_now with
 * runtime->key); callers that use the one before are answered until the next
 * runtime_reload. True: the key has changed.
 */
bool runtime_reload(struct runtime *runtime);

/* A key for another purpose, derived from our present key (key_derive); a new key of ours
 * gives another.  Valid until runtime_close; NULL: memory is short. */
const uint8_t *runtime_derive(struct runtime *runtime, const char *purpose);

/* Waits for the calls being served, at most drain_ms; then receives no more, and reloads
 * nothing. False when some had not ended (rpc_server_stop). */
bool runtime_stop_serving(struct runtime *runtime, int64_t drain_ms);

/* Frees the keys and metrics; call it last: channels and databases borrow them. */
void runtime_close(struct runtime *runtime);

/* A program, as runtime_main runs it. */
struct runtime_program {
    const struct conf_table *table;
    void *settings;    /* filled as the table says, before `start` */
    void *environment; /* what the functions are given */
    struct err (*start)(void *environment);
    /* At SIGHUP: reads again what may change while it runs.  A bad file is logged, and
     * what was read from it before stays in use. */
    void (*reload)(void *environment);
    /* Stops and frees everything, also after a start that failed half way.  False when
     * something that ran was cut off, which is logged. */
    bool (*stop)(void *environment);
    /* How long `stop` may take by the settings, milliseconds: after that, and the time
     * that closing needs, the process ends itself. */
    int64_t (*stop_ms)(const void *environment);
};

/*
 * A program's main: no core dumps, settings (RUNTIME_ROW_LOG_FORMAT is one), start, wait
 * for SIGTERM or SIGINT (at SIGHUP reload), stop. Returns the exit status: not 0 when it
 * could not start, or cut something off.
 */
int runtime_main(const struct runtime_program *program, int argc, char **argv);
