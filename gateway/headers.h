/*
 * headers.h - the header fields of an answer: what it says of itself, and what a browser
 * may do with it.
 */
#pragma once

#include "gateway/request.h"

/* Nothing but the shop page (files.c) is a page: it may load nothing, be framed nowhere,
 * be guessed no type. */
#define HEADERS_POLICIES(X)                                                              \
    X("X-Content-Type-Options", "nosniff")                                               \
    X("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")           \
    X("Referrer-Policy", "no-referrer")

/* Those lines, of an answer that nobody may keep, which most are. */
#define HEADERS_LINE(name, value) name ": " value "\r\n"
#define HEADERS_USUAL                                                                    \
    HEADERS_POLICIES(HEADERS_LINE) HEADERS_LINE("Cache-Control", "no-store")

/* The lines of the request's answer, CORS (cors.h) included, in its arena: "NAME:
 * VALUE\r\n" each.  tls: whether it goes over TLS, as only then it may demand TLS of later
 * visits (RFC 6797, 7.2).  Broken when the arena is full. */
struct text headers_write(const struct request *request, bool tls);
