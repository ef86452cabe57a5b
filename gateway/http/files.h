/*
 * files.h - serves the shop page's files and /openapi.yaml from memory.
 *
 * The folder is read once, at start.  A request's path is only compared with the names
 * found then, so a client's path never reaches the file system.
 *
 *   FOLDER/index.html      answers at  /
 *   FOLDER/NAME                        /shop/NAME
 *   FOLDER/pictures/NAME               /shop/pictures/NAME
 *
 * The Content-Security-Policy of every answer forbids inline scripts and styles, and
 * everything from other origins, so that injected text is never run.
 */
#pragma once

#include "base/err.h"

enum {
    FILES_MAX = 128,          /* files; more are an error at start */
    FILES_SIZE_MAX = 1 << 20, /* bytes of one file */
};

struct files;
struct request;

struct files_config {
    const char *folder; /* "": there is no page */
    /* Development only.  A file with a token: everyone who opens the page on this machine
     * is signed in with it.  "": nobody is. */
    const char *demo_token_file;
    const char *listen_address; /* a demo token needs a loopback address */
    const char *cookie;         /* the name of the cookie that carries it */
};

/* Reads the folder.  Symbolic links, and files with an unknown ending or other characters
 * in their names, are skipped with a warning.  INVALID_ARGUMENT says what cannot be read.
 * Without a folder *out is NULL. */
struct err files_open(const struct files_config *config, struct files **out)
    __attribute__((warn_unused_result));
void files_close(struct files *files); /* NULL is allowed */

/* Handlers (admission.h): the shop page, and the API document this program was built
 * with. */
struct err files_get(struct request *request) __attribute__((warn_unused_result));
struct err document_get(struct request *request) __attribute__((warn_unused_result));
