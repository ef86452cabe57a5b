/*
 * headers.h - the header fields of an answer: what it says of itself, and what a browser
 * may do with it.
 */
#pragma once

#include "gateway/request.h"

/* The lines of the request's answer, CORS (cors.h) included, in its arena: "NAME:
 * VALUE\r\n" each.  tls: whether it goes over TLS, as only then it may demand TLS of later
 * visits (RFC 6797, 7.2).  Broken when the arena is full. */
struct text headers_write(const struct request *request, bool tls);
