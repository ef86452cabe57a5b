/* reflect.c - see reflect.h. */
#include "cli/reflect.h"

#include "cli/remote.h"
#include "proto/rpc.pb-c.h"

struct outcome reflect(struct cli *cli, struct catalogue *out)
{
    Rpc__V1__DescribeRequest request = RPC__V1__DESCRIBE_REQUEST__INIT;
    const ProtobufCMessage *message = NULL;
    struct outcome end =
        remote_call(cli, out->place, "rpc.v1.Reflection/Describe", &request.base,
                    &rpc__v1__describe_reply__descriptor, &message);

    if (end.status != 0 && end.error.code == ERR_UNIMPLEMENTED)
        end.error = err_make(ERR_UNIMPLEMENTED,
                             "this server does not describe itself; give its types with "
                             "--protoset FILE");
    if (end.status != 0)
        return end;
    const Rpc__V1__DescribeReply *reply = (const Rpc__V1__DescribeReply *)message;
    out->served = reply->services;
    out->served_count = reply->n_services;
    return local(schema_read(reply->file_descriptor_set.data,
                             reply->file_descriptor_set.len, cli->arena, &out->schema));
}
