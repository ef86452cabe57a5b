/* greet.c - see greet.h. */
#include "watcher/greet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

union address {
    struct sockaddr any;
    struct sockaddr_un un;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
};

static const char SP[] = {0, 'S', 'P', 0, 0, 0x30, 0, 0};
static const char SSL_REQUEST[] = {0, 0, 0, 8, 0x04, (char)0xd2, 0x16, 0x2f};

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static socklen_t unix_address(const char *folder, const char *file, union address *out)
{
    out->un = (struct sockaddr_un){.sun_family = AF_UNIX};
    int size = snprintf(out->un.sun_path, sizeof out->un.sun_path, "%s%s", folder, file);

    return size < (int)sizeof out->un.sun_path ? sizeof out->un : 0;
}

/* HOST:PORT with a numeric host, [v6] in brackets; one that means any is the loopback. */
static socklen_t tcp_address(const char *text, union address *out)
{
    char host[64];
    const char *colon = strrchr(text, ':');
    size_t length = colon == NULL ? 0 : (size_t)(colon - text);
    bool bracketed = length > 2 && text[0] == '[' && text[length - 1] == ']';

    if (length == 0 || length >= sizeof host)
        return 0;
    snprintf(host, sizeof host, "%.*s", (int)(bracketed ? length - 2 : length),
             bracketed ? text + 1 : text);
    in_port_t port = htons((uint16_t)atoi(colon + 1));
    out->in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = port};
    if (bracketed && inet_pton(AF_INET6, host, &out->in6.sin6_addr) == 1) {
        if (memcmp(&out->in6.sin6_addr, &in6addr_any, sizeof in6addr_any) == 0)
            out->in6.sin6_addr = in6addr_loopback;
        return sizeof out->in6;
    }
    out->in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = port};
    if (strcmp(host, "*") == 0 || strcmp(host, "0.0.0.0") == 0)
        strcpy(host, "127.0.0.1");
    return inet_pton(AF_INET, host, &out->in.sin_addr) == 1 ? sizeof out->in : 0;
}

/* 0: it is none of them. */
static socklen_t parse(const char *address, union address *out)
{
    if (begins(address, "ipc://"))
        return unix_address(address + strlen("ipc://"), "", out);
    if (begins(address, "postgresql://"))
        return unix_address(address + strlen("postgresql://"), "/.s.PGSQL.5432", out);
    if (begins(address, "tcp://"))
        return tcp_address(address + strlen("tcp://"), out);
    return 0;
}

bool greet_understands(const char *address)
{
    union address to;

    return parse(address, &to) != 0;
}

static enum greeted end(int *fd, enum greeted how)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    return how;
}

/* A queue of newcomers that is full is one that nobody takes from: no answer yet. */
enum greeted greet_begin(const char *address, int *fd)
{
    bool postgres = begins(address, "postgresql://");
    union address to;
    socklen_t size = parse(address, &to);

    *fd = socket(to.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*fd < 0)
        return GREET_NOBODY;
    if (connect(*fd, &to.any, size) != 0 && errno != EINPROGRESS)
        return end(fd, errno == EAGAIN ? GREET_WAITING : GREET_NOBODY);
    const char *words = postgres ? SSL_REQUEST : SP;
    if (send(*fd, words, postgres ? sizeof SSL_REQUEST : sizeof SP, MSG_NOSIGNAL) < 0 &&
        errno != EAGAIN && errno != ENOTCONN)
        return end(fd, GREET_NOBODY);
    return GREET_WAITING;
}

enum greeted greet_read(int *fd)
{
    char answer[8];

    if (*fd < 0)
        return GREET_WAITING; /* it could not even knock */
    ssize_t got = recv(*fd, answer, sizeof answer, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return GREET_WAITING;
    return end(fd, got > 0 ? GREET_ANSWERED : GREET_NOBODY);
}
