/*
 * receive.h - no NUL reaches libmicrohttpd.
 *
 * libmicrohttpd overwrites the ends of a head's lines with NULs and reads what is between
 * them as C strings, so that afterwards nobody can tell a NUL that came from one that was
 * put there: a line that ends with NUL LF looks like one that ends with CR LF, and one that
 * begins with NUL like the empty line.  But it receives through the public recv and
 * gnutls_record_recv, which receive.c defines: each NUL becomes the control character 0x01
 * there.  A head that has one is refused (head.h), and so is a JSON body, as they would be
 * for the NUL; no byte is added or taken away, so that nothing else changes.
 */
#pragma once

#include <stdbool.h>

/* From here on all that this thread receives is of HTTP connections: `tls` by records of
 * TLS, else plain.  What other threads receive stays as it is. */
void receive_http(bool tls);
