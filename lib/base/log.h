/*
 * log.h - one line an event on standard error, as logfmt or as JSON.
 *
 *     ts=2026-01-31T12:00:00.123Z level=info program=inventory event=listening url=...
 *     {"ts":"2026-01-31T12:00:00.123Z","level":"info","program":"inventory",...}
 *
 * Whatever a value holds, the line stays one line that a parser reads back: this file alone
 * writes values, quotes them where logfmt needs it, and escapes as JSON does.  Keys are
 * words of a-z, 0-9 and _.  Bytes that are not UTF-8 become U+FFFD; control characters are
 * escaped.
 *
 * Lines are written whole, so those of several threads never mix; what a thread tells in one
 * moment (cork.h) goes out at its end in one write, but warnings and errors go at once.
 * Never log a token, a key or a statement's parameter.
 */
#pragma once

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log_limit.h"

/* Bytes of a line; what does not fit is left out and the line ends with cut=true. */
enum { LOG_LINE_MAX = 2000 };

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* Sets the program's name, a plain word, and the lowest level written.  Call once, before
 * threads. */
void log_start(const char *program, enum log_level lowest);

/* Lines are "logfmt", which they are anyway, or "json" from now on; INVALID_ARGUMENT for
 * anything else.  Call before threads. */
struct err log_use_format(const char *format) __attribute__((warn_unused_result));

/* The program's name as log_start was given it. */
const char *log_program(void);

/*
 * Writes one line.  `event` is a bare word.  `format` is "key=%s other=%d" and names the
 * pairs; a value is one conversion, or several and words between double quotes:
 * "reason=\"still busy after %d ms\"".  Those quotes only show where the value ends; how it is
 * written is decided here, so "reason=%s" is right for any text.  "%s" with "": no pairs.
 *
 * Conversions: %s (NULL is ""), %.Ns, %.*s, %d, %u, %x with the sizes l, ll, z, j and h, %c and %%;
 * nothing else.
 */
void log_line(enum log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

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

/*
 * A line pair by pair, for those that are written very often, or whose pairs differ:
 *
 *     struct log_record record;
 *     if (log_begin(&record, LOG_INFO, "access")) {
 *         log_pair(&record, "request", id);
 *         log_end(&record);
 *     }
 */
struct log_record {
    enum log_level level;
    bool cut;       /* something did not fit */
    uint64_t total; /* how many of its event there were, when some were left out; or 0 */
    size_t used;
    char text[LOG_LINE_MAX];
};

/* False: lines of that level are not written; there is nothing to end. */
bool log_begin(struct log_record *record, enum log_level level, const char *event)
    __attribute__((warn_unused_result));

/* The same for a line that outside events can repeat, limited as those of log_limited are:
 * false also when it is left out. */
bool log_begin_limited(struct log_record *record, enum log_level level, const char *event)
    __attribute__((warn_unused_result));

/* `value` may be anything; NULL is "".  The second: `size` bytes of it. */
void log_pair(struct log_record *record, const char *key, const char *value);
void log_pair_of(struct log_record *record, const char *key, const char *value,
                 size_t size);
void log_pair_number(struct log_record *record, const char *key, int64_t value);

/* What the line is about, as request= and order=; each is left out when NULL or "". */
void log_subject(struct log_record *record, const char *request, const char *order_id);

/* Writes the line. */
void log_end(struct log_record *record);
