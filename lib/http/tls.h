/*
 * tls.h - TLS 1.2 and 1.3 by OpenSSL, with certificates that are reloaded when they
 * change.
 *
 *      look --> changed? --> a chain and its key? --> used from the next handshake on
 *                                 \--> no: one warning, and the last good pair is kept
 *
 * Renewing a certificate needs no restart and closes no connection.  Its two files cannot
 * be replaced atomically, so a mismatched pair is only reported if the next look still
 * finds it.
 */
#pragma once

#include <openssl/types.h>
#include <stdint.h>

#include "base/err.h"

enum { HTTP_TLS_SETTLE_MS = 500 };

struct http_tls;

/* Loads the pair (PEM), fails when it is bad, then watches the files in a thread of its
 * own (base/program/file.h); settle_ms: least time between two looks.  The paths are
 * copied. */
struct err http_tls_open(const char *cert_file, const char *key_file, int64_t settle_ms,
                         struct http_tls **out) __attribute__((warn_unused_result));

/* Looks at once, and reports a bad pair again.  Any thread; never waits.  NULL is
 * allowed. */
void http_tls_look(struct http_tls *tls);

/* NULL is allowed. */
void http_tls_close(struct http_tls *tls);

/* A new session for an accepted, non-blocking socket, with the newest certificate; NULL
 * when memory is short.  End it with SSL_free; the socket stays the caller's. */
SSL *http_tls_session(struct http_tls *tls, int fd) __attribute__((warn_unused_result));
