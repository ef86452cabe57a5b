/*
 * main.c - the webhook sender: posts every event to the configured URLs, as
 * https://www.standardwebhooks.com describes.  One thread an endpoint; see sender.h.
 */
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "rpc/host.h"
#include "rpc/pulse.h"
#include "webhook/sender.h"

struct settings {
    const char *orchestrator_addresses, *key_file, *services_file, *endpoints_file,
        *state_dir;
    int64_t timeout_ms, retry_first_ms, retry_most_ms, give_up_ms;
    bool allow_http;
    const char *log_format;
};

static const struct conf_row ROWS[] = {
    CONF_ROW_TEXT(orchestrator_addresses, NULL,
                  "nng URLs of the orchestrator, with commas"),
    CONF_ROW_TEXT(key_file, NULL, "our key pair"),
    CONF_ROW_TEXT(services_file, NULL, "public keys of the services we call"),
    CONF_ROW_TEXT(endpoints_file, NULL, "lines NAME URL SECRET_FILE"),
    CONF_ROW_TEXT(state_dir, NULL,
                  "folder of what is pending, and of the dead-letter lists"),
    CONF_ROW_NUMBER(timeout_ms, "15000", 10, 120000, "of one delivery, milliseconds"),
    CONF_ROW_NUMBER(retry_first_ms, "5000", 10, 3600000,
                    "until the second attempt, milliseconds; then doubling"),
    CONF_ROW_NUMBER(retry_most_ms, "900000", 10, 86400000, "up to so many milliseconds"),
    CONF_ROW_NUMBER(give_up_ms, "259200000", 0, 2592000000,
                    "age at which an event is given up, milliseconds: three days"),
    {"allow_http", CONF_FLAG, offsetof(struct settings, allow_http), "false", 0, 0,
     "allow http:// to other machines: for tests only"},
    HOST_ROW_LOG_FORMAT,
};

static const struct conf_table TABLE = {
    .program = "webhook",
    .summary = "posts events to configured URLs, signed, until they are received",
    .rows = ROWS,
    .count = sizeof ROWS / sizeof *ROWS,
};

struct environment {
    struct settings settings;
    struct key *key;
    struct peers *services;
    struct channel *channel;
    struct pulse *pulse;
    struct endpoints endpoints;
    struct sender *senders[ENDPOINTS_MAX];
    size_t sender_count;
};

/* One process a state folder, for as long as it lives. */
static struct err lock_state(const char *folder)
{
    char path[512];

    snprintf(path, sizeof path, "%s/lock", folder);
    int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_make(ERR_UNAVAILABLE, "%s cannot be made: %s.", path, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return ERR_NONE; /* kept open until the process ends */
    close(fd);
    return err_make(ERR_FAILED_PRECONDITION, "Another process works in %s.", folder);
}

static struct err open_channel(struct environment *env)
{
    const struct settings *s = &env->settings;
    struct err e = key_read(s->key_file, &env->key);

    if (!failed(e))
        e = peers_read(s->services_file, false, env->key, &env->services);
    if (failed(e))
        return e;
    const struct channel_config config = {
        .service = "orchestrator",
        .addresses = s->orchestrator_addresses,
        .key = env->key,
        .services = env->services,
        .in_flight_max = 2 * ENDPOINTS_MAX,
    };
    return channel_open(&config, &env->channel);
}

static struct err start_senders(struct environment *env)
{
    const struct settings *s = &env->settings;
    struct err e = ERR_NONE;

    for (size_t i = 0; i < env->endpoints.count && !failed(e); i++) {
        const struct sender_config config = {
            .endpoint = &env->endpoints.items[i],
            .channel = env->channel,
            .state_dir = s->state_dir,
            .timeout_ms = s->timeout_ms,
            .retry_first_ms = s->retry_first_ms,
            .retry_most_ms = s->retry_most_ms,
            .give_up_ms = s->give_up_ms,
        };
        e = sender_start(&config, &env->senders[env->sender_count]);
        env->sender_count += failed(e) ? 0 : 1;
    }
    return e;
}

static struct err start(void *arg)
{
    struct environment *env = arg;

    json_memory_watch();
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0)
        return err_memory();
    struct err e = endpoints_read(env->settings.endpoints_file, env->settings.allow_http,
                                  &env->endpoints);
    if (!failed(e))
        e = lock_state(env->settings.state_dir);
    if (!failed(e))
        e = open_channel(env);
    if (!failed(e))
        e = pulse_start(&env->pulse);
    return failed(e) ? e : start_senders(env);
}

static void stop(void *arg)
{
    struct environment *env = arg;

    for (size_t i = 0; i < env->sender_count; i++)
        sender_stop(env->senders[i]);
    for (size_t i = 0; i < env->sender_count; i++)
        sender_join(env->senders[i]);
    pulse_stop(env->pulse);
    if (env->channel != NULL)
        channel_close(env->channel);
    peers_free(env->services);
    key_free(env->key);
    curl_global_cleanup();
}

int main(int argc, char **argv)
{
    static struct environment env;

    return host_main(&TABLE, argc, argv, &env.settings, start, stop, &env);
}
