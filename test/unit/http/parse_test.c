/*
 * parse_test.c - heads by the letter of RFC 9112, RFC 9110 and RFC 3986.
 *
 * Every row is parsed whole and as each of its prefixes: a prefix needs more bytes, or has
 * the verdict of the whole already.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/parse.h"
#include "unit/http/cases.h"

static const struct http_limits LIMITS = {
    .head = 512, .target = 64, .fields = 8, .body = 1000, .discard = 2000};

struct row {
    const char *bytes;
    size_t size;
    enum http_reason reason;
};

static bool reached[HTTP_REASONS_COUNT];

static enum http_reason parse(const char *bytes, size_t size, struct http_head *head)
{
    return http_parse(bytes, size, &LIMITS, head);
}

static void show(const char *bytes, size_t size, enum http_reason is,
                 enum http_reason wanted)
{
    for (size_t i = 0; i < size; i++)
        fprintf(stderr, bytes[i] >= ' ' && bytes[i] < 0x7f ? "%c" : "\\x%02x",
                (unsigned char)bytes[i]);
    fail_msg(": %zu bytes are %s in place of %s", size, reason_name(is),
             reason_name(wanted));
}

/* The verdict of the bytes, which no prefix contradicts. */
static void check(const char *bytes, size_t size, enum http_reason wanted)
{
    struct http_head head;

    for (size_t cut = 0; cut <= size; cut++) {
        char *copy = exact(bytes, cut);
        enum http_reason is = parse(copy, cut, &head);
        bool early = cut < size && is == HTTP_MORE;
        bool whole = is == wanted && (is != HTTP_OK || cut >= head.size);
        if (!early && !whole)
            show(bytes, cut, is, wanted);
        free(copy);
    }
    reached[wanted] = true;
}

static void check_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        check(rows[i].bytes, rows[i].size, rows[i].reason);
}

#define CHECK_ROWS(rows) check_rows(rows, sizeof(rows) / sizeof(rows)[0])

static void assert_text(struct http_text text, const char *wanted)
{
    if (text.size != strlen(wanted) || memcmp(text.at, wanted, text.size) != 0)
        fail_msg("\"%.*s\" in place of \"%s\"", (int)text.size, text.at, wanted);
}

/* ---- the request line ---- */

#define LINE(line) BYTES(line "\r\nHost: a\r\n\r\n")

static void a_request_line_is_method_target_and_version(void **state)
{
    static const struct row ROWS[] = {
        {LINE("GET / HTTP/1.1"), HTTP_OK},
        {LINE("GET / HTTP/1.0"), HTTP_OK},
        {LINE("GET / HTTP/1.9"), HTTP_OK}, /* as 1.1: RFC 9110, 2.5 */
        {LINE("M-SEARCH / HTTP/1.1"), HTTP_OK},
        {LINE("!#$%&'*+-.^_`|~09azAZ / HTTP/1.1"), HTTP_OK},
        {LINE("get / HTTP/1.1"), HTTP_OK},
        {LINE(""), HTTP_REQUEST_LINE},
        {LINE("GET"), HTTP_REQUEST_LINE},
        {LINE("GET "), HTTP_REQUEST_LINE},
        {LINE("GET /"), HTTP_REQUEST_LINE},
        {LINE("GET / "), HTTP_REQUEST_LINE},
        {LINE("GET  / HTTP/1.1"), HTTP_REQUEST_LINE},
        {LINE("GET /  HTTP/1.1"), HTTP_REQUEST_LINE},
        {LINE("GET / HTTP/1.1 "), HTTP_REQUEST_LINE},
        {LINE("GET /a b HTTP/1.1"), HTTP_REQUEST_LINE},
        {LINE("GET\t/ HTTP/1.1"), HTTP_REQUEST_LINE},
        {LINE(" GET / HTTP/1.1"), HTTP_REQUEST_LINE},
        {LINE("G(T / HTTP/1.1"), HTTP_REQUEST_LINE},
        {LINE("G\xc3\x89T / HTTP/1.1"), HTTP_REQUEST_LINE},
        {LINE("GET / http/1.1"), HTTP_REQUEST_LINE},
        {LINE("GET / HTTP/1"), HTTP_REQUEST_LINE},
        {LINE("GET / HTTP/1."), HTTP_REQUEST_LINE},
        {LINE("GET / HTTP/1.10"), HTTP_REQUEST_LINE},
        {LINE("GET / HTTP/1,1"), HTTP_REQUEST_LINE},
        {LINE("GET / HTTP/x.1"), HTTP_REQUEST_LINE},
        {LINE("GET / HTTPS/1.1"), HTTP_REQUEST_LINE},
        {LINE("GET / HTTP/0.9"), HTTP_VERSION},
        {LINE("GET / HTTP/2.0"), HTTP_VERSION},
        {LINE("PRI * HTTP/2.0"), HTTP_VERSION},
        {LINE("CONNECT a:443 HTTP/1.1"), HTTP_CONNECT},
        {LINE("CONNECT / HTTP/1.1"), HTTP_CONNECT},
        {LINE("connect / HTTP/1.1"), HTTP_OK},      /* methods have case: another one */
        {BYTES("\x16\x03\x01"), HTTP_REQUEST_LINE}, /* a TLS client, told at once */
        {BYTES("\0"), HTTP_REQUEST_LINE},
        {BYTES("\n"), HTTP_REQUEST_LINE},
        {BYTES(""), HTTP_MORE},
        {BYTES("G"), HTTP_MORE},
        {BYTES("\r"), HTTP_MORE},
        {BYTES("\r\n"), HTTP_MORE},
    };

    (void)state;
    CHECK_ROWS(ROWS);
}

static void one_empty_line_before_the_request_is_skipped(void **state)
{
    static const struct row ROWS[] = {
        {LINE("\r\nGET / HTTP/1.1"), HTTP_OK},
        {LINE("\r\n\r\nGET / HTTP/1.1"), HTTP_REQUEST_LINE},
        {LINE("\nGET / HTTP/1.1"), HTTP_REQUEST_LINE},
        {LINE("\rGET / HTTP/1.1"), HTTP_REQUEST_LINE},
        {LINE("\r\n GET / HTTP/1.1"), HTTP_REQUEST_LINE},
    };
    struct http_head head;

    (void)state;
    CHECK_ROWS(ROWS);
    assert_int_equal(parse(LINE("\r\nGET / HTTP/1.1"), &head), HTTP_OK);
    assert_int_equal(head.size, strlen("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"));
}

static void targets_follow_rfc_3986(void **state)
{
    static const struct row ROWS[] = {
        {LINE("GET /%41%7e%c3%A9?%00 HTTP/1.1"), HTTP_OK},
        {LINE("GET //a/../b/./ HTTP/1.1"), HTTP_OK},
        {LINE("GET /-._~!$&'()*+,;=:@?/?a=b&c HTTP/1.1"), HTTP_OK},
        {LINE("GET /? HTTP/1.1"), HTTP_OK},
        {LINE("GET /* HTTP/1.1"), HTTP_OK},
        {LINE("GET /% HTTP/1.1"), HTTP_TARGET_ENCODING},
        {LINE("GET /%4 HTTP/1.1"), HTTP_TARGET_ENCODING},
        {LINE("GET /%4g HTTP/1.1"), HTTP_TARGET_ENCODING},
        {LINE("GET /%g4 HTTP/1.1"), HTTP_TARGET_ENCODING},
        {LINE("GET /%%41 HTTP/1.1"), HTTP_TARGET_ENCODING},
        {LINE("GET /a?b=%zz HTTP/1.1"), HTTP_TARGET_ENCODING},
        {LINE("GET http://a/%4 HTTP/1.1"), HTTP_TARGET_ENCODING},
        {LINE("GET a HTTP/1.1"), HTTP_TARGET},
        {LINE("GET ?a HTTP/1.1"), HTTP_TARGET},
        {LINE("GET a:443 HTTP/1.1"), HTTP_TARGET},
        {LINE("GET /#top HTTP/1.1"), HTTP_TARGET},
        {LINE("GET /\" HTTP/1.1"), HTTP_TARGET},
        {LINE("GET /< HTTP/1.1"), HTTP_TARGET},
        {LINE("GET /\\ HTTP/1.1"), HTTP_TARGET},
        {LINE("GET /[ HTTP/1.1"), HTTP_TARGET},
        {LINE("GET /^ HTTP/1.1"), HTTP_TARGET},
        {LINE("GET /` HTTP/1.1"), HTTP_TARGET},
        {LINE("GET /{} HTTP/1.1"), HTTP_TARGET},
        {LINE("GET /| HTTP/1.1"), HTTP_TARGET},
        {LINE("GET /a\tb HTTP/1.1"), HTTP_TARGET},
        {LINE("GET /\xc3\xa9 HTTP/1.1"), HTTP_TARGET},
        {LINE("GET /a?\x80 HTTP/1.1"), HTTP_TARGET},
        {LINE("GET * HTTP/1.1"), HTTP_TARGET},
        {LINE("options * HTTP/1.1"), HTTP_TARGET},
        {LINE("OPTIONS ** HTTP/1.1"), HTTP_TARGET},
        {LINE("OPTIONS * HTTP/1.1"), HTTP_OK},
        {LINE("OPTIONS / HTTP/1.1"), HTTP_OK},
    };

    (void)state;
    CHECK_ROWS(ROWS);
}

static void every_form_of_a_target_has_its_parts(void **state)
{
    static const struct {
        const char *target, *path, *query, *host;
    } ROWS[] = {
        {"/", "/", "", "field.test"},
        {"/a/b", "/a/b", "", "field.test"},
        {"/a?b=c?d", "/a", "b=c?d", "field.test"},
        {"/?", "/", "", "field.test"},
        {"http://a.test", "", "", "a.test"}, /* RFC 9112, 3.2.4: as "*" */
        {"http://a.test/", "/", "", "a.test"},
        {"HTTP://A.test:8080/p?q", "/p", "q", "A.test:8080"},
        {"https://a.test?q", "/", "q", "a.test"},
        {"http://[::1]:80/x", "/x", "", "[::1]:80"},
        {"http://a.test/http://b.test/", "/http://b.test/", "", "a.test"},
        {"*", "", "", "field.test"},
    };
    struct http_head head;
    char bytes[256];

    (void)state;
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        int size =
            snprintf(bytes, sizeof bytes,
                     "OPTIONS %s HTTP/1.1\r\nHost: field.test\r\n\r\n", ROWS[i].target);
        check(bytes, (size_t)size, HTTP_OK);
        assert_int_equal(parse(bytes, (size_t)size, &head), HTTP_OK);
        assert_text(head.method, "OPTIONS");
        assert_text(head.target, ROWS[i].target);
        assert_text(head.path, ROWS[i].path);
        assert_text(head.query, ROWS[i].query);
        assert_text(head.host, ROWS[i].host);
        assert_int_equal(head.asterisk, ROWS[i].path[0] == '\0');
    }
    static const char GET[] = "GET http://a.test HTTP/1.1\r\nHost: field.test\r\n\r\n";
    assert_int_equal(parse(GET, sizeof GET - 1, &head), HTTP_OK);
    assert_text(head.path, "/");
    assert_false(head.asterisk);
}

/* What follows them is looked at all the same. */
static void an_absolute_target_names_an_http_server(void **state)
{
    static const struct row ROWS[] = {
        {LINE("GET http://a HTTP/1.1"), HTTP_OK},
        {LINE("GET http: HTTP/1.1"), HTTP_TARGET},
        {LINE("GET http:/a HTTP/1.1"), HTTP_TARGET},
        {LINE("GET http:// HTTP/1.1"), HTTP_TARGET},
        {LINE("GET https:// HTTP/1.1"), HTTP_TARGET},
        {LINE("GET http:///a HTTP/1.1"), HTTP_TARGET},
        {LINE("GET http://?a HTTP/1.1"), HTTP_TARGET},
        {LINE("GET http://:80/ HTTP/1.1"), HTTP_TARGET},
        {LINE("GET http://u@a/ HTTP/1.1"), HTTP_TARGET},
        {LINE("GET http://u:p@a/ HTTP/1.1"), HTTP_TARGET},
        {LINE("GET http://a:b/ HTTP/1.1"), HTTP_TARGET},
        {LINE("GET http://a/# HTTP/1.1"), HTTP_TARGET},
        {LINE("GET ftp://a/ HTTP/1.1"), HTTP_TARGET},
        {LINE("GET httpx://a/ HTTP/1.1"), HTTP_TARGET},
        {LINE("GET urn:a:b HTTP/1.1"), HTTP_TARGET},
        {BYTES("GET http://a/ HTTP/1.1\r\n\r\n"), HTTP_HOST_MISSING},
        {BYTES("GET http://a/ HTTP/1.1\r\nHost: u@b\r\n\r\n"), HTTP_HOST},
        {BYTES("GET http://a/ HTTP/1.0\r\n\r\n"), HTTP_OK},
    };

    (void)state;
    CHECK_ROWS(ROWS);
}

/* ---- Host ---- */

static void a_host_is_a_host_with_an_optional_port(void **state)
{
    static const struct {
        const char *host;
        enum http_reason reason;
    } ROWS[] = {
        {"a", HTTP_OK},
        {"shop.test:8443", HTTP_OK},
        {"shop.test.", HTTP_OK},
        {"a:", HTTP_OK}, /* RFC 3986, 3.2.3: a port may be empty */
        {"a:0", HTTP_OK},
        {"a:65535", HTTP_OK},
        {"a:00080", HTTP_OK},
        {"127.0.0.1:80", HTTP_OK},
        {"-._~!$&'()*+;=", HTTP_OK},
        {"%41%c3%A9", HTTP_OK},
        {"[::1]", HTTP_OK},
        {"[::1]:80", HTTP_OK},
        {"[::ffff:1.2.3.4]", HTTP_OK},
        {"[1111:2222:3333:4444:5555:6666:123.123.123.123]", HTTP_OK},
        {"[v1.a:b]", HTTP_OK},
        {"[VF.x]:1", HTTP_OK},
        {"", HTTP_HOST},
        {":80", HTTP_HOST},
        {"a:65536", HTTP_HOST},
        {"a:000080", HTTP_HOST},
        {"a:-1", HTTP_HOST},
        {"a:8 0", HTTP_HOST},
        {"a:80:80", HTTP_HOST},
        {"u@a", HTTP_HOST},
        {"a/b", HTTP_HOST},
        {"a, b", HTTP_HOST},
        {"a b", HTTP_HOST},
        {"a?b", HTTP_HOST},
        {"a#b", HTTP_HOST},
        {"a\\b", HTTP_HOST},
        {"a|b", HTTP_HOST},
        {"\xc3\xa9", HTTP_HOST},
        {"%4", HTTP_HOST},
        {"%4g", HTTP_HOST},
        {"%", HTTP_HOST},
        {"http://a", HTTP_HOST},
        {"::1", HTTP_HOST},
        {"[]", HTTP_HOST},
        {"[", HTTP_HOST},
        {"[::1", HTTP_HOST},
        {"[::1]a", HTTP_HOST},
        {"[::1]]", HTTP_HOST},
        {"[::g]", HTTP_HOST},
        {"[::1%25eth0]", HTTP_HOST},
        {"[1.2.3.4]", HTTP_HOST},
        {"[v.a]", HTTP_HOST},
        {"[v1]", HTTP_HOST},
        {"[v1.]", HTTP_HOST},
        {"[v1a]", HTTP_HOST},
        {"[vg.a]", HTTP_HOST},
        {"[v1.a/b]", HTTP_HOST},
        {"[11111111111111111111111111111111111111111111111]", HTTP_HOST},
    };
    char bytes[256];

    (void)state;
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        int size = snprintf(bytes, sizeof bytes, "GET / HTTP/1.1\r\nHost:%s\r\n\r\n",
                            ROWS[i].host);
        check(bytes, (size_t)size, ROWS[i].reason);
    }
}

#define HEAD(fields)   BYTES("PUT / HTTP/1.1\r\n" fields "\r\n")
#define HOSTED(fields) HEAD("Host: a\r\n" fields)

static void a_request_has_one_host(void **state)
{
    static const struct row ROWS[] = {
        {HEAD(""), HTTP_HOST_MISSING},
        {HEAD("Hos: a\r\n"), HTTP_HOST_MISSING},
        {HEAD("hOsT: a\r\n"), HTTP_OK},
        {HEAD("Host: a\r\nHost: a\r\n"), HTTP_HOST_TWICE},
        {HEAD("Host: a\r\nX: y\r\nhost: b\r\n"), HTTP_HOST_TWICE},
        {BYTES("GET / HTTP/1.0\r\n\r\n"), HTTP_OK},
        {BYTES("GET / HTTP/1.0\r\nHost: a b\r\n\r\n"), HTTP_HOST},
        {BYTES("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"), HTTP_HOST_TWICE},
    };

    (void)state;
    CHECK_ROWS(ROWS);
}

/* ---- lines and fields ---- */

static void lines_end_with_crlf_and_are_never_folded(void **state)
{
    static const struct row ROWS[] = {
        {BYTES("GET / HTTP/1.1\nHost: a\r\n\r\n"), HTTP_LINE_END},
        {BYTES("GET / HTTP/1.1\rHost: a\r\n\r\n"), HTTP_LINE_END},
        {BYTES("GET / HTTP/1.1\r\r\nHost: a\r\n\r\n"), HTTP_LINE_END},
        {HOSTED("X: y\n"), HTTP_LINE_END},
        {HOSTED("X: y\r z\r\n"), HTTP_LINE_END},
        {HOSTED("X: y\r\r\n"), HTTP_LINE_END},
        {HOSTED("\n"), HTTP_LINE_END},
        {HOSTED("X: y\r\n z\r\n"), HTTP_FOLDED},
        {HOSTED("X: y\r\n\tz\r\n"), HTTP_FOLDED},
        {HOSTED(" X: y\r\n"), HTTP_FOLDED},
        {HEAD(" Host: a\r\n"), HTTP_FOLDED},
        {HEAD(" \r\n"), HTTP_FOLDED},
    };

    (void)state;
    CHECK_ROWS(ROWS);
}

/* Wherever it stands but for HTAB in a value. */
static void no_control_character_is_let_through(void **state)
{
    char bytes[] = "GET / HTTP/1.1\r\nHost: a\r\nX: a?b\r\n\r\n";
    char *mark = strchr(bytes, '?');

    (void)state;
    for (int c = 0; c < 256; c++) {
        enum http_reason wanted = HTTP_OK;
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            wanted = c == '\r' || c == '\n' ? HTTP_LINE_END : HTTP_CONTROL;
        *mark = (char)c;
        check(bytes, sizeof bytes - 1, wanted);
    }
    check(BYTES("G\x01T / HTTP/1.1\r\n\r\n"), HTTP_CONTROL);
    check(BYTES("GET /\x7f HTTP/1.1\r\n\r\n"), HTTP_CONTROL);
    check(HOSTED("X\0: y\r\n"), HTTP_CONTROL);
}

/* RFC 9110, 5.6.2, byte by byte. */
static void a_name_is_a_token_directly_before_its_colon(void **state)
{
    static const char TOKEN[] = "!#$%&'*+-.^_`|~0123456789"
                                "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    static const struct row ROWS[] = {
        {HOSTED("X:\r\n"), HTTP_OK},
        {HOSTED("X::y\r\n"), HTTP_OK},
        {HOSTED(": y\r\n"), HTTP_FIELD_NAME},
        {HOSTED("X\r\n"), HTTP_FIELD_NAME},
        {HOSTED("X : y\r\n"), HTTP_FIELD_NAME},
        {HOSTED("X\t: y\r\n"), HTTP_FIELD_NAME},
        {HOSTED("X Y: z\r\n"), HTTP_FIELD_NAME},
    };
    char bytes[] = "GET / HTTP/1.1\r\nHost: a\r\nX?Y: z\r\n\r\n";
    char *mark = strchr(bytes, '?');

    (void)state;
    CHECK_ROWS(ROWS);
    for (int c = 0x21; c < 256; c++) {
        bool token = strchr(TOKEN, c) != NULL;
        assert_int_equal(http_token_byte((unsigned char)c), token);
        if (c == 0x7f || c == ':')
            continue;
        *mark = (char)c;
        check(bytes, sizeof bytes - 1, token ? HTTP_OK : HTTP_FIELD_NAME);
    }
}

static void fields_come_in_order_and_without_the_blanks_around_values(void **state)
{
    static const char BYTES_[] = "GET / HTTP/1.1\r\nHost: a\r\nOne: \t x y \t\r\n"
                                 "two:\xc3\xa9\xff\r\nThree: \r\nOne:z\r\n\r\nbody";
    struct http_head head;

    (void)state;
    assert_int_equal(parse(BYTES(BYTES_), &head), HTTP_OK);
    assert_int_equal(head.count, 5);
    assert_text(head.fields[0].name, "Host");
    assert_text(head.fields[1].name, "One");
    assert_text(head.fields[1].value, "x y");
    assert_text(head.fields[2].name, "two");
    assert_text(head.fields[2].value, "\xc3\xa9\xff");
    assert_text(head.fields[3].value, "");
    assert_text(head.fields[4].value, "z");
    assert_int_equal(head.size, sizeof BYTES_ - 1 - strlen("body"));
    assert_int_equal(head.length, -1);
    assert_false(head.chunked || head.close || head.expects_continue || head.http_1_0);
}

/* ---- where the body ends ---- */

static void exactly_one_rule_says_where_the_body_ends(void **state)
{
    static const struct row ROWS[] = {
        {HOSTED("Content-Length: 0\r\n"), HTTP_OK},
        {HOSTED("content-LENGTH:007\r\n"), HTTP_OK},
        {HOSTED("Content-Length: 999999999999999999\r\n"), HTTP_OK},
        {HOSTED("Content-Length: 99999999999999999999999999\r\n"), HTTP_OK},
        {HOSTED("Content-Length:\r\n"), HTTP_LENGTH},
        {HOSTED("Content-Length: +5\r\n"), HTTP_LENGTH},
        {HOSTED("Content-Length: -5\r\n"), HTTP_LENGTH},
        {HOSTED("Content-Length: 0x5\r\n"), HTTP_LENGTH},
        {HOSTED("Content-Length: 5 5\r\n"), HTTP_LENGTH},
        {HOSTED("Content-Length: 5, 5\r\n"), HTTP_LENGTH},
        {HOSTED("Content-Length: 5,\r\n"), HTTP_LENGTH},
        {HOSTED("Content-Length: 1e3\r\n"), HTTP_LENGTH},
        {HOSTED("Content-Length: \xb2\r\n"), HTTP_LENGTH},
        {HOSTED("Content-Length: 5\r\nContent-Length: 5\r\n"), HTTP_LENGTH_TWICE},
        {HOSTED("Content-Length: 0\r\ncontent-length: x\r\n"), HTTP_LENGTH_TWICE},
        {HOSTED("Content-Length : 5\r\n"), HTTP_FIELD_NAME},
        {HOSTED("Transfer-Encoding: chunked\r\n"), HTTP_OK},
        {HOSTED("transfer-encoding:CHUNKED\r\n"), HTTP_OK},
        {HOSTED("Transfer-Encoding:\tchunked\t\r\n"), HTTP_OK},
        {HOSTED("Transfer-Encoding:\r\n"), HTTP_ENCODING_NOT_LAST},
        {HOSTED("Transfer-Encoding: gzip\r\n"), HTTP_ENCODING_NOT_LAST},
        {HOSTED("Transfer-Encoding: identity\r\n"), HTTP_ENCODING_NOT_LAST},
        {HOSTED("Transfer-Encoding: xchunked\r\n"), HTTP_ENCODING_NOT_LAST},
        {HOSTED("Transfer-Encoding: chunkedx\r\n"), HTTP_ENCODING_NOT_LAST},
        {HOSTED("Transfer-Encoding: chunke\r\n"), HTTP_ENCODING_NOT_LAST},
        {HOSTED("Transfer-Encoding: chunked;a=b\r\n"), HTTP_ENCODING_NOT_LAST},
        {HOSTED("Transfer-Encoding: \"chunked\"\r\n"), HTTP_ENCODING_NOT_LAST},
        {HOSTED("Transfer-Encoding: chunked, gzip\r\n"), HTTP_ENCODING_NOT_LAST},
        {HOSTED("Transfer-Encoding: gzip, chunked\r\n"), HTTP_ENCODING_UNKNOWN},
        {HOSTED("Transfer-Encoding: chunked, chunked\r\n"), HTTP_ENCODING_UNKNOWN},
        {HOSTED("Transfer-Encoding: ,chunked\r\n"), HTTP_ENCODING_UNKNOWN},
        {HOSTED("Transfer-Encoding: chunked,\r\n"), HTTP_ENCODING_UNKNOWN},
        {HOSTED("Transfer-Encoding: chunked ,\r\n"), HTTP_ENCODING_UNKNOWN},
        {HOSTED("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
         HTTP_ENCODING_TWICE},
        {HOSTED("Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n"),
         HTTP_ENCODING_TWICE},
        {HOSTED("Transfer-Encoding : chunked\r\n"), HTTP_FIELD_NAME},
        {HOSTED("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
         HTTP_LENGTH_AND_ENCODING},
        {HOSTED("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n"),
         HTTP_LENGTH_AND_ENCODING},
        {BYTES("PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
         HTTP_ENCODING_IN_1_0},
        {BYTES("PUT / HTTP/1.0\r\nContent-Length: 5\r\n\r\n"), HTTP_OK},
    };

    (void)state;
    CHECK_ROWS(ROWS);
}

static void the_framing_is_what_the_fields_say(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        int64_t length;
        bool chunked, close, waits;
    } ROWS[] = {
        {HOSTED(""), -1, false, false, false},
        {HOSTED("Content-Length: 007\r\n"), 7, false, false, false},
        {HOSTED("Content-Length: 999999999999999999\r\n"), INT64_C(999999999999999999),
         false, false, false},
        {HOSTED("Content-Length: 1000000000000000000\r\n"), INT64_MAX, false, false,
         false},
        {HOSTED("Transfer-Encoding: chunked\r\n"), -1, true, false, false},
        {HOSTED("Connection: close\r\n"), -1, false, true, false},
        {HOSTED("Connection: keep-alive\r\n"), -1, false, false, false},
        {HOSTED("Connection: x,\t Close , y\r\n"), -1, false, true, false},
        {HOSTED("Connection: x\r\nConnection: close\r\n"), -1, false, true, false},
        {HOSTED("Connection: closed, not-close\r\n"), -1, false, false, false},
        {HOSTED("Expect: 100-Continue\r\n"), -1, false, false, true},
        {BYTES("PUT / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n"), -1, false, true, false},
        {BYTES("PUT / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), -1, false, true,
         false},
    };
    struct http_head head;

    (void)state;
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        assert_int_equal(parse(ROWS[i].bytes, ROWS[i].size, &head), HTTP_OK);
        assert_true(head.length == ROWS[i].length);
        assert_int_equal(head.chunked, ROWS[i].chunked);
        assert_int_equal(head.close, ROWS[i].close);
        assert_int_equal(head.expects_continue, ROWS[i].waits);
    }
}

static void no_expectation_but_100_continue_is_met(void **state)
{
    static const struct row ROWS[] = {
        {HOSTED("Expect: 100-continue\r\n"), HTTP_OK},
        {HOSTED("Expect:\r\n"), HTTP_EXPECTATION},
        {HOSTED("Expect: 200-ok\r\n"), HTTP_EXPECTATION},
        {HOSTED("Expect: 100-continue, x\r\n"), HTTP_EXPECTATION},
        {BYTES("PUT / HTTP/1.0\r\nExpect: x\r\n\r\n"), HTTP_OK}, /* RFC 9110, 10.1.1 */
    };

    (void)state;
    CHECK_ROWS(ROWS);
}

/* ---- limits ---- */

static size_t put(char *out, size_t at, const char *text)
{
    size_t size = strlen(text);

    memcpy(out + at, text, size);
    return at + size;
}

static size_t put_many(char *out, size_t at, char byte, size_t count)
{
    memset(out + at, byte, count);
    return at + count;
}

static void each_limit_is_kept_to_the_byte(void **state)
{
    char bytes[1024];

    (void)state;
    for (size_t more = 0; more <= 1; more++) {
        size_t size = put(bytes, 0, "GET /");
        size = put_many(bytes, size, 'a', LIMITS.target - 1 + more);
        size = put(bytes, size, " HTTP/1.1\r\nHost: a\r\n\r\n");
        check(bytes, size, more == 0 ? HTTP_OK : HTTP_TARGET_TOO_LONG);

        size = put(bytes, 0, "GET / HTTP/1.1\r\nHost: a\r\n");
        for (size_t i = 1; i < LIMITS.fields + more; i++)
            size = put(bytes, size, "X: y\r\n");
        size = put(bytes, size, "\r\n");
        check(bytes, size, more == 0 ? HTTP_OK : HTTP_TOO_MANY_FIELDS);

        size = put(bytes, 0, "GET / HTTP/1.1\r\nHost: a\r\nX: ");
        size = put_many(bytes, size, 'a', LIMITS.head - size - 4 + more);
        size = put(bytes, size, "\r\n\r\n");
        assert_int_equal(size, LIMITS.head + more);
        check(bytes, size, more == 0 ? HTTP_OK : HTTP_HEAD_TOO_LARGE);
    }
    /* A first line without an end has only a target that can be so long. */
    size_t size = put_many(bytes, put(bytes, 0, "GET /"), 'a', LIMITS.head - 5);
    check(bytes, size - 1, HTTP_MORE);
    check(bytes, size, HTTP_TARGET_TOO_LONG);
}

/* RFC 9110, 9.3.2: whoever sent HEAD gets no content, with a refusal neither. */
static void the_method_is_set_once_it_was_read(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        const char *method, *target;
    } ROWS[] = {
        {LINE("HEAD /% HTTP/1.1"), "HEAD", ""},
        {LINE("HEAD / HTTP/2.0"), "HEAD", ""},
        {LINE("HEAD / x HTTP/1.1"), "HEAD", ""},
        {BYTES("HEAD / HTTP/1.1\r\nX y\r\n"), "HEAD", "/"},
        {BYTES("HEAD / HTTP/1.1\r\nX"), "HEAD", "/"},
        {BYTES("HEAD / HTT"), "HEAD", ""},
        {BYTES("HEAD"), "", ""},
        {LINE("HE(D / HTTP/1.1"), "", ""},
    };
    char bytes[1024];
    struct http_head head;

    (void)state;
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        assert_int_not_equal(parse(ROWS[i].bytes, ROWS[i].size, &head), HTTP_OK);
        assert_text(head.method, ROWS[i].method);
        assert_text(head.target, ROWS[i].target);
    }
    size_t size = put_many(bytes, put(bytes, 0, "HEAD /"), 'a', LIMITS.target);
    size = put(bytes, size, " HTTP/1.1\r\n");
    assert_int_equal(parse(bytes, size, &head), HTTP_TARGET_TOO_LONG);
    assert_text(head.method, "HEAD");
}

/* ---- all of it ---- */

static void every_reason_that_a_head_can_have_was_reached(void **state)
{
    (void)state;
    for (int r = HTTP_OK; r <= HTTP_EXPECTATION; r++)
        if (!reached[r] && r != HTTP_INCOMPLETE && r != HTTP_TIMEOUT)
            fail_msg("no row has %s", reason_name((enum http_reason)r));
}

static void every_reason_has_a_status_and_a_sentence_with_its_limit(void **state)
{
    char sentence[160], number[32], cut[8];

    (void)state;
    for (int r = HTTP_MORE + 1; r < HTTP_REASONS_COUNT; r++) {
        enum http_reason reason = (enum http_reason)r;
        size_t limit = reason == HTTP_TARGET_TOO_LONG        ? LIMITS.target
                       : reason == HTTP_TOO_MANY_FIELDS      ? LIMITS.fields
                       : reason == HTTP_HEAD_TOO_LARGE       ? LIMITS.head
                       : reason == HTTP_BODY_TOO_LARGE       ? LIMITS.body
                       : reason == HTTP_TOO_MANY_CONNECTIONS ? 4321
                                                             : 0;
        assert_true(http_reason_status(reason) >= 400 &&
                    http_reason_status(reason) <= 599);
        assert_true(http_reason_ends(reason) || reason == HTTP_BODY_TOO_LARGE);
        http_reason_sentence(reason, &LIMITS, 4321, sentence, sizeof sentence);
        assert_true(strlen(sentence) > 10 && strlen(sentence) < sizeof sentence - 1);
        assert_int_equal(sentence[strlen(sentence) - 1] == '.', 1);
        assert_null(strstr(sentence, "%z"));
        snprintf(number, sizeof number, " %zu ", limit);
        if (limit > 0)
            assert_non_null(strstr(sentence, number));
        http_reason_sentence(reason, &LIMITS, 4321, cut, sizeof cut);
        assert_int_equal(strlen(cut), sizeof cut - 1);
        assert_memory_equal(cut, sentence, sizeof cut - 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_line_is_method_target_and_version),
        cmocka_unit_test(one_empty_line_before_the_request_is_skipped),
        cmocka_unit_test(targets_follow_rfc_3986),
        cmocka_unit_test(every_form_of_a_target_has_its_parts),
        cmocka_unit_test(an_absolute_target_names_an_http_server),
        cmocka_unit_test(a_host_is_a_host_with_an_optional_port),
        cmocka_unit_test(a_request_has_one_host),
        cmocka_unit_test(lines_end_with_crlf_and_are_never_folded),
        cmocka_unit_test(no_control_character_is_let_through),
        cmocka_unit_test(a_name_is_a_token_directly_before_its_colon),
        cmocka_unit_test(fields_come_in_order_and_without_the_blanks_around_values),
        cmocka_unit_test(exactly_one_rule_says_where_the_body_ends),
        cmocka_unit_test(the_framing_is_what_the_fields_say),
        cmocka_unit_test(no_expectation_but_100_continue_is_met),
        cmocka_unit_test(each_limit_is_kept_to_the_byte),
        cmocka_unit_test(the_method_is_set_once_it_was_read),
        cmocka_unit_test(every_reason_that_a_head_can_have_was_reached),
        cmocka_unit_test(every_reason_has_a_status_and_a_sentence_with_its_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
