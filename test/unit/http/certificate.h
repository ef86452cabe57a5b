/* certificate.h - a certificate of this test's own, as a server takes it. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "http/tls.h"

static inline struct http_tls *open_certificate(void)
{
    char folder[] = "/tmp/http-test-XXXXXX", cert[64], key[64], command[512];
    struct http_tls *tls;

    assert_non_null(mkdtemp(folder));
    snprintf(cert, sizeof cert, "%s/cert.pem", folder);
    snprintf(key, sizeof key, "%s/key.pem", folder);
    snprintf(command, sizeof command,
             "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "
             "-days 2 -subj /CN=localhost -keyout %s -out %s 2>/dev/null",
             key, cert);
    assert_int_equal(system(command), 0);
    struct err e = http_tls_open(cert, key, HTTP_TLS_SETTLE_MS, &tls);
    if (failed(e))
        fail_msg("%s", e.message);
    unlink(cert);
    unlink(key);
    rmdir(folder);
    return tls;
}
