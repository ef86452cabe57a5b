/*
 * webhooks.h - the state folder of a webhook sender on this machine.
 *
 * The sender answers no requests, so its files are the interface (webhook/pending.h).
 */
#pragma once

#include "base/err.h"
#include "base/json.h"
#include "cli/commands.h"

enum { PATH_SIZE = 600 };

/* The folder, and whether the command's first word, if there is one, can be an endpoint's. */
struct err webhooks_folder(const struct cli *cli, const char **out)
    __attribute__((warn_unused_result));

/* Calls `each` for every file ENDPOINT.SUFFIX of the folder, or, when the command has a word,
 * for that endpoint's.  What is not there is no failure. */
struct err webhooks_each(const struct cli *cli, const char *folder, const char *suffix,
                         struct err (*each)(void *arg, const char *endpoint,
                                            const char *path),
                         void *arg) __attribute__((warn_unused_result));

/* Says, for people, of each of those endpoints that answered 410 that it is sent nothing. */
struct err webhooks_tell_gone(struct cli *cli, const char *folder)
    __attribute__((warn_unused_result));

/* A small JSON file, whole; the caller frees `out`. */
struct err webhooks_read(const char *path, json_t **out)
    __attribute__((warn_unused_result));
