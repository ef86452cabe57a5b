/* filters.h - what lists are narrowed by: --limit, --since and --until, --status. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "cli/cli.h"

/* --limit, 1 to 1000; LIST_DEFAULT without. */
struct err filter_limit(const struct cli *cli, int32_t *out)
    __attribute__((warn_unused_result));

/* --since and --until as Unix milliseconds; 0 for one that is not given. */
struct err filter_times(const struct cli *cli, int64_t *since_ms, int64_t *until_ms)
    __attribute__((warn_unused_result));

/* --status, a value of the enum in any case; 0, which stands for none, without. */
struct err filter_state(const struct cli *cli, const ProtobufCEnumDescriptor *type,
                        int *out) __attribute__((warn_unused_result));

/* Says on cli->err how a list goes on that `next` continues; nothing when that is "". */
void filter_tell_more(const struct cli *cli, size_t count, const char *next);
