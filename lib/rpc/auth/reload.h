/*
 * reload.h - files that are reloaded while the process runs: lists and certificates.
 *
 *      watching --a file changed--> unchanged for settle_ms --> read and check --> use
 *          ^                                                          |
 *          +------- logged; what was read before stays in use <--wrong+
 *
 * base/program/file.h watches the files on a thread of its own.  A file may be half written
 * when it is seen to change, and three files cannot be replaced at once: so a change
 * counts only when two looks in a row find the same.  ..._now reads at once, changed or
 * not.
 *
 * A list is one of principals.h.  Certificates are the three files of tls.h; rejected are
 * files that cannot be read or are no PEM, a key that does not belong to the certificate,
 * and a certificate that the CAs have not signed or that has expired.  Existing
 * connections keep the certificates they began with: removing a CA from the file closes
 * none.
 *
 * reload_lists.c is part of libcheckout-client; reload_certificates.c needs libcrypto and
 * is not.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "rpc/auth/principals.h"
#include "rpc/auth/tls.h"

enum { FOLLOW_SETTLE_MS = 500 };

/* ---- a list of callers or services ---- */

struct follow;

struct follow_config {
    const char *path;
    bool callers;          /* authorized_callers, or known_services */
    const struct key *key; /* ours; it takes a reference */
    int64_t settle_ms;     /* how long the file must stay unchanged */
    /* Is given each new list, on the thread that watches, and takes a reference to what
     * it keeps (principals_share).  Failed: the list is not used, and that is logged. */
    struct err (*use)(void *arg, const struct principals *principals);
    void *arg;
};

/* The caller has read the file already: what it holds now is taken to be in use.  All but
 * the key is borrowed. */
struct err follow_start(const struct follow_config *config, struct follow **out)
    __attribute__((warn_unused_result));

/* Reads the file at once, and from now on with this key (a reference to it).  Any thread;
 * does not wait.  NULL is allowed, as below. */
void follow_now(struct follow *follow, const struct key *key);
void follow_stop(struct follow *follow);

/* ---- the certificates of tls+tcp:// ---- */

struct certificates;

struct certificates_config {
    struct tls_files files; /* paths are borrowed; one missing: nothing is watched */
    int64_t settle_ms;      /* how long the files must stay unchanged */
    /* Is given what was read, on the thread that watches.  Failed: it is logged as
     * rejected. */
    struct err (*use)(void *arg, const struct tls_pem *pem);
    void *arg;
};

/* What the files hold now is taken to be in use; INVALID_ARGUMENT when it is bad.  Gives
 * NULL when nothing is to be watched. */
struct err certificates_start(const struct certificates_config *config,
                              struct certificates **out)
    __attribute__((warn_unused_result));

/* Reads the files at once.  Any thread; does not wait.  NULL is allowed, as below. */
void certificates_now(struct certificates *certificates);
void certificates_stop(struct certificates *certificates);
