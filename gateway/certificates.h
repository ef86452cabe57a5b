/*
 * certificates.h - the certificate our TLS shows, as its files have it.
 *
 *      look --> changed? --> a chain and its key? --> shown from the next handshake on
 *                                 \--> no: one warning, and the last good pair stays
 *
 * A renewed certificate needs no restart and ends no connection.  Its two files cannot be
 * replaced in one moment; so what does not fit together is only complained of when it is
 * still so at the next look.
 */
#pragma once

#include <gnutls/abstract.h>
#include <stdint.h>

#include "base/err.h"

enum { CERTIFICATES_EVERY_MS = 500 };

struct certificates;

/* Reads the pair (PEM), fails when it is not good, and then looks again every so often, in a
 * thread of its own.  The paths are copied. */
struct err certificates_open(const char *cert_file, const char *key_file,
                             int64_t every_ms, struct certificates **out)
    __attribute__((warn_unused_result));

/* NULL is allowed. */
void certificates_close(struct certificates *certificates);

/* What handshakes on this thread show from here on.  GnuTLS's callback has no argument of
 * ours, so the thread has it. */
void certificates_show(struct certificates *certificates);

/* For MHD_OPTION_HTTPS_CERT_CALLBACK2. */
gnutls_certificate_retrieve_function3 certificates_retrieve;
