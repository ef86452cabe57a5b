/* tls_test.c - requests over TLS, cut as no proper client would cut them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sodium.h>

#include "unit/http/certificate.h"
#include "unit/http/world.h"

/* A client whose bytes go over the wire as the test likes. */
struct tls_client {
    SSL_CTX *context;
    SSL *ssl;
    BIO *in, *out;
    int fd;
};

static struct world *open_with_tls_as(struct http_server_config config)
{
    config.tls = open_certificate();
    struct world *w = open_as(config);
    w->tls = config.tls;
    return w;
}

static struct world *open_with_tls(void)
{
    return open_with_tls_as(DEFAULTS);
}

static struct tls_client tls_connect(struct world *w)
{
    struct tls_client c = {.fd = connect_to(w)};

    c.context = SSL_CTX_new(TLS_client_method());
    assert_non_null(c.context);
    c.ssl = SSL_new(c.context);
    c.in = BIO_new(BIO_s_mem());
    c.out = BIO_new(BIO_s_mem());
    assert_true(c.ssl != NULL && c.in != NULL && c.out != NULL);
    SSL_set_bio(c.ssl, c.in, c.out);
    SSL_set_connect_state(c.ssl);
    return c;
}

/* Sends what TLS has made, each byte by itself when it is `cut`. */
static void tls_flush(struct tls_client *c, bool cut)
{
    char bytes[4096];
    int size;

    while ((size = BIO_read(c->out, bytes, sizeof bytes)) > 0)
        for (int i = 0; i < size; i += cut ? 1 : size)
            wire_send(c->fd, bytes + i, cut ? 1 : (size_t)size);
}

/* Gives TLS what the server has sent; false at the end. */
static bool tls_fill(struct tls_client *c)
{
    char bytes[4096];
    ssize_t got = recv(c->fd, bytes, sizeof bytes, 0);

    if (got > 0)
        BIO_write(c->in, bytes, (int)got);
    return got > 0;
}

static void tls_shake_hands(struct tls_client *c, bool cut)
{
    int status;

    while ((status = SSL_do_handshake(c->ssl)) != 1) {
        assert_int_equal(SSL_get_error(c->ssl, status), SSL_ERROR_WANT_READ);
        tls_flush(c, cut);
        assert_true(tls_fill(c));
    }
    tls_flush(c, cut);
}

/* `piece` bytes a record. */
static void tls_say(struct tls_client *c, const char *text, size_t piece, bool cut)
{
    for (size_t at = 0, size = strlen(text); at < size; at += piece)
        assert_true(SSL_write(c->ssl, text + at,
                              (int)(size - at < piece ? size - at : piece)) > 0);
    tls_flush(c, cut);
}

/* Everything up to the server's close_notify; true when one came. */
static bool tls_read_all(struct tls_client *c, char *out, size_t room, size_t *size)
{
    int got;

    for (*size = 0;; *size += (size_t)got) {
        while ((got = SSL_read(c->ssl, out + *size, (int)(room - 1 - *size))) <= 0) {
            int why = SSL_get_error(c->ssl, got);
            out[*size] = '\0';
            if (why != SSL_ERROR_WANT_READ || !tls_fill(c))
                return why == SSL_ERROR_ZERO_RETURN;
        }
    }
}

static void tls_close(struct tls_client *c)
{
    SSL_free(c->ssl);
    SSL_CTX_free(c->context);
    close(c->fd);
}

static void tls_records_may_be_cut_anywhere(void **state)
{
    static const char THREE[] =
        "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none"
        "PUT /later HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3\r\ntwo\r\n0\r\n\r\n"
        "PUT /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    struct world *w = open_with_tls();
    char answers[4096];
    size_t size;

    (void)state;
    for (int turn = 0; turn < 4; turn++) {
        struct tls_client c = tls_connect(w);
        tls_shake_hands(&c, turn % 2 == 1);
        tls_say(&c, THREE, turn < 2 ? 1 : 1000, turn % 2 == 1);
        assert_true(tls_read_all(&c, answers, sizeof answers, &size));
        const char *one = strstr(answers, "\r\n\r\none"),
                   *two = strstr(answers, "\r\n\r\ntwo");
        assert_true(one != NULL && two > one);
        assert_non_null(strstr(two, "Connection: close\r\n\r\n"));
        tls_close(&c);
    }
    close_world(w);
}

static void a_half_closed_tls_client_gets_a_large_answer(void **state)
{
    static char answer[BIG + 4096];
    struct world *w = open_with_tls();
    struct tls_client c = tls_connect(w);
    size_t size;

    (void)state;
    tls_shake_hands(&c, false);
    tls_say(&c, "GET /big HTTP/1.1\r\nHost: a\r\n\r\n", 100, false);
    SSL_shutdown(c.ssl);
    tls_flush(&c, false);
    (void)tls_read_all(&c, answer, sizeof answer, &size);
    const char *body = strstr(answer, "\r\n\r\n");
    assert_non_null(body);
    assert_int_equal(size - (size_t)(body + 4 - answer), BIG);
    tls_close(&c);
    close_world(w);
}

static void a_tls_client_that_ends_mid_request_gets_a_refusal(void **state)
{
    struct world *w = open_with_tls();
    struct tls_client c = tls_connect(w);
    char answer[4096];
    size_t size;

    (void)state;
    tls_shake_hands(&c, false);
    tls_say(&c, "GET /echo HTTP/1.1\r\nHo", 100, false);
    SSL_shutdown(c.ssl);
    tls_flush(&c, false);
    (void)tls_read_all(&c, answer, sizeof answer, &size);
    assert_non_null(strstr(answer, "\r\n\r\nINCOMPLETE"));
    tls_close(&c);
    close_world(w);
}

static void an_idle_tls_client_gets_close_notify(void **state)
{
    struct http_server_config config = DEFAULTS;
    config.idle_timeout_ms = 50;
    struct world *w = open_with_tls_as(config);
    char answer[4096];
    size_t size;

    (void)state;
    for (int turn = 0; turn < 2; turn++) { /* at first, and after an answer */
        struct tls_client c = tls_connect(w);
        tls_shake_hands(&c, false);
        if (turn == 1)
            tls_say(&c, "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n", 100, false);
        assert_true(tls_read_all(&c, answer, sizeof answer, &size));
        assert_int_equal(size > 0, turn);
        tls_close(&c);
    }
    close_world(w);
}

static void plain_http_on_a_tls_port_gets_an_error(void **state)
{
    static const char *const STARTS[] = {
        "GET /echo HTTP/1.1\r\n\r\n",       "OPTIONS * HTTP/1.1\r\n\r\n",
        "DELETE /echo HTTP/1.1\r\n\r\n",    "\r\nGET / HTTP/1.1\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "x"};
    struct world *w = open_with_tls();

    (void)state;
    for (size_t i = 0; i < sizeof STARTS / sizeof STARTS[0]; i++) {
        int fd = connect_to(w);
        say(fd, STARTS[i]);
        expect_refusal(w, fd, HTTP_PLAIN_ON_TLS);
        expect_end(fd);
    }
    int fd = connect_to(w);
    say(fd, "HEAD / HTTP/1.1\r\n\r\n");
    wire_read(fd, true, &w->answer);
    assert_int_equal(w->answer.status, 400);
    expect_end(fd); /* and no body came before it */
    close_world(w);
}

/* Nor is its alert lost when more lies unread behind. */
static void a_client_that_does_not_speak_tls_gets_an_alert(void **state)
{
    static const char NONSENSE[] = "\x16\x03\x01\x00\x05hello and more";
    struct world *w = open_with_tls();
    int fd = connect_to(w);
    char alert[64];

    (void)state;
    wire_send(fd, NONSENSE, sizeof NONSENSE - 1);
    ssize_t got = recv(fd, alert, sizeof alert, 0);
    assert_true(got > 0 && alert[0] == 21); /* RFC 8446, 5.1 */
    expect_end(fd);
    close_world(w);
}

static void a_tls_client_may_break_off_at_any_byte_of_its_handshake(void **state)
{
    struct world *w = open_with_tls();
    char bytes[4096];
    int size;

    (void)state;
    struct tls_client c = tls_connect(w);
    (void)SSL_do_handshake(c.ssl);
    size = BIO_read(c.out, bytes, sizeof bytes);
    for (int cut = 0; cut <= size; cut += 7) {
        int fd = connect_to(w);
        wire_send(fd, bytes, (size_t)cut);
        if (cut % 2 == 0)
            break_off(fd);
        else
            close(fd);
    }
    wire_send(c.fd, bytes, (size_t)size);
    tls_shake_hands(&c, false);
    tls_say(&c, "PUT /later HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab", 1000,
            false);
    break_off(c.fd);
    c.fd = connect_to(w);
    tls_close(&c);
    struct tls_client last = tls_connect(w);
    size_t got;
    tls_shake_hands(&last, false);
    tls_say(&last, "GET /later HTTP/1.0\r\n\r\n", 1000, false);
    assert_true(tls_read_all(&last, bytes, sizeof bytes, &got));
    assert_memory_equal(bytes, "HTTP/1.1 200 OK\r\n", 17);
    tls_close(&last);
    close_world(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tls_records_may_be_cut_anywhere),
        cmocka_unit_test(a_half_closed_tls_client_gets_a_large_answer),
        cmocka_unit_test(a_tls_client_that_ends_mid_request_gets_a_refusal),
        cmocka_unit_test(an_idle_tls_client_gets_close_notify),
        cmocka_unit_test(plain_http_on_a_tls_port_gets_an_error),
        cmocka_unit_test(a_client_that_does_not_speak_tls_gets_an_alert),
        cmocka_unit_test(a_tls_client_may_break_off_at_any_byte_of_its_handshake),
    };

    log_start("test", LOG_ERROR);
    assert_true(sodium_init() >= 0);
    signal(SIGPIPE, SIG_IGN); /* as the programs do: OpenSSL writes to sockets */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
