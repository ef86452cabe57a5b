/*
 * mutation_test.c - ten thousand broken requests, and after each the gateway still knows
 * where the next one begins.
 *
 * A good request is broken in up to three places and sent with a marker behind it, a
 * request whose answer only it can get.  The marker may be answered only if, by the
 * letter of RFC 9112 (framing.h), it is a request; and what lies in a body never is.
 * Whether or not the connection goes on, the gateway answers the next marker.  Runs under
 * ASan in ./check.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "unit/gateway/framing.h"
#include "unit/gateway/world.h"

#ifdef __SANITIZE_THREAD__
enum { ROUNDS = 1000 };
#else
enum { ROUNDS = 10000 };
#endif
enum { SEED = 20260131, BYTES_MAX = 16384, BATCH = 16 };

/* @ stands for the token's header line. */
static const char *const GOOD[] = {
    "POST /v1/orders HTTP/1.1\r\nHost: shop.test\r\n@Idempotency-Key: key-12345678\r\n"
    "Content-Length: 53\r\n\r\n"
    "{\"cart_id\":\"ok-1\",\"payment_method_id\":\"pm_card_visa\"}",
    "GET /v1/orders?limit=1 HTTP/1.1\r\nHost: shop.test\r\n@Accept: */*\r\n\r\n",
    "PUT /v1/carts/c1 HTTP/1.1\r\nHost: shop.test\r\n@Transfer-Encoding: chunked\r\n\r\n"
    "6\r\n{\"line\r\n6;x=y\r\ns\":[]}\r\n0\r\n\r\n",
    "GET /v1/products HTTP/1.1\r\nHost: shop.test\r\nAccept: */*\r\nX-Y: z\r\n\r\n",
    "OPTIONS /v1/orders HTTP/1.1\r\nHost: shop.test\r\nOrigin: https://a.test\r\n\r\n",
    "PUT /v1/carts/c2 HTTP/1.1\r\nHost: shop.test\r\n@Content-Type: text/plain\r\n"
    "Content-Length: 60\r\n\r\n"
    "GET /v1/carts/smuggled HTTP/1.1\r\nHost: shop.test\r\nX: y\r\n\r\nz",
};

static const char *const LINES[] = {
    "Content-Length: 0\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: +5\r\n",
    "Content-Length: 0x5\r\n",
    "Content-Length: 5, 5\r\n",
    "Content-Length : 5\r\n",
    "Content-Length:\t5\r\n",
    "Content-Length: 18446744073709551621\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding:\tchunked\r\n",
    "Transfer-Encoding : chunked\r\n",
    "Transfer-Encoding: xchunked\r\n",
    "Transfer-Encoding: identity\r\n",
    "Transfer-Encoding: chunked, identity\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    " Transfer-Encoding: chunked\r\n",
    "X: y\nTransfer-Encoding: chunked\r\n",
    "X: y\rTransfer-Encoding: chunked\r\n",
    "Host: other.test\r\n",
    " folded\r\n",
    "\r\n",
    "\n",
    "Connection: close\r\n",
    "Connection: keep-alive\r\n",
    "Expect: 100-continue\r\n",
    "0\r\n\r\n",
};

struct message {
    char bytes[BYTES_MAX];
    size_t size;
};

/* xorshift64*: the same rounds on every machine. */
static uint64_t dice_state = SEED;

static size_t dice(size_t sides)
{
    dice_state ^= dice_state >> 12;
    dice_state ^= dice_state << 25;
    dice_state ^= dice_state >> 27;
    return (size_t)((dice_state * UINT64_C(2685821657736338717)) >> 33) % sides;
}

/* Replaces `old` bytes at `at`; nothing when it would not fit. */
static void splice(struct message *m, size_t at, size_t old, const char *bytes,
                   size_t size)
{
    if (m->size - old + size > BYTES_MAX / 2)
        return;
    memmove(m->bytes + at + size, m->bytes + at + old, m->size - at - old);
    memcpy(m->bytes + at, bytes, size);
    m->size += size - old;
}

static void append(struct message *m, const char *text)
{
    splice(m, m->size, 0, text, strlen(text));
}

/* Where some line begins. */
static size_t some_line(const struct message *m)
{
    size_t at = dice(m->size);

    while (at > 0 && m->bytes[at - 1] != '\n')
        at--;
    return at;
}

static size_t line_size(const struct message *m, size_t at)
{
    const char *lf = memchr(m->bytes + at, '\n', m->size - at);

    return lf == NULL ? m->size - at : (size_t)(lf + 1 - (m->bytes + at));
}

static void break_once(struct message *m)
{
    static const char SPECIAL[] = "\r\n\0 \t:;,\x80\x7f\"\\/?0159afZ";
    char line[BYTES_MAX], c = SPECIAL[dice(sizeof SPECIAL - 1)], any = (char)dice(256);
    size_t at = dice(m->size), from = some_line(m), size = line_size(m, from);
    const char *more = LINES[dice(sizeof LINES / sizeof LINES[0])];

    switch (dice(10)) {
    case 0:
        splice(m, at, 1, &any, 1);
        break;
    case 1:
        splice(m, at, 1, "", 0);
        break;
    case 2:
        splice(m, at, 0, &c, 1);
        break;
    case 3:
        splice(m, at, 1, &c, 1);
        break;
    case 4: /* a line twice */
        memcpy(line, m->bytes + from, size);
        splice(m, from, 0, line, size);
        break;
    case 5: /* a line less */
        if (size < m->size)
            splice(m, from, size, "", 0);
        break;
    case 6: /* a line's CR away */
        if (size >= 2 && m->bytes[from + size - 2] == '\r')
            splice(m, from + size - 2, 1, "", 0);
        break;
    case 7: /* cut off */
        m->size = at + 1;
        break;
    default: /* one line more */
        splice(m, from, 0, more, strlen(more));
    }
}

static void make_broken(const struct world *w, struct message *m)
{
    const char *good = GOOD[dice(sizeof GOOD / sizeof GOOD[0])];
    const char *at = strchr(good, '@');

    m->size = 0;
    if (at != NULL) {
        splice(m, 0, 0, good, (size_t)(at - good));
        append(m, "Authorization: Bearer ");
        append(m, w->token);
        append(m, "\r\n");
        good = at + 1;
    }
    append(m, good);
    for (size_t times = 1 + dice(3); times > 0 && m->size > 0; times--)
        break_once(m);
}

static void append_marker(const struct world *w, struct message *m, const char *marker)
{
    char text[2048];

    snprintf(text, sizeof text,
             "GET /v1/carts/%s HTTP/1.1\r\nHost: shop.test\r\nAuthorization: Bearer "
             "%s\r\n\r\n",
             marker, w->token);
    append(m, text);
}

/* Whether, read by the letter, one of the requests has that target. */
static bool is_asked(const struct message *m, const char *target)
{
    const char *end = m->bytes + m->size;
    struct framing f;

    for (const char *at = m->bytes; framing_read(at, (size_t)(end - at), &f);
         at = f.end) {
        if (f.target_size == strlen(target) &&
            memcmp(f.target, target, f.target_size) == 0)
            return true;
        if (f.end == NULL)
            return false;
    }
    return false;
}

static void show(const char *what, const struct message *m)
{
    fprintf(stderr, "%s:\n", what);
    for (size_t i = 0; i < m->size; i++) {
        const unsigned char c = (unsigned char)m->bytes[i];
        if (c == '\n' || (c >= 0x20 && c < 0x7f))
            fputc(c, stderr);
        else
            fprintf(stderr, c == '\r' ? "\\r" : "\\x%02x", c);
    }
    fail();
}

/* Takes what has been answered so far, and hangs up hard. */
static void collect(int fd, char *answers, size_t room)
{
    const struct linger hard = {.l_onoff = 1};
    size_t size = 0;
    ssize_t got;

    while ((got = recv(fd, answers + size, room - 1 - size, MSG_DONTWAIT)) > 0)
        size += (size_t)got;
    answers[size] = '\0';
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(fd);
}

/* On a connection of its own a marker is always answered.  And once it is, whatever came
 * before has been looked at. */
static void expect_alive(struct world *w, const char *marker)
{
    static struct message m;

    m.size = 0;
    append_marker(w, &m, marker);
    int fd = wire_connect(http_port(w->http));
    wire_send(fd, m.bytes, m.size);
    wire_read(fd, false, &w->answer);
    close(fd);
    if (w->answer.status != 200 || strstr(w->answer.body, marker) == NULL)
        fail_msg("%s got: %s", marker, w->answer.text);
}

/* Every answer is one of ours; none says that we failed. */
static void check_answers(const char *answers)
{
    static const int KNOWN[] = {200, 201, 204, 400, 401, 404, 405, 408,
                                413, 414, 415, 417, 422, 431, 501, 505};

    for (const char *at = strstr(answers, "HTTP/1.1 "); at != NULL;
         at = strstr(at + 1, "HTTP/1.1 ")) {
        bool known = strncmp(at, "HTTP/1.1 100 ", 13) == 0;
        for (size_t i = 0; i < sizeof KNOWN / sizeof KNOWN[0]; i++)
            known = known || atoi(at + 9) == KNOWN[i];
        if (!known)
            fail_msg("%.60s", at);
    }
}

/* One broken request with its marker, under way. */
struct probe {
    struct message message;
    char marker[32];
    int fd;
};

static void send_probe(struct world *w, struct probe *p, int number)
{
    snprintf(p->marker, sizeof p->marker, "marker-%d-", number);
    make_broken(w, &p->message);
    append_marker(w, &p->message, p->marker);
    p->fd = wire_connect(http_port(w->http));
    wire_send(p->fd, p->message.bytes, p->message.size);
}

/* Whether its marker was answered. */
static bool judge(const struct probe *p)
{
    static char answers[200000];
    char target[64];

    snprintf(target, sizeof target, "/v1/carts/%s", p->marker);
    collect(p->fd, answers, sizeof answers);
    check_answers(answers);
    bool answered = strstr(answers, p->marker) != NULL;
    if (answered && !is_asked(&p->message, target))
        show("the marker was answered, and is no request", &p->message);
    return answered;
}

static void no_broken_request_crashes_hangs_or_desynchronises(void **state)
{
    static struct probe probes[BATCH];
    struct world *w = *state;
    int went_on = 0;

    for (int round = 0; round < ROUNDS; round += BATCH) {
        int smuggled = w->shop.smuggled;
        for (int i = 0; i < BATCH; i++)
            send_probe(w, &probes[i], round + i);
        for (int i = 0; i < 2; i++)
            expect_alive(w, "marker-alone");
        for (int i = 0; i < BATCH; i++) {
            went_on += judge(&probes[i]);
            smuggled += is_asked(&probes[i].message, "/v1/carts/smuggled");
        }
        if (w->shop.smuggled > smuggled)
            fail_msg("a body was taken for a request in rounds %d to %d", round,
                     round + BATCH - 1);
    }
    /* Or else it would prove little. */
    assert_true(went_on >= ROUNDS / 20 && went_on <= ROUNDS * 19 / 20);
    printf("%d of %d connections went on\n", went_on, ROUNDS);
}

static int set_up(void **state)
{
    return set_up_with(state, 60000, 60000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(no_broken_request_crashes_hangs_or_desynchronises,
                                        set_up, tear_down),
    };

    signal(SIGPIPE, SIG_IGN);
    log_start("mutation_test", LOG_ERROR);
    assert_true(sodium_init() >= 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
