/* receive.c - see receive.h. */
#include "gateway/receive.h"

#include <assert.h>
#include <dlfcn.h>
#include <gnutls/gnutls.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>

enum { REPLACEMENT = 0x01 };

static _Thread_local enum { RECEIVE_OTHER, RECEIVE_PLAIN, RECEIVE_TLS } receives;

void receive_http(bool tls)
{
    receives = tls ? RECEIVE_TLS : RECEIVE_PLAIN;
}

static void replace_nuls(void *bytes, ssize_t size)
{
    char *at = bytes, *end = at + (size > 0 ? size : 0);

    while ((at = memchr(at, '\0', (size_t)(end - at))) != NULL)
        *at++ = REPLACEMENT;
}

/* The function of that name that ours stands before. */
static void *next_of(const char *name)
{
    void *symbol = dlsym(RTLD_NEXT, name);

    assert(symbol != NULL);
    return symbol;
}

typedef ssize_t receive_plain(int fd, void *bytes, size_t room, int flags);

/* Under TLS these are GnuTLS's own bytes. */
ssize_t recv(int fd, void *bytes, size_t room, int flags)
{
    static receive_plain *_Atomic known;
    receive_plain *next = known;

    if (next == NULL) {
        void *symbol = next_of("recv");
        memcpy(&next, &symbol, sizeof next); /* ISO C has no cast between the two */
        known = next;
    }
    ssize_t size = next(fd, bytes, room, flags);
    if (receives == RECEIVE_PLAIN)
        replace_nuls(bytes, size);
    return size;
}

typedef ssize_t receive_tls(gnutls_session_t session, void *bytes, size_t room);

ssize_t gnutls_record_recv(gnutls_session_t session, void *bytes, size_t room)
{
    static receive_tls *_Atomic known;
    receive_tls *next = known;

    if (next == NULL) {
        void *symbol = next_of("gnutls_record_recv");
        memcpy(&next, &symbol, sizeof next);
        known = next;
    }
    ssize_t size = next(session, bytes, room);
    if (receives == RECEIVE_TLS)
        replace_nuls(bytes, size);
    return size;
}
