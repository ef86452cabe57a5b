/*
 * tls.h - tls+tcp:// with certificates on both sides, beneath the seal.
 *
 * The certificate proves that a machine is ours; the seal proves the caller, as on every
 * transport.  Both sides must present a certificate of the CA (its key usage must allow
 * server and client), and a server's must be for the host in the URL of its callers.
 * mbedTLS 2.28 compares that with DNS names only: a server called by its address must
 * have the address as a DNS name too.  TLS 1.2.
 */
#pragma once

#include <nng/nng.h>
#include <nng/supplemental/tls/tls.h>
#include <stdbool.h>

#include "base/err.h"

/* PEM files: our certificate (with the intermediates up to the CA), its key, the CAs.  A
 * key that others may read is rejected.  NULL or "" where there is none. */
struct tls_files {
    const char *cert, *key, *ca;
};

enum tls_use {
    TLS_SERVE,
    TLS_CALL,
    TLS_PROBE, /* of our own address: the server's name does not matter */
};

/* Whether all three are named. */
bool tls_files_given(const struct tls_files *files);

/* Whether the URL is tls+tcp://. */
bool tls_wanted(const char *url);

/* What the files hold, as text in memory that is never dumped. */
struct tls_pem {
    const struct tls_files *files; /* borrowed, for messages */
    char *cert, *key, *ca;
};

/* INVALID_ARGUMENT names the file that is missing or wrong.  tls_pem_free it, also
 * then. */
struct err tls_read(const struct tls_files *files, struct tls_pem *out)
    __attribute__((warn_unused_result));
void tls_pem_free(struct tls_pem *pem);

/*
 * For the URL, to be given to nng_tls_config_free; NULL when the URL has no TLS.
 * INVALID_ARGUMENT names the file that is missing or wrong.
 */
struct err tls_config(const struct tls_files *files, enum tls_use use, const char *url,
                      nng_tls_config **out) __attribute__((warn_unused_result));
/* The same of what was read. */
struct err tls_config_of(const struct tls_pem *pem, enum tls_use use, const char *url,
                         nng_tls_config **out) __attribute__((warn_unused_result));

/* nng_dial and nng_listen with that configuration, which may be NULL; nng's errors. */
int tls_dial(nng_socket socket, const char *url, nng_tls_config *config, nng_dialer *out)
    __attribute__((warn_unused_result));
int tls_listen(nng_socket socket, const char *url, nng_tls_config *config,
               nng_listener *out) __attribute__((warn_unused_result));
