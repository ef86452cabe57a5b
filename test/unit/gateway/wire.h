/* wire.h - raw HTTP over a socket: what goes out is exactly what the test wrote. */
#pragma once

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { WIRE_MAX = 65536, WIRE_PATIENCE_S = 20 };

struct wire_answer {
    int status; /* 0: the connection ended without one */
    char text[WIRE_MAX];
    const char *body;
    bool ended; /* the server closed the connection */
};

__attribute__((unused)) static int wire_connect(uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct timeval patience = {.tv_sec = WIRE_PATIENCE_S};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)(void *)&to, sizeof to), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return fd;
}

static void wire_send(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);
        if (sent <= 0)
            return; /* the server hung up: the answer tells */
        bytes += sent;
        size -= (size_t)sent;
    }
}

/* The value of a header of the answer, copied to `out`; "" when it is not there. */
static const char *wire_header(const struct wire_answer *answer, const char *name,
                               char out[512])
{
    size_t length = strlen(name);

    out[0] = '\0';
    for (const char *line = strstr(answer->text, "\r\n");
         line != NULL && line + 2 < answer->body; line = strstr(line + 2, "\r\n"))
        if (strncasecmp(line + 2, name, length) == 0 && line[2 + length] == ':') {
            const char *value = line + 3 + length;
            value += strspn(value, " ");
            snprintf(out, 512, "%.*s", (int)strcspn(value, "\r"), value);
        }
    return out;
}

/* Reads one answer: the head, then as much body as it tells of; a byte at a time as long as
 * its end is not known, so that the next answer stays where it is. */
__attribute__((unused)) static void wire_read(int fd, bool head_only,
                                              struct wire_answer *answer)
{
    char header[512];
    size_t size = 0, whole = WIRE_MAX - 1;

    memset(answer, 0, sizeof *answer);
    answer->body = answer->text;
    while (size < whole) {
        size_t most = whole == WIRE_MAX - 1 ? 1 : whole - size;
        ssize_t got = recv(fd, answer->text + size, most, 0);
        if (got <= 0) {
            answer->ended = got == 0;
            break;
        }
        size += (size_t)got;
        char *end = strstr(answer->text, "\r\n\r\n");
        if (end == NULL || whole != WIRE_MAX - 1)
            continue;
        answer->body = end + 4;
        size_t length = (size_t)atoi(wire_header(answer, "Content-Length", header));
        whole = (size_t)(answer->body - answer->text) + (head_only ? 0 : length);
    }
    answer->text[size] = '\0';
    sscanf(answer->text, "HTTP/1.1 %d", &answer->status);
}

/* Whether the server has ended the connection, or does so soon. */
__attribute__((unused)) static bool wire_ended(int fd)
{
    char byte;

    return recv(fd, &byte, 1, 0) <= 0;
}
