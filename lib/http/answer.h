/* answer.h - the encoded answer: its head, and its body if that is short. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "http/server.h"

enum { HTTP_DATE_LINE = 37 }; /* "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n" */

/* How to send it. */
struct http_sending {
    const char *date; /* the Date line, HTTP_DATE_LINE bytes */
    bool head_only;   /* it answers HEAD */
    bool close;       /* add Connection: close */
};

/* The encoded bytes, and the body to be sent after them. */
struct http_wire {
    char *head;
    size_t size;
    struct http_text body; /* empty when it is part of `head`, or not sent */
};

/* Allocates the buffer for an encoded answer in the arena; NULL when that is full. */
char *http_answer_room(struct arena *arena, const struct http_answer *answer)
    __attribute__((warn_unused_result));

/*
 * Writes status line, Date, the answer's own fields, Content-Length and Connection.  204
 * and 304 have neither length nor body (RFC 9110, 8.6); HEAD has the length only.
 */
struct http_wire http_answer_write(char *room, const struct http_answer *answer,
                                   const struct http_sending *sending);
