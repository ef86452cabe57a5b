/* listen.c - see listen.h. */
#include "http/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
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
    /* Accepted sockets inherit it: an answer does not wait for the client's ACK of the one
     * before. */
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
