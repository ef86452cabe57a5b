/*
 * log.h - one line an event on standard error: key=value, readable and greppable.
 *
 *     ts=2026-01-31T12:00:00.123Z level=info program=inventory event=listening url=...
 *
 * Lines are written whole, so those of several threads never mix; what a thread tells in one
 * moment (cork.h) goes out at its end in one write, but warnings and errors go at once.
 * Control characters are replaced, so no input can forge a line.  Never log a token, a key or a statement's
 * parameter.
 */
#pragma once

#include <inttypes.h>

#include "base/log_limit.h"

enum { LOG_LINE_MAX = 2000 }; /* bytes; the rest of a line is cut */

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* Sets the program's name and the lowest level written.  Call once, before threads. */
void log_start(const char *program, enum log_level lowest);

/* The program's name as log_start was given it. */
const char *log_program(void);

/*
 * Writes one line of at most LOG_LINE_MAX bytes.  `event` is a bare word;
 * `format` gives the key=value pairs, values with blanks in double quotes; it may be "".
 */
void log_line(enum log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same with the pairs written already, for lines that are written very often. */
void log_text(enum log_level level, const char *event, const char *pairs);

#define log_debug(event, ...) log_line(LOG_DEBUG, event, __VA_ARGS__)
#define log_info(event, ...)  log_line(LOG_INFO, event, __VA_ARGS__)
#define log_warn(event, ...)  log_limited(LOG_WARN, event, __VA_ARGS__)
#define log_error(event, ...) log_limited(LOG_ERROR, event, __VA_ARGS__)

/*
 * A line that outside events can repeat: once a second at most of each `event`, then with
 * total=, how many there were, if some were left out (log_limit.h).  `format` is a literal.
 * Lines that are each the record of one thing (a request that was cut off, a file that somebody
 * had read anew) go by log_line.
 */
#define log_limited(level, event, format, ...)                                           \
    do {                                                                                 \
        uint64_t total_;                                                                 \
        if (!log_limit_pass(event, &total_))                                             \
            break;                                                                       \
        if (total_ == 0)                                                                 \
            log_line(level, event, format, ##__VA_ARGS__);                               \
        else                                                                             \
            log_line(level, event, format " total=%" PRIu64, ##__VA_ARGS__, total_);     \
    } while (0)
