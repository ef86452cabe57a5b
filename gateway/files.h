/*
 * files.h - the shop page's files, served from memory.
 *
 * One folder is read once, at start.  After that a request's path is only compared with
 * the names that were found then: no path of a client ever reaches the file system.
 *
 *   FOLDER/index.html      answers at  /
 *   FOLDER/NAME                        /shop/NAME
 *   FOLDER/pictures/NAME               /shop/pictures/NAME
 *
 * Every answer forbids code, style and requests that are not of this origin, and inline
 * ones too (Content-Security-Policy), so that a text which slips into the page stays
 * text.
 */
#pragma once

#include <stddef.h>

#include "base/err.h"

enum {
    FILES_MAX = 128,          /* files; more refuse to start */
    FILES_SIZE_MAX = 1 << 20, /* bytes of one file */
};

struct files_config {
    const char *folder; /* "": there is no page */
    /* Development only.  A file with a token: whoever opens the page on this machine is
     * signed in with it.  "": nobody is. */
    const char *demo_token_file;
    const char *listen_address; /* must be a loopback one for that */
    const char *cookie;         /* the name of the cookie that carries it */
};

struct files;

/* Reads the folder; its links, and what has a name or an ending that is not known, are
 * left out with a warning.  INVALID_ARGUMENT says what cannot be read.  Without a folder
 * *out is NULL. */
struct err files_open(const struct files_config *config, struct files **out)
    __attribute__((warn_unused_result));
void files_close(struct files *files); /* NULL is allowed */
