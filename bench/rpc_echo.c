/*
 * rpc_echo.c - 64 bytes there and back over lib/rpc, sealed, as a service would.
 *
 *     rpc_echo keys DIR                        makes both ends' keys
 *     rpc_echo serve DIR URL                   until SIGTERM
 *     rpc_echo load DIR URL IN_FLIGHT SECONDS  prints one JSON object
 */
#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/program/process.h"
#include "bench/echo.pb-c.h"
#include "rpc/client/channel.h"
#include "rpc/server/server.h"

enum { PAYLOAD_SIZE = 64, IN_FLIGHT_MAX = 1024, LATENCIES_MAX = 1 << 22 };

#define METHOD "bench.v1.Echo/Echo"

static void must(struct err e)
{
    if (!failed(e))
        return;
    fprintf(stderr, "rpc_echo: %s\n", e.message);
    exit(1);
}

static const char *in(const char *folder, const char *name)
{
    char *path;

    if (asprintf(&path, "%s/%s", folder, name) < 0)
        exit(1);
    return path; /* as long as the program */
}

/* ---- keys ---------------------------------------------------------------------------
 */

static void make_keys(const char *folder)
{
    struct key *client, *server;

    must(key_create(in(folder, "client.key"), "client"));
    must(key_create(in(folder, "server.key"), "server"));
    must(key_read(in(folder, "client.key"), &client));
    must(key_read(in(folder, "server.key"), &server));
    must(principals_allow(in(folder, "callers"), "client", key_public(client), METHOD));
    must(principals_allow(in(folder, "services"), "server", key_public(server), NULL));
}

/* ---- the server ---------------------------------------------------------------------
 */

static void echo(Bench__V1__Echo_Service *service,
                 const Bench__V1__EchoMessage *in_message,
                 Bench__V1__EchoMessage_Closure reply, void *call)
{
    (void)service;
    reply(in_message, call);
}

static void serve(const char *folder, const char *url)
{
    Bench__V1__Echo_Service service = BENCH__V1__ECHO__INIT();
    ProtobufCService *services[] = {&service.base};
    struct key *key;
    struct principals *callers;
    struct rpc_server *server;

    must(key_read(in(folder, "server.key"), &key));
    must(principals_read(in(folder, "callers"), true, key, &callers));
    const struct rpc_server_config config = {
        .url = url,
        .callers = callers,
        .services = services,
        .service_count = 1,
        .in_flight_max = IN_FLIGHT_MAX,
    };
    must(rpc_server_start(&config, &server));
    while (process_wait_signal() == SIGHUP)
        ;
    rpc_server_stop(server, 1000);
}

/* ---- the load -----------------------------------------------------------------------
 */

struct load {
    struct channel *channel;
    int64_t end_ns;
    pthread_mutex_t lock;
    pthread_cond_t idle;
    size_t under_way;
    size_t count;
    uint32_t *latencies_ns;
};

struct caller {
    struct load *load;
    struct arena *arena;
    int64_t since_ns;
};

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void call(struct caller *caller);

static void on_answer(void *arg, struct err error, const ProtobufCMessage *message,
                      bool replayed)
{
    struct caller *caller = arg;
    struct load *load = caller->load;
    const Bench__V1__EchoMessage *reply = (const Bench__V1__EchoMessage *)message;
    int64_t now = now_ns();

    (void)replayed;
    must(error);
    if (reply->payload.len != PAYLOAD_SIZE)
        exit(1);
    arena_reset(caller->arena);
    pthread_mutex_lock(&load->lock);
    if (load->count < LATENCIES_MAX)
        load->latencies_ns[load->count] = (uint32_t)(now - caller->since_ns);
    load->count++;
    bool more = now < load->end_ns;
    if (!more && --load->under_way == 0)
        pthread_cond_signal(&load->idle);
    pthread_mutex_unlock(&load->lock);
    if (more)
        call(caller);
}

static void call(struct caller *caller)
{
    static uint8_t bytes[PAYLOAD_SIZE];
    Bench__V1__EchoMessage message = BENCH__V1__ECHO_MESSAGE__INIT;

    message.payload = (ProtobufCBinaryData){PAYLOAD_SIZE, bytes};
    caller->since_ns = now_ns();
    channel_call(caller->load->channel,
                 &(struct channel_call){
                     .method = METHOD,
                     .request = &message.base,
                     .reply_type = &bench__v1__echo_message__descriptor,
                     .arena = caller->arena,
                     .deadline_ms = clock_monotonic_ms() + 10000,
                 },
                 on_answer, caller);
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static void run(struct load *load, size_t in_flight, double seconds)
{
    struct caller *callers = calloc(in_flight, sizeof *callers);
    int64_t start = now_ns();

    load->end_ns = start + (int64_t)(seconds * 1e9);
    load->under_way = in_flight;
    for (size_t i = 0; i < in_flight; i++) {
        callers[i] = (struct caller){load, arena_new(1 << 16), 0};
        call(&callers[i]);
    }
    pthread_mutex_lock(&load->lock);
    while (load->under_way > 0)
        pthread_cond_wait(&load->idle, &load->lock);
    double took = (double)(now_ns() - start) / 1e9;
    size_t kept = load->count < LATENCIES_MAX ? load->count : LATENCIES_MAX;
    qsort(load->latencies_ns, kept, sizeof *load->latencies_ns, by_size);
    printf("{\"rate\":%.0f,\"p50_us\":%.1f,\"p99_us\":%.1f}\n",
           (double)load->count / took, load->latencies_ns[kept / 2] / 1e3,
           load->latencies_ns[kept * 99 / 100] / 1e3);
    pthread_mutex_unlock(&load->lock);
}

static void load_with(const char *folder, const char *url, size_t in_flight,
                      double seconds)
{
    struct key *key;
    struct principals *services;
    static struct load load = {.lock = PTHREAD_MUTEX_INITIALIZER,
                               .idle = PTHREAD_COND_INITIALIZER};

    must(key_read(in(folder, "client.key"), &key));
    must(principals_read(in(folder, "services"), false, key, &services));
    const struct channel_config config = {
        .service = "server",
        .addresses = url,
        .key = key,
        .services = services,
        .in_flight_max = IN_FLIGHT_MAX,
    };
    must(channel_open(&config, &load.channel));
    load.latencies_ns = calloc(LATENCIES_MAX, sizeof *load.latencies_ns);
    run(&load, in_flight, seconds);
    channel_close(load.channel);
}

int main(int argc, char **argv)
{
    process_start();
    log_start("rpc_echo", LOG_WARN);
    if (sodium_init() < 0)
        return 1;
    if (argc == 3 && strcmp(argv[1], "keys") == 0) {
        make_keys(argv[2]);
        return 0;
    }
    if (argc == 4 && strcmp(argv[1], "serve") == 0)
        serve(argv[2], argv[3]);
    else if (argc == 6 && strcmp(argv[1], "load") == 0)
        load_with(argv[2], argv[3], (size_t)atol(argv[4]), atof(argv[5]));
    else
        return fputs("usage: rpc_echo keys DIR | serve DIR URL | load DIR URL IN_FLIGHT "
                     "SECONDS\n",
                     stderr),
               2;
    return 0;
}
