/* connection_test.c - one connection: its requests, refusals, deadlines and ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <sodium.h>

#include "unit/http/world.h"

/* ---- answers and their order ---- */

static void pipelined_requests_are_answered_in_order(void **state)
{
    enum { COUNT = 50 }; /* the first 20 are more than one round takes */
    struct world *w = open_default();
    int fd = connect_to(w);
    char text[16], all[COUNT * 128] = "";

    (void)state;
    for (int i = 0; i < COUNT; i++)
        snprintf(all + strlen(all), sizeof all - strlen(all),
                 "PUT %s HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n%03d",
                 i % 3 == 1 && i > 20 ? "/later" : "/echo", i);
    say(fd, all);
    for (int i = 0; i < COUNT; i++) {
        snprintf(text, sizeof text, "%03d", i);
        expect_answer(w, fd, 200, text);
    }
    close(fd);
    close_world(w);
}

static void a_request_may_come_byte_by_byte(void **state)
{
    static const char BYTES_[] =
        "PUT /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3;a=b\r\nabc\r\n4\r\ndefg\r\n0\r\nX: y\r\n\r\n";
    struct world *w = open_default();
    int fd = connect_to(w);

    (void)state;
    for (int turn = 0; turn < 2; turn++) {
        for (size_t i = 0; i < sizeof BYTES_ - 1; i++)
            wire_send(fd, &BYTES_[i], 1);
        expect_answer(w, fd, 200, "abcdefg");
    }
    close(fd);
    close_world(w);
}

static void answers_have_a_date_their_fields_and_a_length(void **state)
{
    struct world *w = open_default();
    int fd = connect_to(w);

    (void)state;
    expect_served(w, fd, "/echo");
    assert_int_equal(strlen(header(w, "Date")), strlen("Sun, 06 Nov 1994 08:49:37 GMT"));
    assert_string_equal(header(w, "X-Field"), "of the answer");
    assert_string_equal(header(w, "Content-Length"), "6");
    assert_string_equal(header(w, "Connection"), "");
    close(fd);
    close_world(w);
}

static void head_204_and_304_have_no_body(void **state)
{
    struct world *w = open_default();
    int fd = connect_to(w);

    (void)state;
    ask(fd, "HEAD", "/echo", "12345");
    wire_read(fd, true, &w->answer);
    assert_int_equal(w->answer.status, 200);
    assert_string_equal(header(w, "Content-Length"), "5");
    ask(fd, "GET", "/204", "");
    wire_read(fd, false, &w->answer);
    assert_int_equal(w->answer.status, 204);
    assert_string_equal(header(w, "Content-Length"), "");
    ask(fd, "GET", "/304", "");
    wire_read(fd, false, &w->answer);
    assert_int_equal(w->answer.status, 304);
    assert_string_equal(header(w, "Content-Length"), "");
    expect_served(w, fd, "/echo"); /* nothing stood between it and the last head */
    ask(fd, "HEAD", "/%", "");
    wire_read(fd, true, &w->answer);
    assert_int_equal(w->answer.status, 400);
    expect_end(fd);
    close_world(w);
}

static void the_connection_ends_when_either_side_says_so(void **state)
{
    static const char *const REQUESTS[] = {
        "GET /echo HTTP/1.0\r\n\r\n",
        "GET /later HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "GET /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    };
    struct world *w = open_default();

    (void)state;
    for (size_t i = 0; i < sizeof REQUESTS / sizeof REQUESTS[0]; i++) {
        int fd = connect_to(w);
        say(fd, REQUESTS[i]);
        ask(fd, "GET", "/echo", ""); /* never answered */
        expect_answer(w, fd, 200, "");
        assert_string_equal(header(w, "Connection"), "close");
        expect_end(fd);
    }
    assert_int_equal(w->began, 3);
    close_world(w);
}

static void a_half_closed_client_still_gets_its_answers(void **state)
{
    struct world *w = open_default();
    int fd = connect_to(w);

    (void)state;
    ask(fd, "PUT", "/echo", "one");
    ask(fd, "PUT", "/later", "two");
    ask(fd, "PUT", "/held", "three");
    shutdown(fd, SHUT_WR);
    expect_answer(w, fd, 200, "one");
    expect_answer(w, fd, 200, "two");
    wait_held(w, 1);
    assert_int_equal(w->gone, 0);
    let_held_go(w);
    expect_answer(w, fd, 200, "three");
    expect_end(fd);
    close_world(w);
}

/* The server sees the end of what it says while the request is being handled. */
static void closing_the_sending_half_later_breaks_nothing(void **state)
{
    struct world *w = open_default();
    int fd = connect_to(w), other = connect_to(w);

    (void)state;
    ask(fd, "PUT", "/held", "kept");
    wait_held(w, 1);
    shutdown(fd, SHUT_WR);
    for (int i = 0; i < 2; i++) /* then that was seen */
        expect_served(w, other, "/echo");
    assert_int_equal(w->gone, 0);
    let_held_go(w);
    expect_answer(w, fd, 200, "kept");
    expect_end(fd);
    close(other);
    close_world(w);
}

static void a_faults_test_can_lose_an_answer(void **state)
{
    struct world *w = open_default();
    int fd = connect_to(w);

    (void)state;
    ask(fd, "GET", "/lost", "");
    expect_end(fd);
    close_world(w);
}

/* Room for what the handler keeps, and for no head of an answer. */
static void without_memory_the_prepared_answer_is_sent(void **state)
{
    struct http_server_config config = DEFAULTS;
    config.arena_max = 200;
    struct world *w = open_as(config);

    (void)state;
    for (int turn = 0; turn < 2; turn++) {
        int fd = connect_to(w);
        ask(fd, "PUT", turn == 0 ? "/echo" : "/later", "");
        expect_answer(w, fd, 503, NO_MEMORY_BODY);
        assert_string_equal(header(w, "Connection"), "close");
        expect_end(fd);
    }
    close_world(w);
}

static void an_answer_whose_memory_was_reserved_is_sent(void **state)
{
    struct world *w = open_default();
    int fd = connect_to(w);

    (void)state;
    ask(fd, "PUT", "/reserved", "kept");
    expect_answer(w, fd, 200, "kept");
    ask(fd, "PUT", "/full", "lost");
    expect_answer(w, fd, 503, NO_MEMORY_BODY);
    expect_end(fd);
    close_world(w);
}

/* ---- bodies ---- */

static void continue_is_sent_only_when_the_body_will_be_read(void **state)
{
    static const char HEAD[] =
        "PUT %s HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n%s\r\n"
        "\r\n%s";
    static const struct {
        const char *path, *framing, *at_once, *after;
        int status;
        const char *body;
        bool goes_on;
    } ROWS[] = {
        {"/echo", "Content-Length: 3", "", "abc", 200, "abc", true},
        {"/echo", "Transfer-Encoding: chunked", "", "3\r\nabc\r\n0\r\n\r\n", 200, "abc",
         true},
        {"/echo", "Content-Length: 3", "a", NULL, 200, "abc", true},
        {"/echo", "Content-Length: 0", "", NULL, 200, "", true},
        {"/refuse", "Content-Length: 3", "", NULL, 401, "no", false},
        {"/refuse", "Transfer-Encoding: chunked", "", NULL, 401, "no", false},
        {"/echo", "Content-Length: 1001", "", NULL, 413, "BODY_TOO_LARGE", false},
    };
    struct world *w = open_default();
    char text[512];

    (void)state;
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        int fd = connect_to(w);
        snprintf(text, sizeof text, HEAD, ROWS[i].path, ROWS[i].framing, ROWS[i].at_once);
        say(fd, text);
        if (ROWS[i].after != NULL) {
            expect_answer(w, fd, 100, "");
            say(fd, ROWS[i].after);
        } else if (ROWS[i].at_once[0] != '\0') {
            say(fd, "bc");
        }
        expect_answer(w, fd, ROWS[i].status, ROWS[i].body);
        if (ROWS[i].goes_on) {
            expect_served(w, fd, "/echo");
            close(fd);
        } else {
            expect_end(fd);
        }
    }
    close_world(w);
}

static void say_body(int fd, const char *path, size_t size, bool chunked)
{
    char text[256];

    snprintf(
        text, sizeof text,
        chunked
            ? "PUT %s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%zx\r\n"
            : "PUT %s HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n",
        path, size);
    say(fd, text);
    say_bytes(fd, 'x', size);
    if (chunked)
        say(fd, "\r\n0\r\n\r\n");
}

/* The connection goes on when the whole of a refused body could be read off. */
static void a_body_that_is_too_large_is_read_off_up_to_a_limit(void **state)
{
    static const struct {
        const char *path;
        size_t size;
        int status;
        bool goes_on;
    } ROWS[] = {
        {"/echo", BODY_MAX, 200, true},      {"/echo", BODY_MAX + 1, 413, true},
        {"/echo", DISCARD_MAX, 413, true},   {"/echo", DISCARD_MAX + 1, 413, false},
        {"/echo", 1 << 20, 413, false},      {"/refuse", 1, 401, true},
        {"/refuse", DISCARD_MAX, 401, true}, {"/refuse", DISCARD_MAX + 1, 401, false},
    };
    struct world *w = open_default();

    (void)state;
    for (size_t i = 0; i < 2 * sizeof ROWS / sizeof ROWS[0]; i++) {
        int fd = connect_to(w);
        say_body(fd, ROWS[i / 2].path, ROWS[i / 2].size, i % 2 == 1);
        wire_read(fd, false, &w->answer);
        assert_int_equal(w->answer.status, ROWS[i / 2].status);
        assert_string_equal(header(w, "Connection"), ROWS[i / 2].goes_on ? "" : "close");
        if (ROWS[i / 2].goes_on) {
            expect_served(w, fd, "/echo");
            close(fd);
        } else {
            expect_end(fd);
        }
    }
    close_world(w);
}

/* ---- refusals ---- */

static void a_refusal_is_one_answer_and_the_end(void **state)
{
    static const struct {
        const char *bytes;
        enum http_reason reason;
    } ROWS[] = {
        {"\x16\x03\x01", HTTP_REQUEST_LINE},
        {"GET / HTTP/2.0\r\n", HTTP_VERSION},
        {"GET / HTTP/1.1\r\n\r\n", HTTP_HOST_MISSING},
        {"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx",
         HTTP_CHUNK_SIZE},
        {"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab",
         HTTP_CHUNK_END},
        {"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;\r\n",
         HTTP_CHUNK_EXTENSION},
        {"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n \r\n",
         HTTP_TRAILER},
    };
    struct world *w = open_default();

    (void)state;
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        int fd = connect_to(w);
        ask(fd, "GET", "/echo", ""); /* one that is good before it is answered, too */
        say(fd, ROWS[i].bytes);
        expect_answer(w, fd, 200, "");
        expect_refusal(w, fd, ROWS[i].reason);
        assert_string_equal(header(w, "Connection"), "close");
        expect_end(fd);
    }
    close_world(w);
}

static void a_truncated_request_is_refused_as_incomplete(void **state)
{
    static const char *const CUT[] = {
        "G", "GET / HTTP/1.1\r\nHost: a\r\n", "\r\nGET",
        "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab",
        "PUT /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc"};
    static const char *const NOTHING[] = {"", "\r", "\r\n"};
    struct world *w = open_default();

    (void)state;
    for (size_t i = 0; i < sizeof CUT / sizeof CUT[0]; i++) {
        int fd = connect_to(w);
        say(fd, CUT[i]);
        shutdown(fd, SHUT_WR);
        expect_refusal(w, fd, HTTP_INCOMPLETE);
        expect_end(fd);
    }
    for (size_t i = 0; i < sizeof NOTHING / sizeof NOTHING[0]; i++) {
        int fd = connect_to(w);
        say(fd, NOTHING[i]);
        shutdown(fd, SHUT_WR);
        expect_end(fd);
    }
    close_world(w);
}

/* What was parsed last was another's. */
static void a_refusal_describes_its_own_request(void **state)
{
    struct world *w = open_default();
    int cut = connect_to(w), other = connect_to(w);

    (void)state;
    expect_served(w, cut, "/echo");
    say(cut, "GET /mine HTTP/1.1\r\nHost: a\r\n");
    /* The server has read that once it has answered a later event's request twice. */
    for (int i = 0; i < 2; i++)
        expect_served(w, other, "/echo");
    ask(other, "HEAD", "/theirs-and-a-long-one", "");
    wire_read(other, true, &w->answer);
    close(other);
    shutdown(cut, SHUT_WR);
    expect_refusal(w, cut, HTTP_INCOMPLETE);
    assert_string_equal(w->method, "GET");
    assert_string_equal(w->target, "/mine");
    expect_end(cut);
    close_world(w);
}

/* A reset would take the answer away before it is read (RFC 9112, 9.6). */
static void a_client_that_goes_on_sending_still_reads_its_refusal(void **state)
{
    struct world *w = open_default();

    (void)state;
    for (int turn = 0; turn < 3; turn++) {
        int fd = connect_to(w);
        say(fd,
            turn == 0 ? "GET /% HTTP/1.1\r\n" : "PUT /refuse HTTP/1.1\r\nHost: a\r\n");
        if (turn > 0)
            say(fd, turn == 1 ? "Content-Length: 100000000\r\n\r\n"
                              : "Transfer-Encoding: chunked\r\n\r\n4000000\r\n");
        say_bytes(fd, 'x', 4 << 20);
        wire_read(fd, false, &w->answer);
        assert_int_equal(w->answer.status, turn == 0 ? 400 : 401);
        expect_end(fd);
    }
    close_world(w);
}

/* ---- deadlines ---- */

static void a_head_has_a_deadline_from_its_first_byte_on(void **state)
{
    struct http_server_config config = DEFAULTS;
    config.head_timeout_ms = SHORT_MS;
    struct world *w = open_as(config);
    int fd = connect_to(w);
    struct pollfd p = {.fd = fd, .events = POLLIN};

    (void)state;
    expect_served(w, fd, "/echo");
    say(fd, "GET /slow HTTP/1.1\r\nX: ");
    do /* no byte puts it off */
        say(fd, "y");
    while (poll(&p, 1, 5) == 0);
    expect_refusal(w, fd, HTTP_TIMEOUT);
    assert_string_equal(w->method, "GET");
    assert_string_equal(w->target, "/slow");
    expect_end(fd);
    close_world(w);
}

static void a_body_has_a_deadline(void **state)
{
    struct http_server_config config = DEFAULTS;
    config.body_timeout_ms = SHORT_MS;
    struct world *w = open_as(config);
    int fd = connect_to(w), refused = connect_to(w);

    (void)state;
    say(fd, "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab");
    expect_refusal(w, fd, HTTP_TIMEOUT);
    expect_end(fd);
    say(refused, "PUT /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab");
    expect_answer(w, refused, 401, "no");
    expect_end(refused);
    close_world(w);
}

static void an_answer_has_a_deadline_and_a_request_being_handled_none(void **state)
{
    struct http_server_config config = DEFAULTS;
    config.answer_timeout_ms = config.body_timeout_ms = SHORT_MS;
    struct world *w = open_as(config);
    int unread = connect_to(w), held = connect_to(w);
    size_t size = 0;
    ssize_t got;

    (void)state;
    ask(held, "PUT", "/held", "waited");
    wait_held(w, 1);
    ask(unread, "GET", "/big", "");
    wait_for(w, &w->ended, 1);
    let_held_go(w);
    expect_answer(w, held, 200, "waited");
    close(held);
    while ((got = recv(unread, w->answer.text, sizeof w->answer.text, 0)) > 0)
        size += (size_t)got;
    assert_true(size < BIG);
    close(unread);
    close_world(w);
}

static void an_idle_connection_is_closed_without_an_answer(void **state)
{
    struct http_server_config config = DEFAULTS;
    config.idle_timeout_ms = config.head_timeout_ms = SHORT_MS;
    struct world *w = open_as(config);
    int fresh = connect_to(w), used = connect_to(w), blank = connect_to(w);

    (void)state;
    expect_served(w, used, "/echo");
    say(blank, "\r\n"); /* no request has begun */
    expect_end(fresh);
    expect_end(used);
    expect_end(blank);
    assert_int_equal(w->began, 1);
    close_world(w);
}

/* ---- clients that are slow, or break off ---- */

static void a_slow_reader_gets_everything_and_holds_nobody_up(void **state)
{
    struct world *w = open_default();
    int slow = connect_to(w), other = connect_to(w);
    size_t body = 0;
    ssize_t got;

    (void)state;
    ask(slow, "GET", "/big", "");
    wait_for(w, &w->began, 1);
    for (int i = 0; i < 3; i++)
        expect_served(w, other, "/later");
    wire_read(slow, true, &w->answer);
    assert_int_equal(w->answer.status, 200);
    while (body < BIG &&
           (got = recv(slow, w->answer.text, sizeof w->answer.text, 0)) > 0) {
        for (ssize_t i = 0; i < got; i++)
            assert_int_equal(w->answer.text[i], 'b');
        body += (size_t)got;
    }
    assert_int_equal(body, BIG);
    expect_served(w, slow, "/echo");
    close(slow);
    close(other);
    close_world(w);
}

static void a_client_may_break_off_at_any_point(void **state)
{
    static const char *const SAID[] = {
        "",
        "GE",
        "GET /echo HTTP/1.1\r\nHost: a\r\n",
        "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /echo HTTP/1.1\r\nHost: a\r\n\r\nGET /later HTTP/1.1\r\nHo",
        "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab",
        "PUT /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab",
        "PUT /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
        "GET /later HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /big HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /lost HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /% HTTP/1.1\r\n",
        "GET /echo HTTP/1.0\r\n\r\n",
    };
    struct world *w = open_default();

    (void)state;
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < sizeof SAID / sizeof SAID[0]; i++) {
            int fd = connect_to(w);
            say(fd, SAID[i]);
            if (round % 2 == 0)
                break_off(fd);
            else
                close(fd);
        }
        int fd = connect_to(w);
        expect_served(w, fd, "/later");
        close(fd);
    }
    close_world(w);
}

static void a_connection_lost_during_handling_is_reported(void **state)
{
    struct world *w = open_default();
    int fd = connect_to(w);

    (void)state;
    ask(fd, "PUT", "/held", "x");
    wait_held(w, 1);
    break_off(fd);
    wait_for(w, &w->gone, 1);
    assert_int_equal(w->ended, 0);
    assert_false(http_server_wait_idle(w->server, 0));
    let_held_go(w);
    wait_for(w, &w->ended, 1);
    close_world(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pipelined_requests_are_answered_in_order),
        cmocka_unit_test(a_request_may_come_byte_by_byte),
        cmocka_unit_test(answers_have_a_date_their_fields_and_a_length),
        cmocka_unit_test(head_204_and_304_have_no_body),
        cmocka_unit_test(the_connection_ends_when_either_side_says_so),
        cmocka_unit_test(a_half_closed_client_still_gets_its_answers),
        cmocka_unit_test(closing_the_sending_half_later_breaks_nothing),
        cmocka_unit_test(a_faults_test_can_lose_an_answer),
        cmocka_unit_test(without_memory_the_prepared_answer_is_sent),
        cmocka_unit_test(an_answer_whose_memory_was_reserved_is_sent),
        cmocka_unit_test(continue_is_sent_only_when_the_body_will_be_read),
        cmocka_unit_test(a_body_that_is_too_large_is_read_off_up_to_a_limit),
        cmocka_unit_test(a_refusal_is_one_answer_and_the_end),
        cmocka_unit_test(a_truncated_request_is_refused_as_incomplete),
        cmocka_unit_test(a_refusal_describes_its_own_request),
        cmocka_unit_test(a_client_that_goes_on_sending_still_reads_its_refusal),
        cmocka_unit_test(a_head_has_a_deadline_from_its_first_byte_on),
        cmocka_unit_test(a_body_has_a_deadline),
        cmocka_unit_test(an_answer_has_a_deadline_and_a_request_being_handled_none),
        cmocka_unit_test(an_idle_connection_is_closed_without_an_answer),
        cmocka_unit_test(a_slow_reader_gets_everything_and_holds_nobody_up),
        cmocka_unit_test(a_client_may_break_off_at_any_point),
        cmocka_unit_test(a_connection_lost_during_handling_is_reported),
    };

    log_start("test", LOG_ERROR);
    assert_true(sodium_init() >= 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
