/* process.c - see process.h. */
#include "watcher/process.h"

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
    ANSWER_WITHIN_MS = 4000 - 100, /* a look may be a little early */
    BUSY_WITHIN_MS = 30000,        /* for one that uses the processor */
    BUSY_PERCENT = 5,              /* from so much on */
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
                                .greeting = -1};
    process->pidfd = (int)syscall(SYS_pidfd_open, process->pid, 0);
    process->ended = process->pidfd < 0 && errno == ESRCH;
    if (process->ended)
        return false;
    if (process->pidfd < 0) {
        fprintf(stderr, "watcher: %s: %s\n", argument, strerror(errno));
        return false;
    }
    if (greet_understands(address + 1))
        process->address = address + 1;
    return true;
}

/* Reads /proc/PID/stat: its state, and the processor time it has used. */
static bool read_stat(pid_t pid, char *state, int64_t *used_ms)
{
    char path[64], text[1024];
    unsigned long user, system;

    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    if (size <= 0)
        return false;
    text[size] = '\0';
    const char *fields = strrchr(text, ')'); /* a name may have blanks */
    if (fields == NULL ||
        sscanf(fields, ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", state, &user,
               &system) != 3)
        return false;
    *used_ms = (int64_t)(user + system) * 1000 / sysconf(_SC_CLK_TCK);
    return true;
}

void process_trust(struct process *process, int64_t now_ms)
{
    if (process->greeting >= 0)
        close(process->greeting);
    process->greeting = -1;
    process->greeted = false;
    process->since_ms = 0;
    process->next_ms = now_ms;
}

static void take(struct process *process, enum greeted how, int64_t now_ms)
{
    process->greeted = how == GREET_WAITING;
    if (process->greeted)
        return;
    process->since_ms = 0; /* who does not listen is starting, or ending: not hanging */
    process->next_ms = now_ms + GREET_EVERY_MS;
}

static void greet(struct process *process, int64_t now_ms, bool ending)
{
    if (process->greeted)
        take(process, greet_read(&process->greeting), now_ms);
    if (process->greeted || ending || now_ms < process->next_ms)
        return;
    char state;
    process->since_ms = now_ms;
    (void)read_stat(process->pid, &state, &process->used_ms);
    take(process, greet_begin(process->address, &process->greeting), now_ms);
}

/* For one that has no address. */
static void look_whether_stopped(struct process *process, int64_t now_ms)
{
    char state = 'S';
    int64_t used_ms;

    (void)read_stat(process->pid, &state, &used_ms);
    if (state != 'T')
        process->since_ms = 0;
    else if (process->since_ms == 0)
        process->since_ms = now_ms;
}

static bool is_busy(const struct process *process, int64_t silent_ms)
{
    char state = 'S';
    int64_t used_ms = process->used_ms;

    return read_stat(process->pid, &state, &used_ms) && state != 'T' &&
           (used_ms - process->used_ms) * 100 >= silent_ms * BUSY_PERCENT;
}

bool process_hangs(struct process *process, int64_t now_ms, bool ending)
{
    if (process->address != NULL)
        greet(process, now_ms, ending);
    else
        look_whether_stopped(process, now_ms);
    int64_t silent_ms = process->since_ms == 0 ? 0 : now_ms - process->since_ms;
    if (silent_ms < ANSWER_WITHIN_MS)
        return false;
    return silent_ms >= BUSY_WITHIN_MS || process->address == NULL ||
           !is_busy(process, silent_ms);
}

bool process_in_doubt(const struct process *process)
{
    return process->since_ms != 0;
}

void process_leave(struct process *process)
{
    struct pollfd answer = {.fd = process->greeting, .events = POLLIN};

    if (process->greeting >= 0 && poll(&answer, 1, LEAVE_WAIT_MS) > 0)
        (void)greet_read(&process->greeting);
}
