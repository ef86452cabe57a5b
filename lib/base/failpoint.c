/* failpoint.c - see failpoint.h. */
#include "base/failpoint.h"

#ifdef CHECKOUT_FAILPOINTS

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

enum { PATH_SIZE = 512 };

static void path_of(char *path, const char *folder, const char *name)
{
    snprintf(path, PATH_SIZE, "%s/%s/%s", getenv("CHECKOUT_FAILPOINTS_DIR"), folder,
             name);
}

static void mark_seen(const char *name)
{
    char path[PATH_SIZE];

    path_of(path, "seen", name);
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file >= 0)
        close(file);
}

/* Claims the armed file: if several processes pass at once, one fails. */
static int claim(const char *name, char *text, size_t room)
{
    char armed[PATH_SIZE], fired[PATH_SIZE];

    path_of(armed, "armed", name);
    path_of(fired, "fired", name);
    if (access(armed, F_OK) != 0 || rename(armed, fired) != 0)
        return 0;
    int file = open(fired, O_RDONLY | O_CLOEXEC);
    ssize_t size = file < 0 ? -1 : read(file, text, room - 1);
    if (file >= 0)
        close(file);
    text[size > 0 ? size : 0] = '\0';
    return size > 0;
}

struct fault failpoint(const char *seam, const char *what, const char *edge)
{
    static const char *const KINDS[] = {
        [FAULT_ERROR] = "error",
        [FAULT_DROP] = "drop",
        [FAULT_REPEAT] = "repeat",
        [FAULT_LATE] = "late",
    };
    char name[256], text[64], word[16] = "";
    const char *slash = strrchr(what, '/');
    struct fault fault = {FAULT_NONE, 0};
    long long ms = 0;

    if (getenv("CHECKOUT_FAILPOINTS_DIR") == NULL)
        return fault;
    snprintf(name, sizeof name, "%s.%s.%s.%s", log_program(), seam,
             slash != NULL ? slash + 1 : what, edge);
    mark_seen(name);
    if (!claim(name, text, sizeof text))
        return fault;
    sscanf(text, "%15s %lld", word, &ms);
    log_warn("failpoint", "name=%s fault=%s", name, word);
    if (strcmp(word, "crash") == 0)
        kill(getpid(), SIGKILL);
    if (strcmp(word, "hang") == 0)
        raise(SIGSTOP); /* raise, not kill: kill may let this thread run on for a while */
    for (int k = FAULT_ERROR; k <= FAULT_LATE; k++)
        if (strcmp(word, KINDS[k]) == 0)
            fault = (struct fault){(enum fault_kind)k, ms};
    return fault;
}

#else

typedef int failpoint_is_for_test_builds; /* a C file may not be empty */

#endif
