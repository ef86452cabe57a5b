/* process.c - see process.h. */
#include "watcher/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    GREET_EVERY_MS = 5000,
    REST_EVERY_MS = 60000,         /* for a process that used less than WORK_US since */
    WORK_US = 5000,                /* more than a greeting costs, ... */
    REST_US_PER_MS = 1,            /* ... and more than an idle process uses */
    ANSWER_WITHIN_MS = 4000 - 100, /* the timer may fire slightly early */
    STOPPED_FOR_MS = 8000 - 100,
    BUSY_WITHIN_MS = 30000, /* for a process that uses the processor */
    BUSY_PERCENT = 5,       /* counts as using it */
    LEAVE_WAIT_MS = 200,
};

int64_t process_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool process_open(struct process *process, const char *argument)
{
    const char *pid = strchr(argument, ':');
    const char *address = pid == NULL ? NULL : strchr(pid + 1, ':');

    if (address == NULL || atoi(pid + 1) <= 0) {
        fprintf(stderr, "watcher: \"%s\" is not NAME:PID:ADDRESS\n", argument);
        return false;
    }
    *process = (struct process){.name = argument,
                                .name_length = (int)(pid - argument),
                                .pid = atoi(pid + 1),
                                .greeter = greet_make(address + 1)};
    process->pidfd = (int)syscall(SYS_pidfd_open, process->pid, 0);
    process->ended = process->pidfd < 0 && errno == ESRCH;
    if (process->ended)
        return false;
    if (process->pidfd < 0)
        fprintf(stderr, "watcher: %s: %s\n", argument, strerror(errno));
    return process->pidfd >= 0;
}

/* Processor time of all its threads. */
static int64_t used_us(const struct process *process)
{
    struct timespec used;
    clockid_t clock;

    if (clock_getcpuclockid(process->pid, &clock) != 0 ||
        clock_gettime(clock, &used) != 0)
        return process->greeted_us;
    return (int64_t)used.tv_sec * 1000000 + used.tv_nsec / 1000;
}

/* The state letter in a thread's or process's stat; ' ' when it is gone. */
static char state_of(const char *path)
{
    char text[512];

    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[size > 0 ? size : 0] = '\0';
    const char *name_end = strrchr(text, ')'); /* the name may hold ')' */
    return name_end != NULL && name_end[1] == ' ' ? name_end[2] : ' ';
}

/* By SIGSTOP or the like. */
static bool is_stopped(pid_t pid)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    return state_of(path) == 'T';
}

/* Whether a thread runs, or waits for a processor or a disk. */
static bool any_thread_works(pid_t pid)
{
    char path[64], stat[400];
    const struct dirent *entry;
    bool works = false;

    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    while (tasks != NULL && !works && (entry = readdir(tasks)) != NULL) {
        snprintf(stat, sizeof stat, "%s/%s/stat", path, entry->d_name);
        char state = entry->d_name[0] == '.' ? ' ' : state_of(stat);
        works = state == 'R' || state == 'D';
    }
    if (tasks != NULL)
        closedir(tasks);
    return works;
}

void process_trust(struct process *process)
{
    greet_end(&process->greeter);
    process->greeted = false;
    process->since_ms = 0;
}

static void doubt(struct process *process, int64_t now_ms, int64_t now_us)
{
    if (process->since_ms != 0)
        return;
    process->since_ms = now_ms;
    process->doubted_us = now_us;
}

static bool is_time(const struct process *process, int64_t now_ms, int64_t now_us)
{
    int64_t rested_ms = now_ms - process->greeted_ms;

    return process->greeted_ms == 0 || rested_ms >= REST_EVERY_MS ||
           (rested_ms >= GREET_EVERY_MS &&
            now_us - process->greeted_us >= WORK_US + rested_ms * REST_US_PER_MS);
}

/* A process that does not listen is starting or ending, which is not suspicious. */
static void greet(struct process *process, int64_t now_ms, int64_t now_us, bool ending)
{
    if (process->greeted)
        process->greeted = greet_read(&process->greeter) == GREET_WAITING;
    if (process->greeted || ending || !is_time(process, now_ms, now_us))
        return;
    process->greeted_ms = now_ms;
    process->greeted_us = now_us;
    process->greeted = greet_begin(&process->greeter) == GREET_WAITING;
}

bool process_hangs(struct process *process, int64_t now_ms, bool ending)
{
    int64_t now_us = used_us(process);
    bool stopped = is_stopped(process->pid);

    if (process->greeter.address != NULL)
        greet(process, now_ms, now_us, ending);
    if (stopped != process->stopped)
        process->since_ms = 0; /* another suspicion starts, if any */
    process->stopped = stopped;
    if (stopped || process->greeted)
        doubt(process, now_ms, now_us);
    else
        process->since_ms = 0;
    int64_t silent_ms = process->since_ms == 0 ? 0 : now_ms - process->since_ms;
    if (stopped || silent_ms < ANSWER_WITHIN_MS)
        return silent_ms >= STOPPED_FOR_MS;
    bool busy = (now_us - process->doubted_us) / 10 >= silent_ms * BUSY_PERCENT ||
                any_thread_works(process->pid);
    return !busy || silent_ms >= BUSY_WITHIN_MS;
}

bool process_in_doubt(const struct process *process)
{
    return process->since_ms != 0;
}

void process_leave(struct process *process)
{
    struct pollfd answer = {.fd = process->greeter.fd, .events = POLLIN};

    if (process->greeted && poll(&answer, 1, LEAVE_WAIT_MS) > 0)
        (void)greet_read(&process->greeter);
}
