/*
 * every_byte_test.c - real requests (requests.h), cut off behind every byte and with every
 * byte changed: what comes back is whole answers, one for each request.
 *
 * The client says nothing more behind what it sends, and reads up to the end.  There are
 * never two heads for one request, a body without a head, half an answer, or none; and
 * every error is problem+json that says the status of its own head.
 */
#include <errno.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <netinet/in.h>

#include "base/log.h"
#include "gateway/api/body.h"
#include "unit/gateway/framing.h"
#include "unit/gateway/requests.h"
#include "unit/gateway/world.h"

enum {
    IN_FLIGHT = 24,
    INPUT_MAX = 4096,
    ANSWERS_MAX = 16384,
    SOURCES = 16, /* addresses that connections come from, so that ports last */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
    EVERY = 8, /* of the changes, one in so many */
#else
    EVERY = 1,
#endif
};

struct probe {
    const char *sender;
    char bytes[INPUT_MAX];
    size_t size;
    int fd;
};

struct batch {
    struct world *w;
    const char *sender; /* of what is sent now */
    struct probe probes[IN_FLIGHT];
    size_t count;
    size_t sent, answers; /* in all */
};

/* ---- what may come back ---- */

static void show(const struct probe *p, const char *answers, const char *what)
{
    fprintf(stderr, "%s, to a request of %s:\n", what, p->sender);
    for (size_t i = 0; i < p->size; i++) {
        unsigned char c = (unsigned char)p->bytes[i];
        fprintf(stderr, c == '\n' || (c >= ' ' && c < 0x7f) ? "%c" : "\\x%02x", c);
    }
    fprintf(stderr, "\nwas answered with:\n%s\n", answers);
    fail();
}

/* An empty line is no request, nor is its beginning. */
static bool nothing(const char *bytes, size_t size)
{
    return size <= 2 && memcmp(bytes, "\r\n", size) == 0;
}

/* How many requests the bytes may be taken for, at most: whole ones by the letter, and
 * one more that is none. */
static size_t most_answers(const struct probe *p)
{
    const char *at = p->bytes, *end = at + p->size;
    struct framing f = {.end = at};
    size_t count = 0;

    while (at < end && framing_read(at, (size_t)(end - at), &f) && f.end != NULL) {
        count++;
        at = f.end;
    }
    return count + !nothing(at, (size_t)(end - at));
}

/* The head that begins at `at`, as wire.h reads one. */
static const char *field(const char *head, const char *name, char out[512])
{
    static struct wire_answer answer;
    const char *end = strstr(head, "\r\n\r\n");
    size_t size = (size_t)(end + 4 - head);

    assert_true(size < sizeof answer.text);
    memcpy(answer.text, head, size);
    answer.text[size] = '\0';
    answer.body = answer.text + size;
    return wire_header(&answer, name, out);
}

static bool problem_good(const char *head, int status, const char *body, size_t size)
{
    char type[512];
    json_t *json = NULL;

    if (strcmp(field(head, "Content-Type", type), "application/problem+json") != 0)
        return false;
    if (body == NULL)
        return true;
    bool good = !failed(body_parse(body, size, &json)) &&
                json_integer_value(json_object_get(json, "status")) == status;
    json_decref(json);
    return good;
}

/* One answer at `at`; returns behind it, or NULL when it is not a whole and good one. */
static const char *read_answer(const char *at, const char *end, bool to_head, int *status,
                               bool *closes)
{
    const char *head_end = strstr(at, "\r\n\r\n");
    char value[512];

    if (head_end == NULL || sscanf(at, "HTTP/1.1 %3d ", status) != 1)
        return NULL;
    const char *body = head_end + 4;
    *closes = strcmp(field(at, "Connection", value), "close") == 0;
    field(at, "Content-Length", value);
    if (*status == 100 || *status == 204 || *status == 304)
        return value[0] == '\0' ? body : NULL;
    if (value[0] == '\0' || value[strspn(value, "0123456789")] != '\0')
        return NULL;
    size_t size = to_head ? 0 : (size_t)atol(value);
    if (size > (size_t)(end - body))
        return NULL;
    if (*status >= 400 && !problem_good(at, *status, to_head ? NULL : body, size))
        return NULL;
    return body + size;
}

/* Counts the final answers to the input. */
static size_t judge(const struct probe *p, const char *answers, size_t size)
{
    const char *at = answers, *end = answers + size, *request = p->bytes;
    struct framing f;
    size_t count = 0;
    bool closes = false;

    while (at < end && !closes) {
        size_t left = (size_t)(p->bytes + p->size - request);
        const char *line =
            left > 2 && memcmp(request, "\r\n", 2) == 0 ? request + 2 : request;
        bool to_head = left >= 5 && strncmp(line, "HEAD ", 5) == 0;
        int status = 0;
        at = read_answer(at, end, to_head, &status, &closes);
        if (at == NULL)
            show(p, answers, "not a whole answer");
        if (status == 100)
            continue;
        count++;
        if (framing_read(request, left, &f) && f.end != NULL)
            request = f.end;
    }
    if (at < end)
        show(p, answers, "more came behind the last answer");
    if (count > most_answers(p))
        show(p, answers, "more answers than requests");
    if (count == 0 && !nothing(p->bytes, p->size))
        show(p, answers, "no answer");
    return count;
}

/* ---- sending ---- */

static int connect_from(uint16_t port, size_t number)
{
    const int on = 1;
    struct timeval patience = {.tv_sec = WIRE_PATIENCE_S};
    struct sockaddr_in from = {.sin_family = AF_INET}, to = from;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + (in_addr_t)(number % SOURCES));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(port);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    assert_int_equal(bind(fd, (struct sockaddr *)(void *)&from, sizeof from), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)(void *)&to, sizeof to), 0);
    return fd;
}

static void collect(struct batch *b)
{
    static char answers[ANSWERS_MAX];

    for (size_t i = 0; i < b->count; i++) {
        struct probe *p = &b->probes[i];
        size_t size = 0;
        ssize_t got;
        while ((got = recv(p->fd, answers + size, sizeof answers - 1 - size, 0)) > 0)
            size += (size_t)got;
        answers[size] = '\0';
        if (got < 0 || size == sizeof answers - 1)
            show(p, answers, got < 0 ? strerror(errno) : "too much");
        close(p->fd);
        b->answers += judge(p, answers, size);
    }
    b->sent += b->count;
    b->count = 0;
}

/* The bytes, with the one at `at` in place of what was there; and not a byte more. */
static void probe(struct batch *b, const char *bytes, size_t size, size_t at, char byte)
{
    struct probe *p = &b->probes[b->count++];

    assert_true(size < sizeof p->bytes);
    memcpy(p->bytes, bytes, size);
    p->bytes[size] = '\0';
    p->size = size;
    p->sender = b->sender;
    if (at < size)
        p->bytes[at] = byte;
    p->fd = connect_from(http_port(b->w->http), b->sent + b->count);
    wire_send(p->fd, p->bytes, p->size);
    shutdown(p->fd, SHUT_WR);
    if (b->count == IN_FLIGHT)
        collect(b);
}

/* A request with its token; where that stands. */
struct request_bytes {
    char bytes[INPUT_MAX];
    size_t size, token, token_end;
};

static void make(const struct world *w, const char *text, struct request_bytes *r)
{
    const char *mark = strchr(text, '@');
    int before = mark == NULL ? (int)strlen(text) : (int)(mark - text);
    int size = snprintf(r->bytes, sizeof r->bytes, "%.*s%s%s", before, text,
                        mark == NULL ? "" : w->token, mark == NULL ? "" : mark + 1);

    assert_true(size > 0 && (size_t)size < sizeof r->bytes);
    r->size = (size_t)size;
    r->token = (size_t)before;
    r->token_end = r->size - (mark == NULL ? 0 : strlen(mark + 1));
}

/* The bytes within a token are alike: its first and last stand for them. */
static bool within_token(const struct request_bytes *r, size_t at)
{
    return at > r->token && at + 1 < r->token_end;
}

/* ---- the tests ---- */

static void a_request_cut_off_anywhere_gets_one_whole_answer(void **state)
{
    static struct batch b;
    static struct request_bytes r;

    b = (struct batch){.w = *state};
    for (size_t i = 0; i < sizeof REQUESTS / sizeof REQUESTS[0]; i++) {
        b.sender = REQUESTS[i].sender;
        make(b.w, REQUESTS[i].bytes, &r);
        for (size_t cut = 0; cut <= r.size; cut++)
            if (!within_token(&r, cut))
                probe(&b, r.bytes, cut, cut, '\0');
    }
    collect(&b);
    assert_true(b.sent > 8000 && b.answers + 3 * 64 > b.sent);
}

static void a_request_with_a_changed_byte_gets_whole_answers(void **state)
{
    static const char PUT[] = {'\0', '\r', '\n', ' ', '\x80', '\xff'};
    static const char FLIP[] = {0x01, 0x20};
    enum { CHANGES = sizeof PUT + sizeof FLIP };
    static struct batch b;
    static struct request_bytes r;
    size_t number = 0;

    b = (struct batch){.w = *state};
    for (size_t i = 0; i < sizeof REQUESTS / sizeof REQUESTS[0]; i++) {
        b.sender = REQUESTS[i].sender;
        make(b.w, REQUESTS[i].bytes, &r);
        for (size_t at = 0; at < r.size; at++)
            for (size_t c = 0; c < CHANGES && !within_token(&r, at); c++)
                if (number++ % EVERY == 0)
                    probe(&b, r.bytes, r.size, at,
                          c < sizeof PUT ? PUT[c]
                                         : (char)(r.bytes[at] ^ FLIP[c - sizeof PUT]));
    }
    collect(&b);
    assert_true(b.sent > 60000 / EVERY && b.answers >= b.sent);
}

static int set_up(void **state)
{
    return set_up_with(state, 60000, 60000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_cut_off_anywhere_gets_one_whole_answer),
        cmocka_unit_test(a_request_with_a_changed_byte_gets_whole_answers),
    };

    log_start("test", LOG_ERROR);
    assert_true(sodium_init() >= 0);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
