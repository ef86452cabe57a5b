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

/* proto/README.md: section 1, the eight bytes that begin a connection; then a message
 * (its first byte, 1, only on ipc) of a request id (section 2) and an empty bundle
 * (section 3). */
static const char SP[] = {0, 'S', 'P', 0, 0, 0x30, 0, 0};
static const char EMPTY_BUNDLE[] = {1, 0, 0, 0, 0, 0, 0, 0, 5, (char)0x80, 0, 0, 1, 2};
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

/* HOST:PORT with a numeric host, [v6] in brackets; a wildcard becomes the loopback. */
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

/* 0: not supported. */
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

struct greeter greet_make(const char *address)
{
    union address to;

    return (struct greeter){.address = parse(address, &to) != 0 ? address : NULL,
                            .fd = -1};
}

void greet_end(struct greeter *greeter)
{
    if (greeter->fd >= 0)
        close(greeter->fd);
    greeter->fd = -1;
    greeter->known = false;
    greeter->awaited = 0;
}

/* Sends the greeting.  The answer of a service is as long. */
static bool send_greeting(struct greeter *greeter)
{
    char words[sizeof SP + sizeof EMPTY_BUNDLE];
    size_t size = 0;

    if (begins(greeter->address, "postgresql://")) {
        greeter->awaited = 1;
        return send(greeter->fd, SSL_REQUEST, sizeof SSL_REQUEST, MSG_NOSIGNAL) > 0;
    }
    if (!greeter->known) {
        memcpy(words, SP, sizeof SP);
        size = sizeof SP;
    }
    size_t skipped = begins(greeter->address, "ipc://") ? 0 : 1;
    memcpy(words + size, EMPTY_BUNDLE + skipped, sizeof EMPTY_BUNDLE - skipped);
    size += sizeof EMPTY_BUNDLE - skipped;
    greeter->awaited = size;
    greeter->known = true;
    return send(greeter->fd, words, size, MSG_NOSIGNAL) == (ssize_t)size;
}

/* A full accept queue (EAGAIN) counts as no answer yet. */
static enum greeted connect_to(struct greeter *greeter)
{
    union address to;
    socklen_t size = parse(greeter->address, &to);

    if (greeter->fd < 0)
        greeter->fd =
            socket(to.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (greeter->fd < 0)
        return GREET_NOBODY; /* short of resources: not a sign of a hang */
    if (connect(greeter->fd, &to.any, size) == 0 || errno == EISCONN)
        return GREET_ANSWERED;
    return errno == EAGAIN || errno == EINPROGRESS || errno == EALREADY ? GREET_WAITING
                                                                        : GREET_NOBODY;
}

static enum greeted receive(struct greeter *greeter)
{
    char answer[sizeof SP + sizeof EMPTY_BUNDLE];
    ssize_t got = recv(greeter->fd, answer, greeter->awaited, 0);

    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return GREET_WAITING;
    if (got <= 0)
        return GREET_NOBODY;
    greeter->awaited -= (size_t)got;
    return greeter->awaited > 0 ? GREET_WAITING : GREET_ANSWERED;
}

enum greeted greet_begin(struct greeter *greeter)
{
    greeter->awaited = 0;
    return greet_read(greeter);
}

enum greeted greet_read(struct greeter *greeter)
{
    enum greeted how = greeter->known ? GREET_ANSWERED : connect_to(greeter);

    if (how == GREET_ANSWERED && greeter->awaited == 0)
        how = send_greeting(greeter) ? GREET_WAITING : GREET_NOBODY;
    else if (how == GREET_ANSWERED)
        how = receive(greeter);
    if (how == GREET_NOBODY || (how == GREET_ANSWERED && !greeter->known))
        greet_end(greeter);
    return how;
}
