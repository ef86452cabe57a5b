/* remote.c - see remote.h. */
#include "cli/remote.h"

#include "cli/line.h"

struct outcome remote_call(const struct cli *cli, const struct place *place,
                           const char *method, const ProtobufCMessage *request,
                           const ProtobufCMessageDescriptor *reply_type,
                           const ProtobufCMessage **reply)
{
    struct line *line = NULL;
    struct line_call call;
    struct outcome end = line_open(cli, place, &line);

    if (end.status == 0) {
        line_start(line, &call, method, request, reply_type, cli->arena,
                   cli->max_time_ms);
        end = line_wait(&call, reply);
    }
    line_close(line);
    return end;
}
