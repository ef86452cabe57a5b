/*
 * fail_nth.c - a library to preload: the nth allocation from now on fails, once.
 *
 * Works in processes for which there is a file $FAIL_NTH_DIR/PROGRAM; whoever wants an
 * allocation to fail maps that file too, and writes `left`.  Counted are malloc, calloc and
 * realloc, of the program and of its libraries.  The one that fails returns NULL, and tells
 * whose it was.
 *
 * Two places are left out, where nng 1.5.2 ends what it could not begin for want of memory,
 * and crashes: the thread "watch", which opens a socket twice a second (nni_sock_create
 * calls sock_destroy), and objects nng makes on a thread of its own, such as those of a
 * connection to a PUB socket (pub0_pipe_init, then pipe_destroy).
 */
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

struct shared {
    atomic_int_fast64_t left; /* allocations until the one that fails, itself included */
    char whose[120];          /* the file whose code asked for it, and where in it */
};

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);

static _Atomic(struct shared *) the_shared;

__attribute__((constructor)) static void open_shared(void)
{
    const char *folder = getenv("FAIL_NTH_DIR");
    char path[512];
    void *frame;

    if (folder == NULL)
        return;
    (void)backtrace(&frame, 1); /* loads what it needs, which takes memory */
    snprintf(path, sizeof path, "%s/%s", folder, program_invocation_short_name);
    int file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0)
        return;
    void *map =
        mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (map != MAP_FAILED)
        atomic_store(&the_shared, (struct shared *)map);
}

static void note(struct shared *shared, const char *caller)
{
    Dl_info info;

    if (dladdr(caller, &info) == 0)
        return;
    const char *slash = strrchr(info.dli_fname, '/');
    snprintf(shared->whose, sizeof shared->whose, "%s+0x%tx",
             slash == NULL ? info.dli_fname : slash + 1, caller - (char *)info.dli_fbase);
}

static bool on_watch(void)
{
    char name[16] = "";

    prctl(PR_GET_NAME, name, 0, 0, 0);
    return strcmp(name, "watch") == 0;
}

static bool is_of(const void *code, const char *file)
{
    Dl_info info;

    return dladdr(code, &info) != 0 && strstr(info.dli_fname, file) != NULL;
}

/* Whether nng makes an object, and nothing of the program is on the stack. */
static bool of_nng_alone(const void *caller)
{
    void *frames[64];

    if (!is_of(caller, "/libnng."))
        return false;
    for (int i = backtrace(frames, 64) - 1; i >= 0; i--)
        if (is_of(frames[i], program_invocation_name))
            return false;
    return true;
}

static bool fails(const void *caller, bool zeroed)
{
    struct shared *shared = atomic_load(&the_shared);

    if (shared == NULL || atomic_load(&shared->left) <= 0 || on_watch() ||
        atomic_fetch_sub(&shared->left, 1) != 1)
        return false;
    if (zeroed && of_nng_alone(caller)) {
        atomic_store(&shared->left, 1); /* the next one */
        return false;
    }
    note(shared, caller);
    errno = ENOMEM;
    return true;
}

void *malloc(size_t size)
{
    return fails(__builtin_return_address(0), false) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return fails(__builtin_return_address(0), true) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    return fails(__builtin_return_address(0), false) ? NULL : __libc_realloc(old, size);
}
