/*
 * log_format.c - log_line: reads a format such as "request=%s ms=%d reason=\"after %s\"", and
 * gives each pair to log.c, so that what stands in a value never decides how it is read.
 *
 * Not printf: its output could no longer be told apart from what was put into it.
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>

#include "base/log.h"

enum { KEY_SIZE = 32 };

/* A value as it is put together: from words of the format, and from arguments. */
struct value {
    size_t used;
    bool is_number; /* it is one integer and nothing else: */
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

/* ---- a conversion -------------------------------------------------------------------- */

/* By a size letter, or 'L' for ll; 0: none. */
static int64_t take_signed(struct arguments *arguments, char size)
{
    switch (size) {
    case 'l':
        return va_arg(arguments->list, long);
    case 'L':
        return va_arg(arguments->list, long long);
    case 'z':
        return va_arg(arguments->list, ssize_t);
    case 'j':
        return va_arg(arguments->list, intmax_t);
    default:
        return va_arg(arguments->list, int); /* h, too: it was promoted */
    }
}

static uint64_t take_unsigned(struct arguments *arguments, char size)
{
    switch (size) {
    case 'l':
        return va_arg(arguments->list, unsigned long);
    case 'L':
        return va_arg(arguments->list, unsigned long long);
    case 'z':
        return va_arg(arguments->list, size_t);
    case 'j':
        return va_arg(arguments->list, uintmax_t);
    default:
        return va_arg(arguments->list, unsigned);
    }
}

static void add_text(struct value *value, const char *text, size_t most)
{
    if (text != NULL)
        add(value, text, strnlen(text, most));
}

static void add_signed(struct value *value, int64_t number)
{
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%" PRId64, number);

    value->is_number = value->used == 0;
    value->number = number;
    add(value, digits, (size_t)length);
}

static void add_unsigned(struct value *value, uint64_t number)
{
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%" PRIu64, number);

    value->is_number = value->used == 0 && number <= INT64_MAX;
    value->number = (int64_t)number;
    add(value, digits, (size_t)length);
}

static void add_hexadecimal(struct value *value, uint64_t number)
{
    char digits[24];

    add(value, digits, (size_t)snprintf(digits, sizeof digits, "%" PRIx64, number));
}

/* ".20" or ".*" of %.20s; without one all of it. */
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

/* At what follows '%'; gives where it ends, or NULL for what log.h does not name. */
static const char *convert(const char *at, struct arguments *arguments,
                           struct value *value)
{
    char size = '\0', c;
    size_t most;

    at = take_precision(at, arguments, &most);
    for (; *at != '\0' && strchr("lzjh", *at) != NULL; at++)
        size = (char)(size == 'l' ? 'L' : *at);
    value->is_number = false;
    switch (*at) {
    case 's':
        add_text(value, va_arg(arguments->list, const char *), most);
        break;
    case 'd':
        add_signed(value, take_signed(arguments, size));
        break;
    case 'u':
        add_unsigned(value, take_unsigned(arguments, size));
        break;
    case 'x':
        add_hexadecimal(value, take_unsigned(arguments, size));
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

/* ---- pairs --------------------------------------------------------------------------- */

/* To the blank, or to the closing quote; NULL after a conversion that is none. */
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

/* What stands before '='.  Without one the value is of "note", if there is any. */
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
