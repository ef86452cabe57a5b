/*
 * tls.h - TLS 1.2 and 1.3 by OpenSSL, with the certificate as its files have it.
 *
 *      look --> changed? --> a chain and its key? --> shown from the next handshake on
 *                                 \--> no: one warning, and the last good pair stays
 *
 * A renewed certificate needs no restart and ends no connection.  Its two files cannot be
 * replaced in one moment; so a pair that does not fit together is only complained of when
 * it is still so at the next look.
 */
#pragma once

#include <openssl/types.h>
#include <stdint.h>

#include "base/err.h"

enum { HTTP_TLS_SETTLE_MS = 500 };

struct http_tls;

/* Reads the pair (PEM), fails when it is not good, and then looks again when a file changes, in
 * a thread of its own (base/program/file.h); settle_ms lie between two looks.  The paths are copied. */
struct err http_tls_open(const char *cert_file, const char *key_file, int64_t settle_ms,
                         struct http_tls **out) __attribute__((warn_unused_result));

/* Looks at once, and tells of a bad pair once more.  Any thread; waits for nothing.  NULL is
 * allowed. */
void http_tls_look(struct http_tls *tls);

/* NULL is allowed. */
void http_tls_close(struct http_tls *tls);

/* A new session for an accepted, non-blocking socket, with the newest certificate; NULL
 * when memory is short.  SSL_free ends it; the socket stays the caller's. */
SSL *http_tls_session(struct http_tls *tls, int fd) __attribute__((warn_unused_result));
