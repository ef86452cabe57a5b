/*
 * find.h - selects the entries of a command: one order, by any of its ids, or a list, by
 * --limit, --since, --until and --status.
 *
 *     order, checkout      26 characters, a ULID: what all commands show
 *     request              X-Request-Id of the answer to the order, a ULID too
 *     idempotency key      with --user, whose key it is
 *     provider's charge    as payment's provider calls it
 *     cart                 the cart's id, of any user or of --user
 *
 * Orders and keys are found at any age, the others only among the newest checkouts.
 */
#pragma once

#include "base/contract/ids.h"
#include "cli/cli.h"
#include "cli/remote.h"

/* The order that `text`, which is no ULID, names; when several do, the newest, and the
 * others are named on cli->err.  NOT_FOUND says where it looked.  Leaves some of the
 * time until `deadline_ms` (from several_deadline) to read the order. */
struct outcome find_order(const struct cli *cli, const char *text, int64_t deadline_ms,
                          char out[ULID_SIZE]) __attribute__((warn_unused_result));

/* The order that the request of that id, a ULID, claimed; NOT_FOUND.  Leaves time in
 * the same way. */
struct outcome find_of_request(const struct cli *cli, const char *request_id,
                               int64_t deadline_ms, char out[ULID_SIZE])
    __attribute__((warn_unused_result));

/* remote_show of the entry with the id cli->words[0]: `*id` of the request is set to
 * it, or to the order that it stands for. */
struct outcome find_and_show(const struct cli *cli, const struct method *method,
                             const ProtobufCMessage *request, char **id,
                             reply_printer *print) __attribute__((warn_unused_result));

/* The options by which lists of checkouts and their effects are narrowed. */
struct filters {
    int32_t limit;              /* --limit, 1 to 1000; LIST_DEFAULT without */
    int64_t since_ms, until_ms; /* --since and --until, Unix time; 0: not given */
    int state;                  /* --status, a value of the enum; 0: not given */
};

/* Reads them.  `states` is the enum that --status names a value of, in any case; NULL:
 * the command has no --status, and a --limit of its own. */
struct err filters_read(const struct cli *cli, const ProtobufCEnumDescriptor *states,
                        struct filters *out) __attribute__((warn_unused_result));

/* Prints on cli->err how to continue a list after `next`; nothing when that is "". */
void filters_print_more(const struct cli *cli, size_t count, const char *next);
