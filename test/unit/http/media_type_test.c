/* Which bodies are read, by what their head says of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "http/media_type.h"

static void json_in_utf_8_is_read_whatever_parameters_it_has(void **state)
{
    static const char *const READ[] = {
        NULL,
        "application/json",
        "Application/JSON",
        "application/json;charset=utf-8",
        "application/json; charset=utf-8",
        "application/json ; charset=UTF-8 ",
        "application/json;charset=\"UTF-8\"",
        "application/json;charset=\"\\u\\T\\f-8\"",
        "application/json;charset=utf8",
        "application/json; CHARSET=Utf-8",
        "application/json; version=1",
        "application/json; v=1; v=2; charset=utf-8; q=\"a;b\\\"c, d\"",
        "application/json; profile=\"https://example.com/cart?a=b;charset=latin1\"",
        "application/json;",
        "application/json; ;\t; charset=utf-8 ;",
        "application/json; charsets=latin1; xcharset=latin1",
        "text/plain;charset=UTF-8", /* what fetch() sends for a string */
        "text/plain",
        "TEXT/PLAIN; format=flowed",
    };

    (void)state;
    for (size_t i = 0; i < sizeof READ / sizeof READ[0]; i++) {
        struct err e = http_media_type_check(READ[i]);
        if (failed(e))
            fail_msg("%s: %s", READ[i], e.message);
    }
}

static void another_type_or_charset_is_unsupported_and_named(void **state)
{
    static const struct {
        const char *type, *told;
    } CASES[] = {
        {"", "malformed"},
        {"json", "malformed"},
        {"application", "malformed"},
        {"application/", "malformed"},
        {"/json", "malformed"},
        {" application/json", "malformed"},
        {"application /json", "malformed"},
        {"*/*", "not */*"},
        {"application/jsonp", "not application/jsonp"},
        {"application/json5", "not application/json5"},
        {"application/vnd.api+json", "not application/vnd.api+json"},
        {"application/x-www-form-urlencoded", "not application/x-www-form-urlencoded"},
        {"multipart/form-data; boundary=x", "not multipart/form-data"},
        {"text/html", "not text/html"},
        {"application/json; charset=latin1", "not in latin1"},
        {"application/json; charset=us-ascii", "not in us-ascii"},
        {"application/json; charset=\"utf-16\"", "not in utf-16"},
        {"application/json; charset=\"utf-8 \"", "another charset"},
        {"application/json; charset=\"\"", "another charset"},
        {"application/json; charset=\"\xc3\xa4\"", "another charset"},
        {"text/plain; charset=iso-8859-1", "not in iso-8859-1"},
        {"application/json; charset=utf-8; charset=utf-8", "twice"},
        {"application/json; charset=utf-8; Charset=latin1", "twice"},
        {"application/json, text/html", "malformed"},
        {"application/json charset=utf-8", "malformed"},
        {"application/json; charset", "malformed"},
        {"application/json; charset=", "malformed"},
        {"application/json; =utf-8", "malformed"},
        {"application/json; charset =utf-8", "malformed"},
        {"application/json; charset= utf-8", "malformed"},
        {"application/json; charset=utf-8 x", "malformed"},
        {"application/json; charset=\"utf-8", "malformed"},
        {"application/json; charset=\"utf-8\\", "malformed"},
        {"application/json; charset=\"utf-8\"x", "malformed"},
        {"application/json; a=b c", "malformed"},
        {"application/json; a={}", "malformed"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct err e = http_media_type_check(CASES[i].type);
        if (e.code != ERR_UNSUPPORTED_MEDIA_TYPE ||
            strstr(e.message, CASES[i].told) == NULL)
            fail_msg("%s: %s", CASES[i].type, e.message);
    }
}

static void only_an_uncompressed_body_is_read(void **state)
{
    static const char *const READ[] = {
        NULL, "", "identity", "IDENTITY", "identity, identity", " ,\tidentity,"};
    static const char *const OTHER[] = {"gzip",      "x-gzip",         "deflate",
                                        "br",        "identity, gzip", "gzip,identity",
                                        "identityx", "identity;q=1",   "\"identity\""};

    (void)state;
    for (size_t i = 0; i < sizeof READ / sizeof READ[0]; i++)
        assert_false(failed(http_media_coding_check(READ[i])));
    for (size_t i = 0; i < sizeof OTHER / sizeof OTHER[0]; i++) {
        struct err e = http_media_coding_check(OTHER[i]);
        assert_int_equal(e.code, ERR_UNSUPPORTED_MEDIA_TYPE);
        assert_non_null(strstr(e.message, "identity"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_in_utf_8_is_read_whatever_parameters_it_has),
        cmocka_unit_test(another_type_or_charset_is_unsupported_and_named),
        cmocka_unit_test(only_an_uncompressed_body_is_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
