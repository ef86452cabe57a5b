/*
 * body_test.c - bodies by Content-Length and in chunks (RFC 9112, 6.2 and 7.1).
 *
 * Every row is taken whole, byte by byte and in pieces of three: the data, the verdict and
 * the place where the body ends are the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/body.h"
#include "unit/http/cases.h"

static bool reached[HTTP_REASONS_COUNT];

struct taken {
    char data[32768];
    size_t size; /* of the data */
    size_t used; /* bytes of the body as it came, up to the verdict */
    enum http_reason reason;
};

/* Takes the bytes in pieces of `step` at most. */
static void take(struct http_body body, const char *bytes, size_t size, size_t step,
                 struct taken *out)
{
    *out = (struct taken){.reason = HTTP_MORE};
    /* A body of none is complete before any byte. */
    do {
        size_t piece = size - out->used < step ? size - out->used : step, used = 0;
        char *copy = exact(bytes + out->used, piece);
        struct http_text data;
        out->reason = http_body_take(&body, copy, piece, &used, &data);
        assert_true(used <= piece && data.size <= used);
        assert_true(data.size == 0 ||
                    (data.at >= copy && data.at + data.size <= copy + used));
        assert_true(out->size + data.size <= sizeof out->data);
        memcpy(out->data + out->size, data.at, data.size);
        out->size += data.size;
        out->used += used;
        free(copy);
        if (piece > 0 && used == 0)
            assert_int_not_equal(out->reason, HTTP_MORE);
    } while (out->reason == HTTP_MORE && out->used < size);
}

static void check(const struct http_head *head, const char *bytes, size_t size,
                  enum http_reason reason, const char *data)
{
    static struct taken whole, pieces;
    static const size_t STEPS[] = {1, 3};

    take(http_body_start(head), bytes, size, size > 0 ? size : 1, &whole);
    if (whole.reason != reason)
        fail_msg("%.*s is %s in place of %s", (int)size, bytes, reason_name(whole.reason),
                 reason_name(reason));
    if (data != NULL) {
        assert_int_equal(whole.size, strlen(data));
        assert_memory_equal(whole.data, data, whole.size);
    }
    for (size_t i = 0; i < sizeof STEPS / sizeof STEPS[0]; i++) {
        take(http_body_start(head), bytes, size, STEPS[i], &pieces);
        assert_int_equal(pieces.reason, whole.reason);
        assert_int_equal(pieces.used, whole.used);
        assert_int_equal(pieces.size, whole.size);
        assert_memory_equal(pieces.data, whole.data, whole.size);
    }
    reached[reason] = true;
}

static const struct http_head CHUNKED = {.chunked = true, .length = -1};

struct row {
    const char *bytes;
    size_t size;
    enum http_reason reason;
    const char *data; /* NULL: whatever came before it was refused */
};

static void check_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        check(&CHUNKED, rows[i].bytes, rows[i].size, rows[i].reason, rows[i].data);
}

#define CHECK_ROWS(rows) check_rows(rows, sizeof(rows) / sizeof(rows)[0])

/* ---- by Content-Length ---- */

static void a_length_is_kept_to_the_byte(void **state)
{
    struct http_head none = {.length = -1}, zero = {.length = 0}, three = {.length = 3};
    struct http_head endless = {.length = INT64_MAX};
    static struct taken taken;

    (void)state;
    check(&none, BYTES(""), HTTP_OK, "");
    check(&none, BYTES("GET"), HTTP_OK, "");
    check(&zero, BYTES("GET"), HTTP_OK, "");
    check(&three, BYTES(""), HTTP_MORE, "");
    check(&three, BYTES("ab"), HTTP_MORE, "ab");
    check(&three, BYTES("abc"), HTTP_OK, "abc");
    check(&three, BYTES("abcGET"), HTTP_OK, "abc");
    check(&endless, BYTES("abc"), HTTP_MORE, "abc");
    take(http_body_start(&three), BYTES("abcGET"), 6, &taken);
    assert_int_equal(taken.used, 3);
}

/* ---- in chunks ---- */

static void chunks_are_put_together(void **state)
{
    static const struct row ROWS[] = {
        {BYTES("0\r\n\r\n"), HTTP_OK, ""},
        {BYTES("3\r\nabc\r\n0\r\n\r\n"), HTTP_OK, "abc"},
        {BYTES("1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"), HTTP_OK, "abc"},
        {BYTES("003\r\nabc\r\n000\r\n\r\n"), HTTP_OK, "abc"},
        {BYTES("a\r\n0123456789\r\n0\r\n\r\n"), HTTP_OK, "0123456789"},
        {BYTES("A\r\n0123456789\r\n0\r\n\r\n"), HTTP_OK, "0123456789"},
        {BYTES("10\r\n0123456789abcdef\r\n0\r\n\r\n"), HTTP_OK, "0123456789abcdef"},
        {BYTES("4\r\n\r\n\r\n\r\n0\r\n\r\n"), HTTP_OK, "\r\n\r\n"},
        {BYTES("5\r\n0\r\n\r\n\r\n0\r\n\r\n"), HTTP_OK, "0\r\n\r\n"},
        {BYTES("3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\n"), HTTP_OK, "abc"},
        {BYTES(""), HTTP_MORE, ""},
        {BYTES("3"), HTTP_MORE, ""},
        {BYTES("3\r"), HTTP_MORE, ""},
        {BYTES("3\r\nab"), HTTP_MORE, "ab"},
        {BYTES("3\r\nabc"), HTTP_MORE, "abc"},
        {BYTES("3\r\nabc\r\n"), HTTP_MORE, "abc"},
        {BYTES("0\r\n"), HTTP_MORE, ""},
        {BYTES("0\r\n\r"), HTTP_MORE, ""},
    };
    static struct taken taken;

    (void)state;
    CHECK_ROWS(ROWS);
    take(http_body_start(&CHUNKED), BYTES("1\r\na\r\n0\r\n\r\nGET"), 64, &taken);
    assert_int_equal(taken.used, strlen("1\r\na\r\n0\r\n\r\n"));
}

static void a_chunk_begins_with_its_size(void **state)
{
    static const struct row ROWS[] = {
        {BYTES("\r\n"), HTTP_CHUNK_SIZE, ""},
        {BYTES("g\r\n"), HTTP_CHUNK_SIZE, ""},
        {BYTES("/\r\n"), HTTP_CHUNK_SIZE, ""},
        {BYTES(":\r\n"), HTTP_CHUNK_SIZE, ""},
        {BYTES("@\r\n"), HTTP_CHUNK_SIZE, ""},
        {BYTES("\x11\r\n"), HTTP_CHUNK_SIZE, ""}, /* '1' without its bit of 0x20 */
        {BYTES("\xb1\r\n"), HTTP_CHUNK_SIZE, ""},
        {BYTES("-1\r\n"), HTTP_CHUNK_SIZE, ""},
        {BYTES("+1\r\n"), HTTP_CHUNK_SIZE, ""},
        {BYTES("0x1\r\n"), HTTP_CHUNK_SIZE, ""},
        {BYTES(" 1\r\n"), HTTP_CHUNK_SIZE, ""},
        {BYTES("1h\r\n"), HTTP_CHUNK_SIZE, ""},
        {BYTES("1,\r\n"), HTTP_CHUNK_SIZE, ""},
        {BYTES("1\n"), HTTP_CHUNK_SIZE, ""},
        {BYTES("1\ra"), HTTP_CHUNK_SIZE, ""},
        {BYTES("1\r\r\n"), HTTP_CHUNK_SIZE, ""},
        {BYTES(";a\r\n"), HTTP_CHUNK_SIZE, ""},
        {BYTES("1\r\na\r\n\r\n"), HTTP_CHUNK_SIZE, "a"},
        {BYTES("fffffffffffffff\r\nabc"), HTTP_MORE, "abc"}, /* less than 2^60 */
        {BYTES("0fffffffffffffff\r\n"), HTTP_CHUNK_SIZE, ""},
        {BYTES("7fffffffffffffff\r\n"), HTTP_CHUNK_SIZE, ""},
        {BYTES("ffffffffffffffff\r\n"), HTTP_CHUNK_SIZE, ""},
        {BYTES("10000000000000001\r\n"), HTTP_CHUNK_SIZE, ""},
        {BYTES("0000000000000000\r\n"), HTTP_CHUNK_SIZE, ""},
    };

    (void)state;
    CHECK_ROWS(ROWS);
}

static void a_chunk_ends_with_crlf(void **state)
{
    static const struct row ROWS[] = {
        {BYTES("1\r\nab"), HTTP_CHUNK_END, "a"},
        {BYTES("1\r\na\n"), HTTP_CHUNK_END, "a"},
        {BYTES("1\r\na0\r\n"), HTTP_CHUNK_END, "a"},
        {BYTES("1\r\na\r0"), HTTP_CHUNK_END, "a"},
        {BYTES("1\r\na\r\r\n"), HTTP_CHUNK_END, "a"},
    };

    (void)state;
    CHECK_ROWS(ROWS);
}

#define EXTENDED(extension) BYTES("1" extension "\r\na\r\n0\r\n\r\n")

/* chunk-ext = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] ) */
static void extensions_are_checked_and_dropped(void **state)
{
    static const struct row ROWS[] = {
        {EXTENDED(";a"), HTTP_OK, "a"},
        {EXTENDED(";a=b"), HTTP_OK, "a"},
        {EXTENDED(";a;b;c=d"), HTTP_OK, "a"},
        {EXTENDED(" ;a"), HTTP_OK, "a"},
        {EXTENDED("\t ; \ta"), HTTP_OK, "a"},
        {EXTENDED(";a = b ;c"), HTTP_OK, "a"},
        {EXTENDED(";a\t=\t\"b\" ; c"), HTTP_OK, "a"},
        {EXTENDED(";a=\"\""), HTTP_OK, "a"},
        {EXTENDED(";a=\"b;c=d\""), HTTP_OK, "a"},
        {EXTENDED(";a=\"\\\"\\\\\\b\t \xc3\xa9\";b"), HTTP_OK, "a"},
        {EXTENDED(";!#$%&'*+-.^_`|~09azAZ=!x"), HTTP_OK, "a"},
        {BYTES("0;a=b\r\n\r\n"), HTTP_OK, ""},
        {EXTENDED(";"), HTTP_CHUNK_EXTENSION, ""},
        {EXTENDED("; "), HTTP_CHUNK_EXTENSION, ""},
        {EXTENDED(" "), HTTP_CHUNK_EXTENSION, ""},
        {EXTENDED("\t"), HTTP_CHUNK_EXTENSION, ""},
        {EXTENDED(" a"), HTTP_CHUNK_EXTENSION, ""},
        {EXTENDED(";;a"), HTTP_CHUNK_EXTENSION, ""},
        {EXTENDED(";a;"), HTTP_CHUNK_EXTENSION, ""},
        {EXTENDED(";=b"), HTTP_CHUNK_EXTENSION, ""},
        {EXTENDED(";a="), HTTP_CHUNK_EXTENSION, ""},
        {EXTENDED(";a=;b"), HTTP_CHUNK_EXTENSION, ""},
        {EXTENDED(";a "), HTTP_CHUNK_EXTENSION, ""},
        {EXTENDED(";a=b "), HTTP_CHUNK_EXTENSION, ""},
        {EXTENDED(";a b"), HTTP_CHUNK_EXTENSION, ""},
        {EXTENDED(";a=b c"), HTTP_CHUNK_EXTENSION, ""},
        {EXTENDED(";a=b=c"), HTTP_CHUNK_EXTENSION, ""},
        {EXTENDED(";a=b\"c\""), HTTP_CHUNK_EXTENSION, ""},
        {EXTENDED(";a=\"b"), HTTP_CHUNK_EXTENSION, ""},
        {EXTENDED(";a=\"b\\\""), HTTP_CHUNK_EXTENSION, ""},
        {EXTENDED(";a=\"b\\"), HTTP_CHUNK_EXTENSION, ""},
        {EXTENDED(";a=\"b\"c"), HTTP_CHUNK_EXTENSION, ""},
        {EXTENDED(";a=\"b\"=c"), HTTP_CHUNK_EXTENSION, ""},
        {EXTENDED(";a=\"\x7f\""), HTTP_CHUNK_EXTENSION, ""},
        {EXTENDED(";a=\"\0\""), HTTP_CHUNK_EXTENSION, ""},
        {EXTENDED(";\xc3\xa9"), HTTP_CHUNK_EXTENSION, ""},
        {EXTENDED(";a\n"), HTTP_CHUNK_EXTENSION, ""},
        {EXTENDED(";a=b\n"), HTTP_CHUNK_EXTENSION, ""},
        {BYTES("1;a\ra"), HTTP_CHUNK_SIZE, ""},
    };

    (void)state;
    CHECK_ROWS(ROWS);
}

#define TRAILED(trailer) BYTES("0\r\n" trailer "\r\n")

static void trailers_are_checked_and_dropped(void **state)
{
    static const struct row ROWS[] = {
        {TRAILED("X: y\r\n"), HTTP_OK, ""},
        {TRAILED("X:\r\nY:\t z \r\n"), HTTP_OK, ""},
        {TRAILED("X: \xc3\xa9\xff:\r\n"), HTTP_OK, ""},
        {TRAILED("Content-Length: 5\r\nTransfer-Encoding: gzip\r\n"), HTTP_OK, ""},
        {TRAILED("X: y\r\n") /* and what comes behind it */, HTTP_OK, ""},
        {TRAILED("X\r\n"), HTTP_TRAILER, ""},
        {TRAILED(": y\r\n"), HTTP_TRAILER, ""},
        {TRAILED("X : y\r\n"), HTTP_TRAILER, ""},
        {TRAILED("X y: z\r\n"), HTTP_TRAILER, ""},
        {TRAILED(" X: y\r\n"), HTTP_TRAILER, ""},
        {TRAILED("X: y\r\n z\r\n"), HTTP_TRAILER, ""},
        {TRAILED("X: y\n"), HTTP_TRAILER, ""},
        {TRAILED("X: y\rz\r\n"), HTTP_TRAILER, ""},
        {TRAILED("X: \x01\r\n"), HTTP_TRAILER, ""},
        {TRAILED("X: \0\r\n"), HTTP_TRAILER, ""},
        {TRAILED("X: \x7f\r\n"), HTTP_TRAILER, ""},
        {TRAILED("\xc3\xa9: y\r\n"), HTTP_TRAILER, ""},
        {BYTES("0\r\n\n"), HTTP_TRAILER, ""},
        {BYTES("0\r\n\r\r\n"), HTTP_TRAILER, ""},
        {BYTES("0\r\nX: y\r\n\rz"), HTTP_TRAILER, ""},
    };

    (void)state;
    CHECK_ROWS(ROWS);
}

/* ---- limits ---- */

/* `head`, as many 'x' as make `size` bytes of it with `tail`, and `tail`. */
static size_t stretch(char *out, const char *head, size_t size, const char *tail)
{
    size_t before = strlen(head), after = strlen(tail);

    memcpy(out, head, before);
    memset(out + before, 'x', size - before - after);
    memcpy(out + size - after, tail, after);
    return size;
}

static void extensions_and_trailers_are_bounded_to_the_byte(void **state)
{
    static char bytes[HTTP_EXTENSIONS_MAX + HTTP_TRAILER_MAX + 64];

    (void)state;
    for (size_t more = 0; more <= 1; more++) {
        /* Behind the first ';' up to the CR, both of all chunks together. */
        size_t size = stretch(bytes, "0;", 2 + HTTP_EXTENSIONS_MAX + more, "\r");
        memcpy(bytes + size, "\n\r\n", 3);
        check(&CHUNKED, bytes, size + 3, more == 0 ? HTTP_OK : HTTP_CHUNK_EXTENSION, "");

        size = stretch(bytes, "1;", 2 + HTTP_EXTENSIONS_MAX - 3, "\r");
        strcpy(bytes + size, more == 0 ? "\na\r\n0;ab\r\n\r\n" : "\na\r\n0;abc\r\n\r\n");
        check(&CHUNKED, bytes, size + strlen(bytes + size),
              more == 0 ? HTTP_OK : HTTP_CHUNK_EXTENSION, "a");

        size = stretch(bytes, "0\r\nX: ", 3 + HTTP_TRAILER_MAX + more, "\r\n\r\n");
        check(&CHUNKED, bytes, size, more == 0 ? HTTP_OK : HTTP_TRAILER, "");
    }
}

static void every_reason_that_a_body_can_have_was_reached(void **state)
{
    static const enum http_reason REASONS[] = {HTTP_OK,         HTTP_MORE,
                                               HTTP_CHUNK_SIZE, HTTP_CHUNK_EXTENSION,
                                               HTTP_CHUNK_END,  HTTP_TRAILER};

    (void)state;
    for (size_t i = 0; i < sizeof REASONS / sizeof REASONS[0]; i++)
        assert_true(reached[REASONS[i]]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_length_is_kept_to_the_byte),
        cmocka_unit_test(chunks_are_put_together),
        cmocka_unit_test(a_chunk_begins_with_its_size),
        cmocka_unit_test(a_chunk_ends_with_crlf),
        cmocka_unit_test(extensions_are_checked_and_dropped),
        cmocka_unit_test(trailers_are_checked_and_dropped),
        cmocka_unit_test(extensions_and_trailers_are_bounded_to_the_byte),
        cmocka_unit_test(every_reason_that_a_body_can_have_was_reached),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
