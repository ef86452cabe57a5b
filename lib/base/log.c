/*
 * log.c - see log.h.
 *
 * Values are written in one place, log_pair_of, so a value's content never decides how
 * its line is parsed.  For the same reason log_line interprets its format itself: in
 * printf's output the arguments could not be told apart from the format.
 */
#include "base/log.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cork.h"
#include "base/text.h"

static const char *const LEVELS[] = {"debug", "info", "warn", "error"};

enum {
    LINE_END = 24,  /* bytes reserved for the end of a line that was cut */
    ESCAPE_MAX = 6, /* bytes of the longest: \u001f */
};

/* Set by log_start and log_use_format before any thread exists; then only read. */
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

/* ---- the bytes of a line ---- */

static size_t room_of(const struct log_record *record)
{
    const size_t most = sizeof record->text - LINE_END;

    return record->used < most ? most - record->used
                               : 0; /* a closing quote may be past it */
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

/* Whether logfmt needs no quotes for it. */
static bool is_bare(const char *value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (!is_plain((unsigned char)value[i]) || value[i] == ' ' || value[i] == '=')
            return false;
    return size > 0;
}

/* C1 controls and the two line ends of Unicode: terminals and parsers may act on them. */
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

/* Writes as much as fits, in whole characters; for use between quotes. */
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

/* Writes ` key=` or `,"key":`; false when it does not fit with an empty value. */
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

/* ---- pairs ---- */

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

/* ---- the start and end of a line ---- */

/* Formatted once per second and thread. */
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

/* Formatted by hand for speed: every line has a head. */
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
    (void)!write(STDERR_FILENO, text, size); /* nowhere to report a failure */
}

/* Lines of a corked thread, written when the cork ends. */
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

/* LINE_END reserves the room for this. */
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
    write_kept(NULL); /* keep the order of lines */
    write_out(record->text, record->used);
}

/* ---- log_line ---- */

enum { KEY_SIZE = 32 };

/* A value under construction, from literal text of the format and arguments. */
struct value {
    size_t used;
    bool is_number; /* it is one integer and nothing else, `number` */
    int64_t number;
    bool cut;
    char text[LOG_LINE_MAX];
};

static void add(struct value *value, const char *bytes, size_t size)
{
    size_t room = sizeof value->text - value->used;

    value->cut = value->cut || size > room;
    size = size < room ? size : room;
    memcpy(value->text + value->used, bytes, size);
    value->used += size;
}

struct arguments {
    va_list list;
};

/* size: the length modifier's letter, 'L' for ll, 0 for none or h, which is promoted.
 * The bits of an unsigned argument. */
static int64_t take_integer(struct arguments *arguments, char size, bool is_signed)
{
    switch (size) {
    case 'l':
    case 'z':
        return va_arg(arguments->list, long);
    case 'L':
    case 'j':
        return va_arg(arguments->list, long long);
    default:
        return is_signed ? va_arg(arguments->list, int)
                         : (int64_t)va_arg(arguments->list, unsigned);
    }
}

static void add_signed(struct value *value, int64_t number)
{
    char digits[DECIMAL_SIZE];
    size_t first = decimal_write(number, digits);

    value->is_number = value->used == 0;
    value->number = number;
    add(value, digits + first, sizeof digits - first);
}

static void add_unsigned(struct value *value, uint64_t number, bool hexadecimal)
{
    char digits[24];

    if (!hexadecimal && number <= INT64_MAX) {
        add_signed(value, (int64_t)number);
        return;
    }
    int size =
        snprintf(digits, sizeof digits, hexadecimal ? "%" PRIx64 : "%" PRIu64, number);
    add(value, digits, (size_t)size);
}

/* Reads ".20" or ".*" as in %.20s; without one, *most is no limit. */
static const char *take_precision(const char *at, struct arguments *arguments,
                                  size_t *most)
{
    *most = LOG_LINE_MAX;
    if (*at != '.')
        return at;
    if (*++at == '*') {
        int given = va_arg(arguments->list, int);
        *most = given < 0 ? LOG_LINE_MAX : (size_t)given;
        return at + 1;
    }
    for (*most = 0; isdigit((unsigned char)*at); at++)
        *most = *most * 10 + (size_t)(*at - '0');
    return at;
}

/* Converts from behind '%'; returns the conversion's end, or NULL for one that log.h does
 * not list. */
static const char *convert(const char *at, struct arguments *arguments,
                           struct value *value)
{
    char size = '\0', c;
    const char *text;
    size_t most;

    at = take_precision(at, arguments, &most);
    for (; *at != '\0' && strchr("lzjh", *at) != NULL; at++)
        size = (char)(size == 'l' ? 'L' : *at);
    value->is_number = false;
    switch (*at) {
    case 's':
        text = va_arg(arguments->list, const char *);
        if (text != NULL)
            add(value, text, strnlen(text, most));
        break;
    case 'd':
        add_signed(value, take_integer(arguments, size, true));
        break;
    case 'u':
    case 'x':
        add_unsigned(value, (uint64_t)take_integer(arguments, size, false), *at == 'x');
        break;
    case 'c':
        c = (char)va_arg(arguments->list, int);
        add(value, &c, 1);
        break;
    case '%':
        add(value, "%", 1);
        break;
    default:
        return NULL;
    }
    return at + 1;
}

/* ---- pairs ---- */

/* Reads up to the blank or the closing quote; NULL after an unknown conversion. */
static const char *take_value(const char *at, struct arguments *arguments,
                              struct value *value)
{
    const bool quoted = *at == '"';
    const char end = quoted ? '"' : ' ';

    value->used = 0;
    value->is_number = value->cut = false;
    at += quoted;
    while (at != NULL && *at != '\0' && *at != end) {
        if (*at == '%') {
            at = convert(at + 1, arguments, value);
            continue;
        }
        size_t run = strcspn(at, quoted ? "%\"" : "% ");
        value->is_number = false;
        add(value, at, run);
        at += run;
    }
    return at != NULL && quoted && *at == end ? at + 1 : at;
}

/* Reads the key before '='.  A value without one gets the key "note". */
static const char *take_key(const char *at, char key[KEY_SIZE])
{
    size_t length = strspn(at, "abcdefghijklmnopqrstuvwxyz0123456789_");
    bool keyed = length > 0 && length < KEY_SIZE && at[length] == '=';

    snprintf(key, KEY_SIZE, "%.*s", keyed ? (int)length : 4, keyed ? at : "note");
    return keyed ? at + length + 1 : at;
}

static void put_pair(struct log_record *record, const char *key,
                     const struct value *value)
{
    if (value->is_number)
        log_pair_number(record, key, value->number);
    else if (value->used > 0 || strcmp(key, "note") != 0)
        log_pair_of(record, key, value->text, value->used);
    record->cut = record->cut || value->cut;
}

void log_line(enum log_level level, const char *event, const char *format, ...)
{
    struct log_record record;
    struct arguments arguments;
    struct value value;
    char key[KEY_SIZE];

    if (!log_begin(&record, level, event))
        return;
    va_start(arguments.list, format);
    for (const char *at = format; at != NULL && *at != '\0';) {
        at = take_value(take_key(at, key), &arguments, &value);
        put_pair(&record, key, &value);
        at += at == NULL ? 0 : strspn(at, " ");
    }
    va_end(arguments.list);
    log_end(&record);
}

/* ---- the rate limit ---- */

enum { KINDS = 256 };

struct kind {
    atomic_uint_fast64_t hash;   /* of the event's name; 0: unused */
    atomic_int_fast64_t next_ms; /* earliest time of the next line; clock_monotonic_ms */
    atomic_uint_fast64_t total, skipped;
};

/* Per process, like the log itself. */
static struct kind kinds[KINDS];

static uint64_t hash_of(const char *event)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a */

    for (const char *c = event; *c != '\0'; c++)
        hash = (hash ^ (unsigned char)*c) * 1099511628211u;
    return hash != 0 ? hash : 1;
}

/* NULL when the table is full. */
static struct kind *find_kind(const char *event)
{
    const uint64_t hash = hash_of(event);

    for (size_t i = 0; i < KINDS; i++) {
        struct kind *kind = &kinds[(hash + i) % KINDS];
        uint_fast64_t there = atomic_load(&kind->hash);
        if (there == 0)
            (void)atomic_compare_exchange_strong(&kind->hash, &there, hash);
        if (atomic_load(&kind->hash) == hash)
            return kind;
    }
    return NULL;
}

bool log_limit_pass(const char *event, uint64_t *total)
{
    struct kind *kind = find_kind(event);
    int_fast64_t now = clock_monotonic_ms();

    *total = 0;
    if (kind == NULL)
        return true;
    uint64_t count = atomic_fetch_add(&kind->total, 1) + 1;
    int_fast64_t next = atomic_load(&kind->next_ms);
    if (now < next ||
        !atomic_compare_exchange_strong(&kind->next_ms, &next, now + LOG_LIMIT_MS)) {
        atomic_fetch_add(&kind->skipped, 1);
        return false;
    }
    if (atomic_exchange(&kind->skipped, 0) > 0)
        *total = count;
    return true;
}
