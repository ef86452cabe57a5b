/* listen.c - see listen.h. */
#include "http/listen.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <linux/filter.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 1024 };

static struct err resolve(const char *address, uint16_t port, struct addrinfo **out)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE};
    char service[8];

    snprintf(service, sizeof service, "%u", port);
    int status = getaddrinfo(address, service, &hints, out);
    if (status == 0)
        return ERR_NONE;
    return err_make(ERR_INVALID_ARGUMENT,
                    "listen_address \"%s\" is not an IPv4 or IPv6 address: %s", address,
                    gai_strerror(status));
}

static int bind_and_listen(int fd, const struct addrinfo *info)
{
    const int on = 1;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    /* Accepted sockets inherit it: an answer does not wait for the client's ACK of the
     * one before. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (bind(fd, info->ai_addr, info->ai_addrlen) != 0)
        return -1;
    return listen(fd, BACKLOG);
}

static uint16_t port_of(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_storage room;
    } name = {0};
    socklen_t size = sizeof name;

    if (getsockname(fd, &name.any, &size) != 0)
        return 0;
    return ntohs(name.any.sa_family == AF_INET6 ? name.v6.sin6_port : name.v4.sin_port);
}

struct err listen_tcp(const char *address, uint16_t port, int *fd, uint16_t *bound)
{
    struct addrinfo *info;
    struct err e = resolve(address, port, &info);

    *fd = -1;
    if (failed(e))
        return e;
    int made = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (made < 0 || bind_and_listen(made, info) != 0) {
        e = err_make(ERR_UNAVAILABLE, "cannot listen on %s port %u: %s%s", address, port,
                     strerror(errno),
                     errno == EADDRINUSE
                         ? "; stop the program that has it or choose another port"
                         : "");
        if (made >= 0)
            close(made);
    } else {
        *fd = made;
        *bound = port_of(made);
    }
    freeaddrinfo(info);
    return e;
}

void listen_end(int fd)
{
    enum { FLAGS = 13, SYN = 0x02 }; /* a TCP header's byte of flags; RFC 9293, 3.1 */
    struct sock_filter rows[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, FLAGS),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, SYN, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };
    const struct sock_fprog program = {sizeof rows / sizeof rows[0], rows};

    (void)setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

/* ---- connections per address ---- */

struct address {
    struct address *next; /* in its bucket */
    uint8_t bytes[16];    /* an IPv4 address mapped into IPv6, or the first half of one */
    unsigned count;
};

struct addresses {
    uint8_t key[crypto_shorthash_KEYBYTES];
    size_t buckets; /* a power of two */
    struct address *table[];
};

struct addresses *addresses_new(unsigned connections)
{
    size_t buckets = 64;

    while (buckets < connections)
        buckets *= 2;
    struct addresses *a = calloc(1, sizeof *a + buckets * sizeof a->table[0]);
    if (a == NULL)
        return NULL;
    a->buckets = buckets;
    randombytes_buf(a->key, sizeof a->key);
    return a;
}

void addresses_free(struct addresses *a)
{
    for (size_t i = 0; a != NULL && i < a->buckets; i++)
        assert(a->table[i] == NULL);
    free(a);
}

static void bytes_of(const struct sockaddr_storage *from, uint8_t out[16])
{
    static const uint8_t MAPPED[12] = {[10] = 0xff, [11] = 0xff};
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)from;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)from;

    memset(out, 0, 16);
    if (from->ss_family == AF_INET6 && memcmp(&v6->sin6_addr, MAPPED, 12) != 0) {
        memcpy(out, &v6->sin6_addr, 8);
        return;
    }
    memcpy(out, MAPPED, 12);
    if (from->ss_family == AF_INET6)
        memcpy(out + 12, (const uint8_t *)&v6->sin6_addr + 12, 4);
    else
        memcpy(out + 12, &v4->sin_addr, 4);
}

static struct address **bucket_of(struct addresses *a, const uint8_t bytes[16])
{
    uint64_t hash;

    crypto_shorthash((unsigned char *)&hash, bytes, 16, a->key);
    return &a->table[hash & (a->buckets - 1)];
}

struct address *addresses_enter(struct addresses *a, const struct sockaddr_storage *from)
{
    uint8_t bytes[16];

    bytes_of(from, bytes);
    struct address **bucket = bucket_of(a, bytes), *at = *bucket;
    while (at != NULL && memcmp(at->bytes, bytes, sizeof bytes) != 0)
        at = at->next;
    if (at == NULL) {
        at = calloc(1, sizeof *at);
        if (at == NULL)
            return NULL;
        memcpy(at->bytes, bytes, sizeof bytes);
        at->next = *bucket;
        *bucket = at;
    }
    at->count++;
    return at;
}

unsigned address_count(const struct address *address)
{
    return address->count;
}

void addresses_leave(struct addresses *a, struct address *address)
{
    if (--address->count > 0)
        return;
    struct address **at = bucket_of(a, address->bytes);
    while (*at != address)
        at = &(*at)->next;
    *at = address->next;
    free(address);
}
