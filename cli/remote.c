/* remote.c - see remote.h. */
#include "cli/remote.h"

#include "base/clock.h"
#include "cli/line.h"
#include "cli/output.h"
#include "proto/rpc.pb-c.h"

/*
 * Whether somebody is there: a health check answered in time, with whatever answer that
 * came from a server.  nng dials by itself and says nothing of it.
 */
struct outcome remote_connect(const struct cli *cli, struct line *line)
{
    Rpc__V1__HealthCheckRequest request = RPC__V1__HEALTH_CHECK_REQUEST__INIT;
    const ProtobufCMessage *reply = NULL;
    struct line_call call;
    bool bounded = cli->connect_timeout_ms > 0;

    line_start(line, &call, "rpc.v1.Health/Check", &request.base,
               &rpc__v1__health_check_reply__descriptor, cli->arena,
               bounded ? cli->connect_timeout_ms : cli->max_time_ms);
    struct outcome end = line_wait(&call, &reply);
    if (end.error.code != ERR_UNAVAILABLE && end.error.code != ERR_DEADLINE_EXCEEDED)
        return done();
    end.error =
        err_make(ERR_UNAVAILABLE,
                 "no server answered within %.3f s; is it running, and its "
                 "address right? (checkoutctl ping)",
                 (double)(bounded ? cli->connect_timeout_ms : cli->max_time_ms) / 1000);
    return remote(end.error);
}

static double ms_since(int64_t us)
{
    return (double)(clock_monotonic_us() - us) / 1000;
}

/* The call itself, with what -v says of it. */
static struct outcome ask(const struct cli *cli, struct line *line, const char *method,
                          const ProtobufCMessage *request,
                          const ProtobufCMessageDescriptor *reply_type,
                          const ProtobufCMessage **reply)
{
    struct line_call call;
    int64_t began_us = clock_monotonic_us();

    line_start(line, &call, method, request, reply_type, cli->arena, cli->max_time_ms);
    struct outcome end = line_wait(&call, reply);
    if (cli->options[OPT_VERBOSE] != NULL)
        fprintf(cli->err, "* %s: %zu bytes asked, %zu answered, %.3f ms\n", method,
                protobuf_c_message_get_packed_size(request),
                end.status == 0 ? protobuf_c_message_get_packed_size(*reply) : 0,
                ms_since(began_us));
    return end;
}

struct outcome remote_call(const struct cli *cli, const struct place *place,
                           const char *method, const ProtobufCMessage *request,
                           const ProtobufCMessageDescriptor *reply_type,
                           const ProtobufCMessage **reply)
{
    bool verbose = cli->options[OPT_VERBOSE] != NULL;
    struct line *line = NULL;
    int64_t began_us = clock_monotonic_us();
    struct outcome end = line_open(cli, place, &line);

    if (end.status == 0 && (verbose || cli->connect_timeout_ms > 0))
        end = remote_connect(cli, line);
    if (end.status == 0 && verbose)
        fprintf(cli->err, "* %s at %s: connected and a first answer, %.3f ms\n",
                place->name, place_addresses(cli, place), ms_since(began_us));
    if (end.status == 0)
        end = ask(cli, line, method, request, reply_type, reply);
    line_close(line);
    return end;
}

struct outcome
remote_show(const struct cli *cli, const char *service, const char *method,
            const ProtobufCMessage *request, const ProtobufCMessageDescriptor *reply_type,
            void (*print)(const struct cli *cli, const ProtobufCMessage *reply))
{
    const ProtobufCMessage *reply = NULL;
    struct outcome end =
        remote_call(cli, place_find(service), method, request, reply_type, &reply);

    if (end.status == 0 && cli->options[OPT_JSON] == NULL)
        print(cli, reply);
    else if (end.status == 0)
        end = local(output_message(cli, reply));
    return end;
}
