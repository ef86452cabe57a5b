/*
 * log.h - one line per event on standard error, as logfmt or as JSON.
 *
 *     ts=2026-01-31T12:00:00.123Z level=info program=inventory event=listening url=...
 *     {"ts":"2026-01-31T12:00:00.123Z","level":"info","program":"inventory",...}
 *
 * A line stays one line that a parser reads back, whatever a value holds: only this
 * module writes values, quotes them where logfmt needs it, and escapes as JSON does.
 * Keys consist of a-z, 0-9 and _.  Bytes that are not UTF-8 become U+FFFD; control
 * characters are escaped.
 *
 * Lines are written whole, so lines of several threads never mix.  Under a cork (cork.h)
 * a thread's lines are written together when the cork ends, except warnings and errors,
 * which are written at once.  Never log a token, a key or a statement's parameter.
 */
#pragma once

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
    LOG_LINE_MAX = 2000, /* bytes; more is dropped, and the line ends with cut=true */
    LOG_LIMIT_MS = 1000, /* between two lines of an event that is rate limited */
};

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* Sets the program's name, a plain word, and the lowest level written.  Call once, before
 * starting threads. */
void log_start(const char *program, enum log_level lowest);

/* Sets the format: "logfmt", the default, or "json"; INVALID_ARGUMENT for anything else.
 * Call before starting threads. */
struct err log_use_format(const char *format) __attribute__((warn_unused_result));

/* The name given to log_start. */
const char *log_program(void);

/*
 * Writes one line.  `event` is a bare word.  `format` is "key=%s other=%d"; "%s" with ""
 * writes no pairs.  A value is one conversion, or several and words between double
 * quotes: "reason=\"still busy after %d ms\"".  Those quotes only mark where the value
 * ends; quoting in the output is decided here, so "reason=%s" is right for any text.
 *
 * Conversions: %s (NULL is ""), %.Ns, %.*s, %d, %u, %x with the sizes l, ll, z, j and h,
 * %c and %%; nothing else.
 */
void log_line(enum log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define log_debug(event, ...) log_line(LOG_DEBUG, event, __VA_ARGS__)
#define log_info(event, ...)  log_line(LOG_INFO, event, __VA_ARGS__)
#define log_warn(event, ...)  log_limited(LOG_WARN, event, __VA_ARGS__)
#define log_error(event, ...) log_limited(LOG_ERROR, event, __VA_ARGS__)

/*
 * For lines that outside events can repeat, which would fill the disk and hide the rest:
 * at most one line per LOG_LIMIT_MS for each `event`.  After skipped lines the next one
 * ends with total=, how many there were in all.  `format` is a literal.  A line that
 * records one thing (a request that was cut off, a reload that somebody asked for) goes
 * through log_line.
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

/* Counts an event; true when its line may be written.  *total is then 0, or, if lines
 * were skipped before it, how many there were in all.  Any thread; never waits.  Past 256
 * events, further ones are not limited. */
bool log_limit_pass(const char *event, uint64_t *total)
    __attribute__((warn_unused_result));

/*
 * A line pair by pair, for lines that are written very often, or whose pairs vary:
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
    uint64_t total; /* events in all, when lines were skipped before this one; or 0 */
    size_t used;
    char text[LOG_LINE_MAX];
};

/* False when the level is not written; the record must not be used then. */
bool log_begin(struct log_record *record, enum log_level level, const char *event)
    __attribute__((warn_unused_result));

/* The same with log_limited's rate limit: false when the line is skipped, too. */
bool log_begin_limited(struct log_record *record, enum log_level level, const char *event)
    __attribute__((warn_unused_result));

/* `value` may hold any bytes; NULL is "". */
void log_pair(struct log_record *record, const char *key, const char *value);
void log_pair_of(struct log_record *record, const char *key, const char *value,
                 size_t size);
void log_pair_number(struct log_record *record, const char *key, int64_t value);

/* The request and order that the line is about, as request= and order=; NULL or "" omits
 * the pair. */
void log_subject(struct log_record *record, const char *request, const char *order_id);

/* Writes the line. */
void log_end(struct log_record *record);
