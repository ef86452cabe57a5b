/*
 * certificates.h - the certificates of tls+tcp:// follow their files while the process runs.
 *
 * The three files (tls.h) are looked at when they change (base/program/file.h), and read at once when
 * somebody asks.  They cannot be replaced in one moment, so what changed without a signal is
 * only taken when it has stood still from one look to the next.  Refused, and told with the
 * file and the reason: what cannot be read or is no PEM, a key that is not the certificate's,
 * and a certificate that the CAs have not signed or whose time is over.  What was taken before
 * then stays in use.
 *
 * Connections that stand live on with the certificates that they began with; so a CA that is
 * taken out of the file keeps nobody out who is already in.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "rpc/auth/tls.h"

struct certificates;

struct certificates_config {
    struct tls_files
        files;         /* the paths are borrowed; one lacks: there is nothing to follow */
    int64_t settle_ms; /* they are to stand still for so long */
    /* Is given what was read, on the follower's thread.  Failed: it is told as refused. */
    struct err (*use)(void *arg, const struct tls_pem *pem);
    void *arg;
};

/* Takes the files as they are now for what is in use; INVALID_ARGUMENT when that is bad.  Gives
 * NULL when there is nothing to follow. */
struct err certificates_start(const struct certificates_config *config,
                              struct certificates **out)
    __attribute__((warn_unused_result));

/* Reads them at once.  Any thread; waits for nothing.  NULL is allowed, as below. */
void certificates_now(struct certificates *certificates);
void certificates_stop(struct certificates *certificates);
