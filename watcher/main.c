/*
 * main.c - the watcher: sleeps until a process of ./up needs attention.
 *
 *     watcher [--for MS] [--logs DIR BYTES] NAME:PID:ADDRESS ...
 *     watcher --version
 *
 * The exit status is the result:
 *
 *     0          a process has ended, DIR/NAME.log or DIR/up.log has BYTES or more, or MS
 *                milliseconds are over: ./up checks which
 *     16 + bits  processes hang: bit i is the i-th on the command line, at most six
 *     2          failure or wrong usage; the reason is on standard error
 *
 * A process hangs when it is stopped (SIGSTOP) for eight seconds, or does not answer a
 * greeting (greet.h) for four.  A process with an address is greeted every five seconds
 * if it has worked since the last greeting, else every minute.  This tests liveness, not
 * readiness: a process that is overloaded or has lost its database still answers.  A slow
 * process, which uses the processor or waits for it or for a disk, has thirty seconds.
 *
 * The watcher wakes once a second and checks everything then; only the end of a process
 * wakes it at once.  After it was itself delayed, as by a suspended machine, all
 * suspicions restart.  It needs no rights except to reach the addresses.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "watcher/process.h"

enum {
    LOOK_EVERY_MS = 1000,
    LATE_MS = 2000, /* between two checks: the watcher itself was delayed */
    PROCESSES_MAX = 6,
    STATUS_AGAIN = 0,
    STATUS_BROKEN = 2,
    STATUS_HANGS = 16,
};

struct watcher {
    struct process processes[PROCESSES_MAX];
    size_t count;
    int64_t until_ms; /* 0: no limit */
    const char *logs; /* NULL: not checked */
    int64_t log_bytes;
};

static int64_t number(const char *text)
{
    char *end;
    long long value = strtoll(text, &end, 10);

    return *text == '\0' || *end != '\0' || value < 0 ? -1 : value;
}

/* Parses the options; returns the index of the first argument behind them, or -1. */
static int take_options(struct watcher *w, int argc, char **argv)
{
    int i = 1;

    if (i + 1 < argc && strcmp(argv[i], "--for") == 0) {
        int64_t ms = number(argv[i + 1]);
        if (ms < 0)
            return -1;
        w->until_ms = process_now_ms() + ms;
        i += 2;
    }
    if (i + 2 < argc && strcmp(argv[i], "--logs") == 0) {
        w->logs = argv[i + 1];
        w->log_bytes = number(argv[i + 2]);
        if (w->log_bytes <= 0)
            return -1;
        i += 3;
    }
    return i < argc && argv[i][0] == '-' ? -1 : i;
}

static bool log_grown(const struct watcher *w, const char *name, int length)
{
    char path[4096];
    struct stat log;

    snprintf(path, sizeof path, "%s/%.*s.log", w->logs, length, name);
    return stat(path, &log) == 0 && log.st_size >= w->log_bytes;
}

static bool any_log_grown(const struct watcher *w)
{
    if (w->logs == NULL)
        return false;
    for (size_t i = 0; i < w->count; i++)
        if (log_grown(w, w->processes[i].name, w->processes[i].name_length))
            return true;
    return log_grown(w, "up", 2);
}

/* Sleeps until then; true when a process ends before. */
static bool sleep_until(const struct watcher *w, int64_t at_ms)
{
    struct pollfd ends[PROCESSES_MAX];

    for (size_t i = 0; i < w->count; i++)
        ends[i] = (struct pollfd){.fd = w->processes[i].pidfd, .events = POLLIN};
    for (;;) {
        int64_t left = at_ms - process_now_ms();
        if (poll(ends, w->count, left < 0 ? 0 : (int)left) > 0)
            return true;
        if (left <= 0)
            return false;
    }
}

/* A bit for each process that hangs. */
static int look(struct watcher *w, int64_t now_ms, bool ending)
{
    int hang = 0;

    for (size_t i = 0; i < w->count; i++)
        if (process_hangs(&w->processes[i], now_ms, ending))
            hang |= 1 << i;
    return hang;
}

/* Not while a process is suspected: the next watcher would restart the suspicion. */
static bool may_end(const struct watcher *w)
{
    for (size_t i = 0; i < w->count; i++)
        if (process_in_doubt(&w->processes[i]))
            return false;
    return true;
}

static int watch(struct watcher *w)
{
    int64_t last_ms = process_now_ms();

    for (;;) {
        int64_t now_ms = process_now_ms(), next_ms = now_ms + LOOK_EVERY_MS;
        for (size_t i = 0; now_ms - last_ms > LATE_MS && i < w->count; i++)
            process_trust(&w->processes[i]);
        last_ms = now_ms;
        bool ending = w->until_ms != 0 && now_ms >= w->until_ms;
        int hang = look(w, now_ms, ending);
        if (hang != 0)
            return STATUS_HANGS + hang;
        if (any_log_grown(w))
            return STATUS_AGAIN;
        if (ending && may_end(w))
            return STATUS_AGAIN;
        if (w->until_ms > now_ms && w->until_ms < next_ms)
            next_ms = w->until_ms;
        if (sleep_until(w, next_ms))
            return STATUS_AGAIN;
    }
}

int main(int argc, char **argv)
{
    struct watcher watcher = {.count = 0};
    int i = take_options(&watcher, argc, argv);

    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("watcher %s\n", CHECKOUT_VERSION);
        return 0;
    }
    prctl(PR_SET_TIMERSLACK, 10000000UL); /* lets the kernel coalesce wake-ups */
    if (i < 0 || argc - i > PROCESSES_MAX) {
        fprintf(stderr,
                "usage: watcher [--for MS] [--logs DIR BYTES] NAME:PID:ADDRESS ..."
                " (six at most)\n");
        return STATUS_BROKEN;
    }
    for (; i < argc; i++) {
        struct process *process = &watcher.processes[watcher.count++];
        if (!process_open(process, argv[i]))
            return process->ended ? STATUS_AGAIN : STATUS_BROKEN;
    }
    int status = watch(&watcher);
    for (size_t k = 0; k < watcher.count; k++)
        process_leave(&watcher.processes[k]);
    return status;
}
