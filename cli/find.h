/*
 * find.h - an order by whatever id somebody has of it.
 *
 *     order, checkout      26 characters, a ULID: what all commands show
 *     request              X-Request-Id of the answer to the order, a ULID too
 *     idempotency key      with --user, whose key it is
 *     provider's charge    as payment's provider calls it
 *     cart                 the cart's id, of any user or of --user
 *
 * A key is found however old it is, the others but for the first among the newest checkouts.
 */
#pragma once

#include "base/contract/ids.h"
#include "cli/cli.h"
#include "cli/remote.h"

/* The order that `text`, which is no ULID, names; when several do, the newest, and the
 * others are named on cli->err.  NOT_FOUND says where was looked.  Leaves some of the time
 * until `deadline_ms`, of several_deadline, to ask for the order. */
struct outcome find_order(const struct cli *cli, const char *text, int64_t deadline_ms,
                          char out[ULID_SIZE]) __attribute__((warn_unused_result));

/* The order that the request of that id, a ULID, claimed; NOT_FOUND.  The same holds of the
 * time. */
struct outcome find_of_request(const struct cli *cli, const char *request_id,
                               int64_t deadline_ms, char out[ULID_SIZE])
    __attribute__((warn_unused_result));

/*
 * remote_show of what has the id cli->words[0]: `*id` of the request is set to it, or to the
 * order that it stands for.
 */
struct outcome find_and_show(const struct cli *cli, const char *service,
                             const char *method, const ProtobufCMessage *request,
                             char **id, const ProtobufCMessageDescriptor *reply_type,
                             void (*print)(const struct cli *cli,
                                           const ProtobufCMessage *reply));
