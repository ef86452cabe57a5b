/* The shop page's files over real sockets. */
#include <setjmp.h>
#include <signal.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/log.h"
#include "gateway/http/admission.h"
#include "gateway/http/files.h"
#include "gateway/http/http.h"
#include "gateway/http/request.h"
#include "unit/gateway/wire.h"

#define PAGE  "<!doctype html><title>A shop</title>"
#define TOKEN "aaaa.bbbb-_.cccc"

struct world {
    char folder[64];
    struct gateway gateway;
    struct http *http;
    struct wire_answer answer;
};

static const char *in(const struct world *w, const char *name)
{
    static char path[2][128];
    static int turn;

    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", w->folder, name);
    return path[turn];
}

static void write_file(const struct world *w, const char *name, const char *bytes)
{
    FILE *file = fopen(in(w, name), "we");

    assert_non_null(file);
    fputs(bytes, file);
    fclose(file);
}

static struct err open_files_at(struct world *w, const char *token_file,
                                const char *address)
{
    struct files_config config = {.folder = in(w, "shop"),
                                  .demo_token_file = token_file,
                                  .listen_address = address,
                                  .cookie = "session"};

    return files_open(&config, &w->gateway.files);
}

static struct err open_files(struct world *w, const char *token_file)
{
    return open_files_at(w, token_file, "127.0.0.1");
}

/* Serves what the folder holds now. */
static void serve_at(struct world *w, const char *token_file, const char *address)
{
    struct http_config config = {.address = "127.0.0.1",
                                 .connections_max = 64,
                                 .per_address_max = 64,
                                 .idle_timeout_ms = 60000,
                                 .transfer_timeout_ms = 60000};

    w->gateway.routes = &ROUTES;
    w->gateway.cors_origins = "";
    struct err e = open_files_at(w, token_file, address);
    if (failed(e))
        fail_msg("%s", e.message);
    assert_false(failed(http_start(&config, &w->gateway, &w->http)));
}

static void serve(struct world *w, const char *token_file)
{
    serve_at(w, token_file, "127.0.0.1");
}

static void stop_serving(struct world *w)
{
    if (w->http != NULL) {
        http_drain(w->http, 10000);
        http_stop(w->http);
    }
    w->http = NULL;
    files_close(w->gateway.files); /* last: answers borrow from it */
    w->gateway.files = NULL;
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    assert_non_null(w);
    strcpy(w->folder, "/tmp/files-test-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    assert_int_equal(mkdir(in(w, "shop"), 0700), 0);
    assert_int_equal(mkdir(in(w, "shop/pictures"), 0700), 0);
    write_file(w, "shop/index.html", PAGE);
    write_file(w, "shop/shop.js", "1;");
    write_file(w, "shop/shop.css", "");
    write_file(w, "shop/pictures/tea.svg", "<svg/>");
    write_file(w, "shop/.hidden.js", "secret");
    write_file(w, "shop/notes.txt", "secret");
    write_file(w, "outside.js", "secret");
    write_file(w, "token", TOKEN "\n");
    assert_int_equal(symlink(in(w, "outside.js"), in(w, "shop/link.js")), 0);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    static const char *const FILES[] = {"shop/index.html",
                                        "shop/shop.js",
                                        "shop/shop.css",
                                        "shop/link.js",
                                        "shop/pictures/tea.svg",
                                        "shop/.hidden.js",
                                        "shop/notes.txt",
                                        "outside.js",
                                        "token"};
    struct world *w = *state;

    stop_serving(w);
    for (size_t i = 0; i < sizeof FILES / sizeof FILES[0]; i++)
        unlink(in(w, FILES[i]));
    assert_int_equal(rmdir(in(w, "shop/pictures")), 0);
    assert_int_equal(rmdir(in(w, "shop")), 0);
    assert_int_equal(rmdir(w->folder), 0);
    free(w);
    return 0;
}

static struct wire_answer *ask(struct world *w, const char *line, const char *host,
                               const char *headers)
{
    char bytes[2048];
    int size = snprintf(bytes, sizeof bytes, "%s HTTP/1.1\r\nHost: %s\r\n%s\r\n", line,
                        host, headers);
    int fd = wire_connect(http_port(w->http));

    wire_send(fd, bytes, (size_t)size);
    wire_read(fd, strncmp(line, "HEAD", 4) == 0, &w->answer);
    close(fd);
    return &w->answer;
}

static void expect_header(const struct wire_answer *a, const char *name,
                          const char *value)
{
    char header[512];

    assert_string_equal(wire_header(a, name, header), value);
}

static void a_file_has_its_path_type_and_policy(void **state)
{
    static const struct {
        const char *path, *type, *body;
    } CASES[] = {
        {"/", "text/html; charset=utf-8", PAGE},
        {"/?from=mail", "text/html; charset=utf-8", PAGE},
        {"/shop/shop.js", "text/javascript; charset=utf-8", "1;"},
        {"/shop/pictures/tea.svg", "image/svg+xml", "<svg/>"},
    };
    struct world *w = *state;
    char line[64], header[512];

    serve(w, "");
    write_file(w, "shop/shop.js", "changed after the start");
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        snprintf(line, sizeof line, "GET %s", CASES[i].path);
        struct wire_answer *a = ask(w, line, "shop.test", "");
        assert_int_equal(a->status, 200);
        assert_string_equal(a->body, CASES[i].body);
        expect_header(a, "Content-Type", CASES[i].type);
        expect_header(a, "Cache-Control", "no-cache");
        expect_header(a, "X-Content-Type-Options", "nosniff");
        expect_header(a, "Set-Cookie", "");
        assert_non_null(
            strstr(wire_header(a, "Content-Security-Policy", header),
                   "default-src 'none'; script-src 'self'; style-src 'self';"));
        assert_null(strstr(header, "unsafe"));
        const char *policy = strstr(a->text, "Content-Security-Policy");
        assert_null(strstr(policy + 1, "Content-Security-Policy")); /* all would count */
    }
}

static void what_was_not_found_at_the_start_is_404(void **state)
{
    static const char *const PATHS[] = {
        "/index.html",
        "/shop/index.html",
        "/shop",
        "/shop/",
        "/shop/.hidden.js",
        "/shop/notes.txt",
        "/shop/link.js",
        "/shop/../outside.js",
        "/shop/%2e%2e/outside.js",
        "/shop/..%2foutside.js",
        "/shop/pictures",
        "/shop/pictures/",
        "/shop/pictures/../shop.js",
        "//shop/shop.js",
        "/shop//shop.js",
        "/shop/SHOP.JS",
        "/shop/pictures/shop.js",
        "/shop/late.js",
    };
    struct world *w = *state;
    char line[64];

    serve(w, in(w, "token"));
    write_file(w, "shop/late.js", "came after the start");
    for (size_t i = 0; i < sizeof PATHS / sizeof PATHS[0]; i++) {
        snprintf(line, sizeof line, "GET %s", PATHS[i]);
        struct wire_answer *a = ask(w, line, "127.0.0.1", "");
        if (a->status != 404 || strstr(a->text, "secret") != NULL)
            fail_msg("%s: %s", PATHS[i], a->text);
        expect_header(a, "Content-Type", "application/problem+json");
        expect_header(a, "Set-Cookie", "");
    }
    unlink(in(w, "shop/late.js"));
}

static void known_bytes_are_not_sent_again_and_head_sends_none(void **state)
{
    struct world *w = *state;
    char tag[512], header[600];

    serve(w, "");
    wire_header(ask(w, "GET /shop/shop.js", "shop.test", ""), "ETag", tag);
    assert_int_equal(strlen(tag), 34);
    snprintf(header, sizeof header, "If-None-Match: \"other\", W/%s\r\n", tag);
    struct wire_answer *a = ask(w, "GET /shop/shop.js", "shop.test", header);
    assert_int_equal(a->status, 304);
    assert_string_equal(a->body, "");
    expect_header(a, "ETag", tag);
    assert_int_equal(ask(w, "GET /", "shop.test", header)->status, 200);
    a = ask(w, "HEAD /shop/shop.js", "shop.test", "");
    assert_int_equal(a->status, 200);
    assert_string_equal(a->body, "");
    expect_header(a, "Content-Length", "2");
    expect_header(a, "ETag", tag);
    a = ask(w, "POST /", "shop.test", "Content-Length: 0\r\n");
    assert_int_equal(a->status, 405);
    expect_header(a, "Allow", "GET, HEAD, OPTIONS");
}

static void the_demo_session_goes_with_the_page_to_this_machine_alone(void **state)
{
    static const char *const LOCAL[] = {"127.0.0.1", "127.0.0.1:8080", "localhost",
                                        "localhost:8080", "[::1]:8080"};
    static const char *const STRANGE[] = {"shop.test", "127.0.0.1.test",
                                          "localhost.test:80", "10.0.0.1", "[::2]"};
    struct world *w = *state;

    serve(w, in(w, "token"));
    for (size_t i = 0; i < sizeof LOCAL / sizeof LOCAL[0]; i++) {
        struct wire_answer *a = ask(w, "GET /", LOCAL[i], "If-None-Match: *\r\n");
        assert_int_equal(a->status, 200);
        expect_header(a, "Set-Cookie",
                      "session=" TOKEN "; HttpOnly; SameSite=Strict; Path=/");
        expect_header(a, "Cache-Control", "no-store");
        expect_header(ask(w, "GET /shop/shop.js", LOCAL[i], ""), "Set-Cookie", "");
    }
    for (size_t i = 0; i < sizeof STRANGE / sizeof STRANGE[0]; i++) {
        struct wire_answer *a = ask(w, "GET /", STRANGE[i], "");
        assert_int_equal(a->status, 200);
        expect_header(a, "Set-Cookie", "");
        expect_header(a, "Cache-Control", "no-cache");
    }
}

static void a_gateway_that_others_can_reach_gives_no_session(void **state)
{
    static const char *const ADDRESSES[] = {"0.0.0.0", "::", "10.0.0.1", "12.7.0.1"};
    struct world *w = *state;

    for (size_t i = 0; i < sizeof ADDRESSES / sizeof ADDRESSES[0]; i++) {
        serve_at(w, in(w, "token"), ADDRESSES[i]);
        struct wire_answer *a = ask(w, "GET /", "127.0.0.1", "");
        assert_int_equal(a->status, 200);
        expect_header(a, "Set-Cookie", "");
        stop_serving(w);
    }
}

static void what_cannot_be_served_ends_the_start(void **state)
{
    struct world *w = *state;
    char *much = calloc(1, FILES_SIZE_MAX + 2);

    write_file(w, "token", "a; Domain=test");
    assert_int_equal(open_files(w, in(w, "token")).code, ERR_INVALID_ARGUMENT);
    write_file(w, "token", "\n");
    assert_int_equal(open_files(w, in(w, "token")).code, ERR_INVALID_ARGUMENT);
    assert_int_equal(open_files(w, in(w, "nowhere")).code, ERR_INVALID_ARGUMENT);
    memset(much, 'a', FILES_SIZE_MAX + 1);
    write_file(w, "shop/shop.js", much);
    free(much);
    assert_int_equal(open_files(w, "").code, ERR_INVALID_ARGUMENT);
    unlink(in(w, "shop/shop.js"));
    assert_false(failed(open_files(w, "")));
    files_close(w->gateway.files);
    struct files_config nowhere = {.folder = in(w, "nowhere"), .demo_token_file = ""};
    assert_int_equal(files_open(&nowhere, &w->gateway.files).code, ERR_INVALID_ARGUMENT);
    assert_null(w->gateway.files);
}

static void without_a_folder_there_is_no_page(void **state)
{
    struct world *w = *state;
    struct files_config none = {.folder = "", .demo_token_file = "", .cookie = "session"};

    serve(w, "");
    files_close(w->gateway.files);
    assert_false(failed(files_open(&none, &w->gateway.files)));
    assert_null(w->gateway.files);
    assert_int_equal(ask(w, "GET /", "127.0.0.1", "")->status, 404);
    assert_int_equal(ask(w, "GET /shop/shop.js", "127.0.0.1", "")->status, 404);
}

int main(void)
{
#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_WORLD(a_file_has_its_path_type_and_policy),
        WITH_WORLD(what_was_not_found_at_the_start_is_404),
        WITH_WORLD(known_bytes_are_not_sent_again_and_head_sends_none),
        WITH_WORLD(the_demo_session_goes_with_the_page_to_this_machine_alone),
        WITH_WORLD(a_gateway_that_others_can_reach_gives_no_session),
        WITH_WORLD(what_cannot_be_served_ends_the_start),
        WITH_WORLD(without_a_folder_there_is_no_page),
    };

    signal(SIGPIPE, SIG_IGN);
    log_start("files_test", LOG_ERROR);
    assert_true(sodium_init() >= 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
