/*
 * tls_test.c - tls+tcp://: who shows a certificate of our CA gets in, nobody else does,
 * and the name in the URL is the server's.  The certificates are made anew by openssl.
 */
#include "unit/rpc/fixture.h"

struct scene {
    struct world w;
    struct shop shop;
    char url[64];
    struct tls_files good, foreign, elsewhere;
    struct rpc_server *server;
};

static void run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void run(const char *format, ...)
{
    char command[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    assert_int_equal(system(command), 0);
}

#define NEW_KEY "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"

static void make_ca(const char *folder, const char *ca)
{
    run("cd %s && openssl req -x509 " NEW_KEY " -days 2 -subj /CN=%s -keyout %s.key"
        " -out %s.pem 2>/dev/null",
        folder, ca, ca, ca);
}

/* A certificate of the CA for the name, NAME.pem and NAME.key. */
static void make_cert(const char *folder, const char *ca, const char *name,
                      const char *host)
{
    run("cd %s && openssl req " NEW_KEY " -subj /CN=%s -keyout %s.key -out %s.csr"
        " 2>/dev/null && printf 'subjectAltName=DNS:%s' > %s.ext &&"
        " openssl x509 -req -in %s.csr -CA %s.pem -CAkey %s.key -CAcreateserial -days 2"
        " -extfile %s.ext -out %s.pem 2>/dev/null && chmod 600 %s.key",
        folder, name, name, name, host, name, name, ca, ca, name, name, name);
}

static struct tls_files files(struct folder *f, const char *name, const char *ca)
{
    char text[64];
    const char *cert, *key;

    snprintf(text, sizeof text, "%s.pem", name);
    cert = strdup(in(f, "", text));
    snprintf(text, sizeof text, "%s.key", name);
    key = strdup(in(f, "", text));
    snprintf(text, sizeof text, "%s.pem", ca);
    return (struct tls_files){cert, key, strdup(in(f, "", text))};
}

static void files_end(struct tls_files *t)
{
    free((char *)(uintptr_t)t->cert);
    free((char *)(uintptr_t)t->key);
    free((char *)(uintptr_t)t->ca);
}

static struct rpc_server *serve_tls(struct scene *s, const struct tls_files *tls)
{
    ProtobufCService *services[] = {&s->shop.service.base};

    return serve(&(struct rpc_server_config){.url = s->url,
                                             .tls = *tls,
                                             .callers = s->w.callers,
                                             .services = services,
                                             .service_count = 1,
                                             .in_flight_max = 4});
}

static struct err open_tls(struct scene *s, const char *url, const struct tls_files *tls,
                           struct channel **out)
{
    return channel_open(&(struct channel_config){.service = "server",
                                                 .addresses = url,
                                                 .tls = *tls,
                                                 .key = s->w.client,
                                                 .services = s->w.services,
                                                 .in_flight_max = 4},
                        out);
}

static void scene_make(struct scene *s)
{
    memset(s, 0, sizeof *s);
    world_make(&s->w);
    shop_make(&s->shop);
    const char *folder = s->w.folder.path;
    make_ca(folder, "ca");
    make_ca(folder, "other-ca");
    make_cert(folder, "ca", "machine", "127.0.0.1");
    make_cert(folder, "ca", "elsewhere", "elsewhere.example");
    make_cert(folder, "other-ca", "foreign", "127.0.0.1");
    s->good = files(&s->w.folder, "machine", "ca");
    s->elsewhere = files(&s->w.folder, "elsewhere", "ca");
    s->foreign = files(&s->w.folder, "foreign", "ca");
    snprintf(s->url, sizeof s->url, "tls+tcp://127.0.0.1:%d", free_port());
    s->server = serve_tls(s, &s->good);
}

static void scene_end(struct scene *s)
{
    rpc_server_stop(s->server, 1000);
    files_end(&s->good);
    files_end(&s->elsewhere);
    files_end(&s->foreign);
    world_end(&s->w);
}

static struct err ask_through(struct scene *s, const char *url,
                              const struct tls_files *tls, int64_t timeout_ms)
{
    struct channel *channel;

    assert_ok(open_tls(s, url, tls, &channel));
    struct err e = ask_error(channel, "now", timeout_ms);
    channel_close(channel);
    return e;
}

static void a_call_goes_through_between_two_certificates_of_our_ca(void **state)
{
    struct scene s;
    struct channel *channel;

    (void)state;
    scene_make(&s);
    assert_ok(open_tls(&s, s.url, &s.good, &channel));
    for (int i = 0; i < 50; i++)
        assert_ok(ask_error(channel, i % 2 ? "now" : "later", 20000));
    channel_close(channel);
    assert_true(s.shop.asked >= 50);
    scene_end(&s);
}

static void a_certificate_of_another_ca_does_not_get_in(void **state)
{
    struct scene s;

    (void)state;
    scene_make(&s);
    struct err e = ask_through(&s, s.url, &s.foreign, 1000);
    assert_true(failed(e));
    assert_int_equal(s.shop.asked, 0);
    assert_ok(ask_through(&s, s.url, &s.good, 20000));
    scene_end(&s);
}

static void a_server_whose_certificate_is_for_another_host_is_not_talked_to(void **state)
{
    struct scene s;

    (void)state;
    scene_make(&s);
    rpc_server_stop(s.server, 1000);
    s.server = serve_tls(&s, &s.elsewhere);
    struct err e = ask_through(&s, s.url, &s.good, 1000);
    assert_true(failed(e));
    assert_int_equal(s.shop.asked, 0);
    scene_end(&s);
}

static void a_client_without_tls_is_rejected(void **state)
{
    struct scene s;

    (void)state;
    scene_make(&s);
    const char *plain = s.url + strlen("tls+");
    assert_true(failed(ask_through(&s, plain, &(struct tls_files){0}, 1000)));
    assert_int_equal(s.shop.asked, 0);
    assert_ok(ask_through(&s, s.url, &s.good, 30000));
    scene_end(&s);
}

static void missing_or_wrong_files_are_named(void **state)
{
    struct scene s;
    struct channel *channel;

    (void)state;
    scene_make(&s);
    assert_code(open_tls(&s, s.url, &(struct tls_files){0}, &channel),
                ERR_INVALID_ARGUMENT);
    struct tls_files none = s.good;
    none.cert = "/nowhere/cert.pem";
    struct err e = open_tls(&s, s.url, &none, &channel);
    assert_code(e, ERR_INVALID_ARGUMENT);
    assert_non_null(strstr(e.message, "/nowhere/cert.pem"));
    struct tls_files swapped = s.good;
    swapped.cert = s.good.key;
    assert_code(open_tls(&s, s.url, &swapped, &channel), ERR_INVALID_ARGUMENT);
    assert_int_equal(chmod(s.good.key, 0644), 0);
    e = open_tls(&s, s.url, &s.good, &channel);
    assert_code(e, ERR_INVALID_ARGUMENT);
    assert_non_null(strstr(e.message, "others may use it"));
    scene_end(&s);
}

/* From one CA to another.  The channel that is connected goes on; who comes anew needs a
 * certificate of the other CA. */
static void certificates_are_replaced_and_no_connection_ends(void **state)
{
    struct scene s;
    struct channel *channel;
    struct tls_pem pem;

    (void)state;
    scene_make(&s);
    assert_ok(open_tls(&s, s.url, &s.good, &channel));
    assert_ok(ask_error(channel, "now", 20000));
    assert_ok(tls_read(&s.foreign, &pem));
    pem.ca[0] = '\0'; /* no authority at all: refused, and nothing is changed */
    assert_code(rpc_server_set_tls(s.server, &pem), ERR_INVALID_ARGUMENT);
    assert_code(channel_set_tls(channel, &pem), ERR_INVALID_ARGUMENT);
    tls_pem_free(&pem);
    assert_ok(ask_through(&s, s.url, &s.good, 20000));
    struct tls_files other = s.foreign;
    char ca[256];
    snprintf(ca, sizeof ca, "%s", in(&s.w.folder, "", "other-ca.pem"));
    other.ca = ca;
    assert_ok(tls_read(&other, &pem));
    assert_ok(rpc_server_set_tls(s.server, &pem));
    assert_ok(ask_error(channel, "now", 20000));
    assert_ok(ask_through(&s, s.url, &other, 20000));
    assert_true(failed(ask_through(&s, s.url, &s.good, 1000)));
    /* The channel's next connection is let in by a server that never knew the old ones. */
    assert_ok(channel_set_tls(channel, &pem));
    tls_pem_free(&pem);
    rpc_server_stop(s.server, 1000);
    s.server = serve_tls(&s, &other);
    assert_ok(ask_error(channel, "now", 20000));
    channel_close(channel);
    scene_end(&s);
}

/* Nothing, rubbish, or the beginning of a handshake, and then a close or a reset. */
static void a_server_survives_aborted_handshakes_beneath_tls(void **state)
{
    struct scene s;
    struct channel *channel;
    static const uint8_t hello[] = {0x16, 3, 1, 0, 200, 1, 0, 0};

    (void)state;
    scene_make(&s);
    assert_ok(open_tls(&s, s.url, &s.good, &channel));
    assert_ok(ask_error(channel, "now", 20000));
    int port = atoi(strrchr(s.url, ':') + 1);
    for (int i = 0; i < 100; i++) {
        struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_port = htons((uint16_t)port),
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        struct linger at_once = {.l_onoff = 1, .l_linger = 0};
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 && i % 3 != 0)
            assert_true(send(fd, i % 3 == 1 ? "GET / HTTP/1.1\r\n" : (const char *)hello,
                             8, MSG_NOSIGNAL) > 0);
        if (i % 2 == 0)
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        close(fd);
    }
    assert_ok(ask_error(channel, "now", 20000));
    channel_close(channel);
    assert_ok(ask_through(&s, s.url, &s.good, 30000));
    scene_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_goes_through_between_two_certificates_of_our_ca),
        cmocka_unit_test(a_certificate_of_another_ca_does_not_get_in),
        cmocka_unit_test(a_server_whose_certificate_is_for_another_host_is_not_talked_to),
        cmocka_unit_test(a_client_without_tls_is_rejected),
        cmocka_unit_test(missing_or_wrong_files_are_named),
        cmocka_unit_test(certificates_are_replaced_and_no_connection_ends),
        cmocka_unit_test(a_server_survives_aborted_handshakes_beneath_tls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
