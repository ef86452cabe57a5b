/* log.c - see log.h.  The one place where a value is written; log_format.c reads formats. */
#include "base/log.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cork.h"
#include "base/decimal.h"
#include "base/utf8.h"

static const char *const LEVELS[] = {"debug", "info", "warn", "error"};

enum {
    LINE_END = 24,  /* bytes kept for what ends a line that was cut */
    ESCAPE_MAX = 6, /* bytes of the longest: \u001f */
};

/* Written once by log_start and log_use_format, before any thread; then only read. */
static const char *the_program = "unnamed";
static enum log_level the_lowest = LOG_INFO;
static bool as_json;

void log_start(const char *program, enum log_level lowest)
{
    the_program = program;
    the_lowest = lowest;
}

struct err log_use_format(const char *format)
{
    as_json = strcmp(format, "json") == 0;
    if (as_json || strcmp(format, "logfmt") == 0)
        return ERR_NONE;
    return err_make(ERR_INVALID_ARGUMENT, "log_format is \"%s\"; write logfmt or json",
                    format);
}

const char *log_program(void)
{
    return the_program;
}

/* ---- a line's bytes ------------------------------------------------------------------ */

static size_t room_of(const struct log_record *record)
{
    const size_t most = sizeof record->text - LINE_END;

    return record->used < most ? most - record->used : 0; /* a quote may stand past it */
}

static void put(struct log_record *record, const char *bytes, size_t size)
{
    memcpy(record->text + record->used, bytes, size);
    record->used += size;
}

static void put_text(struct log_record *record, const char *text)
{
    put(record, text, strlen(text));
}

static bool is_plain(unsigned char c)
{
    return c >= ' ' && c < 0x7f && c != '"' && c != '\\';
}

/* Whether logfmt takes it without quotes. */
static bool is_bare(const char *value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (!is_plain((unsigned char)value[i]) || value[i] == ' ' || value[i] == '=')
            return false;
    return size > 0;
}

/* C1 controls and the two line ends of Unicode: a terminal or a reader may heed them. */
static bool is_shown_escaped(const unsigned char *at, size_t length)
{
    return (length == 2 && at[0] == 0xc2 && at[1] < 0xa0) ||
           (length == 3 && at[0] == 0xe2 && at[1] == 0x80 &&
            (at[2] == 0xa8 || at[2] == 0xa9));
}

/* A JSON escape of the character at `at`, of `length` bytes; 0: it is not UTF-8. */
static size_t escape(const unsigned char *at, size_t length, char out[ESCAPE_MAX + 1])
{
    static const char NAMED[] = "\"\\\n\r\t", NAMES[] = "\"\\nrt";
    const char *named = length == 1 && *at != '\0' ? strchr(NAMED, *at) : NULL;
    unsigned code = length == 0   ? 0xfffdU
                    : length == 1 ? at[0]
                    : length == 2
                        ? (at[0] & 0x1fU) << 6 | (at[1] & 0x3fU)
                        : (at[0] & 0x0fU) << 12 | (at[1] & 0x3fU) << 6 | (at[2] & 0x3fU);

    return named != NULL
               ? (size_t)snprintf(out, ESCAPE_MAX + 1, "\\%c", NAMES[named - NAMED])
               : (size_t)snprintf(out, ESCAPE_MAX + 1, "\\u%04x", code & 0xffffU);
}

/* As much of it as fits, never a part of a character; for between quotes. */
static void put_escaped(struct log_record *record, const char *value, size_t size)
{
    const unsigned char *at = (const unsigned char *)value, *end = at + size;
    char text[ESCAPE_MAX + 1];

    while (at < end && !record->cut) {
        size_t run = 0, length;
        while (run < (size_t)(end - at) && run < room_of(record) && is_plain(at[run]))
            run++;
        put(record, (const char *)at, run);
        at += run;
        if (at == end)
            break;
        length = utf8_length(at, (size_t)(end - at));
        bool plain = is_plain(*at) || (length > 1 && !is_shown_escaped(at, length));
        size_t written = plain ? length : escape(at, length, text);
        record->cut = room_of(record) < written;
        if (!record->cut)
            put(record, plain ? (const char *)at : text, written);
        at += length > 0 ? length : 1;
    }
}

/* ` key=` or `,"key":`; false when it and an empty value do not fit. */
static bool put_key(struct log_record *record, const char *key)
{
    size_t size = strlen(key);

    record->cut = record->cut || room_of(record) < size + sizeof ",\"\":\"\"";
    if (record->cut)
        return false;
    put_text(record, as_json ? ",\"" : " ");
    put(record, key, size);
    put_text(record, as_json ? "\":" : "=");
    return true;
}

/* ---- pairs --------------------------------------------------------------------------- */

void log_pair_of(struct log_record *record, const char *key, const char *value,
                 size_t size)
{
    if (!put_key(record, key))
        return;
    if (!as_json && size <= room_of(record) && is_bare(value, size)) {
        put(record, value, size);
        return;
    }
    put_text(record, "\"");
    put_escaped(record, value, size);
    put_text(record, "\"");
}

void log_pair(struct log_record *record, const char *key, const char *value)
{
    log_pair_of(record, key, value, value == NULL ? 0 : strlen(value));
}

void log_pair_number(struct log_record *record, const char *key, int64_t value)
{
    char digits[DECIMAL_SIZE];
    size_t first = decimal_write(value, digits);

    if (!put_key(record, key))
        return;
    record->cut = room_of(record) < sizeof digits - first;
    if (record->cut)
        put_text(record, as_json ? "null" : "\"\"");
    else
        put(record, digits + first, sizeof digits - first);
}

void log_subject(struct log_record *record, const char *request, const char *order_id)
{
    if (request != NULL && request[0] != '\0')
        log_pair(record, "request", request);
    if (order_id != NULL && order_id[0] != '\0')
        log_pair(record, "order", order_id);
}

/* ---- a line's beginning and end ------------------------------------------------------ */

/* The second is written out once, for all lines of it. */
static const char *second_text(time_t second)
{
    static _Thread_local struct {
        time_t second;
        char text[sizeof "9999-12-31T23:59:59"];
    } latest;
    struct tm utc;

    if (latest.second != second) {
        gmtime_r(&second, &utc);
        strftime(latest.text, sizeof latest.text, "%Y-%m-%dT%H:%M:%S", &utc);
        latest.second = second;
    }
    return latest.text;
}

/* By hand, as each line has one. */
static void put_head(struct log_record *record, const char *event)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    const long ms = now.tv_nsec / 1000000;
    const char thousandths[] = {'.', (char)('0' + ms / 100), (char)('0' + ms / 10 % 10),
                                (char)('0' + ms % 10), 'Z'};
    put_text(record, as_json ? "{\"ts\":\"" : "ts=");
    put_text(record, second_text(now.tv_sec));
    put(record, thousandths, sizeof thousandths);
    put_text(record, as_json ? "\"" : "");
    log_pair(record, "level", LEVELS[record->level]);
    log_pair(record, "program", the_program);
    log_pair(record, "event", event);
}

bool log_begin(struct log_record *record, enum log_level level, const char *event)
{
    if (level < the_lowest)
        return false;
    record->level = level;
    record->cut = false;
    record->total = 0;
    record->used = 0;
    put_head(record, event);
    return true;
}

bool log_begin_limited(struct log_record *record, enum log_level level, const char *event)
{
    uint64_t total;

    if (!log_limit_pass(event, &total) || !log_begin(record, level, event))
        return false;
    record->total = total;
    return true;
}

static void write_out(const char *text, size_t size)
{
    ssize_t ignored = write(STDERR_FILENO, text, size); /* nowhere left to report to */

    (void)ignored;
}

/* The lines of a corked thread, which go out with the rest of the moment. */
static _Thread_local struct {
    size_t used;
    char text[8192];
} kept;

static void write_kept(void *unused)
{
    (void)unused;
    if (kept.used > 0)
        write_out(kept.text, kept.used);
    kept.used = 0;
}

static void keep(const char *line, size_t size)
{
    if (sizeof kept.text - kept.used < size)
        write_kept(NULL);
    memcpy(kept.text + kept.used, line, size);
    kept.used += size;
}

/* LINE_END has room for all of it. */
void log_end(struct log_record *record)
{
    if (record->total > 0)
        log_pair_number(record, "total", (int64_t)record->total);
    if (record->cut)
        put_text(record, as_json ? ",\"cut\":true" : " cut=true");
    put_text(record, as_json ? "}\n" : "\n");
    if (record->level <= LOG_INFO && cork_hold(write_kept, NULL) != CORK_NONE) {
        keep(record->text, record->used);
        return;
    }
    write_kept(NULL); /* what came before stays before */
    write_out(record->text, record->used);
}
