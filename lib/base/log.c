/* log.c - see log.h. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cork.h"

static const char *const LEVELS[] = {"debug", "info", "warn", "error"};

/* Written once by log_start, before any thread; then only read. */
static const char *the_program = "unnamed";
static enum log_level the_lowest = LOG_INFO;

void log_start(const char *program, enum log_level lowest)
{
    the_program = program;
    the_lowest = lowest;
}

const char *log_program(void)
{
    return the_program;
}

static size_t clamp(int written, size_t room)
{
    return written < 0 ? 0 : (size_t)written < room ? (size_t)written : room - 1;
}

/* The second is written out once, for all lines of it. */
static const char *second_text(time_t second)
{
    static _Thread_local struct {
        time_t second;
        char text[sizeof "ts=9999-12-31T23:59:59"];
    } latest;
    struct tm utc;

    if (latest.second != second) {
        gmtime_r(&second, &utc);
        strftime(latest.text, sizeof latest.text, "ts=%Y-%m-%dT%H:%M:%S", &utc);
        latest.second = second;
    }
    return latest.text;
}

/* Appends as much of it as fits. */
static size_t put(char *line, size_t used, size_t room, const char *text)
{
    size_t size = strlen(text);

    size = size < room - used ? size : room - used;
    memcpy(line + used, text, size);
    return used + size;
}

/* By hand, as each line has one. */
static size_t print_head(char *line, size_t room, enum log_level level, const char *event)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    const long ms = now.tv_nsec / 1000000;
    const char thousandths[] = {'.', (char)('0' + ms / 100), (char)('0' + ms / 10 % 10),
                                (char)('0' + ms % 10), '\0'};
    size_t used = put(line, 0, room, second_text(now.tv_sec));
    used = put(line, used, room, thousandths);
    used = put(line, used, room, "Z level=");
    used = put(line, used, room, LEVELS[level]);
    used = put(line, used, room, " program=");
    used = put(line, used, room, the_program);
    used = put(line, used, room, " event=");
    used = put(line, used, room, event);
    return put(line, used, room, " ");
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

/* Sends a line of `used` bytes on its way; one more fits behind them. */
static void finish(enum log_level level, char *line, size_t used)
{
    while (used > 0 && line[used - 1] == ' ')
        used--;
    /* Without a branch a byte, so that compilers make vectors of it. */
    for (size_t i = 0; i < used; i++)
        line[i] = (unsigned char)line[i] < ' ' || line[i] == 0x7f ? '?' : line[i];
    line[used++] = '\n';
    if (level <= LOG_INFO && cork_hold(write_kept, NULL) != CORK_NONE) {
        keep(line, used);
        return;
    }
    write_kept(NULL); /* what came before stays before */
    write_out(line, used);
}

void log_line(enum log_level level, const char *event, const char *format, ...)
{
    char line[LOG_LINE_MAX];
    const size_t room = sizeof line - 1;
    va_list args;

    if (level < the_lowest)
        return;
    size_t used = print_head(line, room, level, event);
    va_start(args, format);
    used += clamp(vsnprintf(line + used, room - used, format, args), room - used);
    va_end(args);
    finish(level, line, used);
}

void log_text(enum log_level level, const char *event, const char *text)
{
    char line[LOG_LINE_MAX];
    const size_t room = sizeof line - 1;

    if (level < the_lowest)
        return;
    finish(level, line, put(line, print_head(line, room, level, event), room, text));
}
