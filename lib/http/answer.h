/*
 * answer.h - an answer as it goes over the wire: its head, and its body where that is short.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "http/server.h"

enum { HTTP_DATE_LINE = 37 }; /* "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n" */

/* How it is to be sent. */
struct http_sending {
    const char *date; /* the Date line, HTTP_DATE_LINE bytes */
    bool head_only;   /* it answers HEAD */
    bool close;       /* it says that the connection ends */
};

/* The bytes in the room, and what of the body is to be sent behind them. */
struct http_wire {
    char *head;
    size_t size;
    struct http_text body; /* empty when it is part of `head`, or not sent at all */
};

/* Room for the wire's bytes of such an answer, in the arena; NULL when that is full. */
char *http_answer_room(struct arena *arena, const struct http_answer *answer)
    __attribute__((warn_unused_result));

/*
 * Writes status line, Date, the answer's own fields, Content-Length and Connection.  204
 * and 304 have neither length nor body (RFC 9110, 8.6); HEAD has the length alone.
 */
struct http_wire http_answer_write(char *room, const struct http_answer *answer,
                                   const struct http_sending *sending);
