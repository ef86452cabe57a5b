/* receive.c - see receive.h. */
#include "gateway/receive.h"

#include <assert.h>
#include <dlfcn.h>
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

/* Under TLS these are GnuTLS's own bytes. */
ssize_t recv(int fd, void *bytes, size_t room, int flags)
{
    ssize_t size = recvfrom(fd, bytes, room, flags, NULL, NULL);

    if (receives == RECEIVE_PLAIN)
        replace_nuls(bytes, size);
    return size;
}

/* As GnuTLS declares it; its headers are not needed for anything else. */
struct gnutls_session_int;
ssize_t gnutls_record_recv(struct gnutls_session_int *session, void *bytes, size_t room);

ssize_t gnutls_record_recv(struct gnutls_session_int *session, void *bytes, size_t room)
{
    static ssize_t (*_Atomic real)(struct gnutls_session_int *, void *, size_t);
    ssize_t (*call)(struct gnutls_session_int *, void *, size_t) = real;

    if (call == NULL) {
        void *symbol = dlsym(RTLD_NEXT, "gnutls_record_recv");
        assert(symbol != NULL);
        memcpy(&call, &symbol, sizeof call); /* ISO C has no cast between the two */
        real = call;
    }
    ssize_t size = call(session, bytes, room);
    if (receives == RECEIVE_TLS)
        replace_nuls(bytes, size);
    return size;
}
