/* log_test.c - one line an event, which a parser reads back whatever is put into it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

static char line[4096];

/* What `write_it` puts on standard error. */
static void capture(void (*write_it)(void))
{
    int ends[2], kept = dup(STDERR_FILENO);

    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    write_it();
    dup2(kept, STDERR_FILENO);
    close(kept);
    close(ends[1]);
    ssize_t got = read(ends[0], line, sizeof line - 1);
    line[got > 0 ? got : 0] = '\0';
    close(ends[0]);
}

/* ---- a strict reader of logfmt ------------------------------------------------------- */

/* At a value; its text goes to `out` as JSON unescapes it.  Gives its end, NULL: malformed. */
static const char *read_value(const char *at, char *out)
{
    const char *end = at;

    if (*at != '"') {
        for (; *end > ' ' && *end < 0x7f; end++)
            if (strchr("\"=\\", *end) != NULL)
                return NULL;
        memcpy(out, at, (size_t)(end - at));
        out[end - at] = '\0';
        return end == at ? NULL : end;
    }
    for (end++; *end != '"'; end++) {
        if (*end == '\\')
            end++;
        if (*end == '\0')
            return NULL;
    }
    json_t *text = json_loadb(at, (size_t)(end + 1 - at), JSON_DECODE_ANY, NULL);
    if (text == NULL)
        return NULL;
    memcpy(out, json_string_value(text), json_string_length(text) + 1);
    json_decref(text);
    return end + 1;
}

/* The value of `key` in `line`, which must be one line of well-formed logfmt; or NULL. */
static const char *value_of(const char *key)
{
    static char wanted[4096];
    char value[4096];
    const char *at = line;
    bool found = false;

    while (*at != '\n') {
        size_t length = strspn(at, "abcdefghijklmnopqrstuvwxyz0123456789_");
        assert_true(length > 0 && at[length] == '=');
        bool is_it = strlen(key) == length && strncmp(at, key, length) == 0;
        at = read_value(at + length + 1, value);
        assert_non_null(at);
        assert_true(*at == ' ' || *at == '\n');
        at += *at == ' ';
        if (is_it) {
            assert_false(found); /* a key stands once */
            strcpy(wanted, value);
            found = true;
        }
    }
    assert_int_equal(at[1], '\0');
    return found ? wanted : NULL;
}

/* ---- lines as they are written all over ---------------------------------------------- */

static const char *hostile = "";

static void write_plain(void)
{
    log_line(LOG_WARN, "happened", "key=%d text=\"%s\" path=%s", 7, "a b", "/v1/orders");
}

static void write_bare(void)
{
    log_info("bare", "%s", "");
}

static void write_hostile(void)
{
    log_info("hostile", "first=%s quoted=\"%s\" last=\"from %s on\"", hostile, hostile,
             hostile);
}

static void write_kinds(void)
{
    const char *volatile nothing = NULL;

    log_info("kinds",
             "i=%d l=%ld ll=%lld z=%zu u=%u p=%" PRId64 " q=%" PRIu64
             " x=%x part=%.3s star=%.*s none=%s c=%c percent=\"%d%%\"",
             -1, -2L, -3LL, (size_t)4, 5U, INT64_MIN, UINT64_MAX, 0xabU, "abcdef", 2,
             "xyz", nothing, 'c', 50);
}

static void write_large(void)
{
    char large[5000];

    memset(large, 'x', sizeof large);
    large[sizeof large - 1] = '\0';
    log_line(LOG_ERROR, "large", "text=%s after=%d", large, 1);
}

static void write_debug(void)
{
    log_debug("hidden", "%s", "");
}

static void a_line_has_time_level_program_and_event(void **state)
{
    (void)state;
    capture(write_plain);
    assert_int_equal(strncmp(line, "ts=20", 5), 0);
    assert_non_null(strstr(line, "Z level=warn program=log_test event=happened key=7 "
                                 "text=\"a b\" path=/v1/orders\n"));
    capture(write_bare);
    assert_non_null(strstr(line, " event=bare\n"));
    capture(write_debug);
    assert_string_equal(line, "");
}

static void every_conversion_is_written_as_printf_would(void **state)
{
    (void)state;
    capture(write_kinds);
    assert_non_null(strstr(
        line, " i=-1 l=-2 ll=-3 z=4 u=5 p=-9223372036854775808 q=18446744073709551615 "
              "x=ab part=abc star=xy none=\"\" c=c percent=50%\n"));
}

/* What a value may hold, and what is read back: bytes that are no UTF-8 are replaced. */
static const struct {
    const char *given, *read;
} HOSTILE[] = {
    {"", ""},
    {"a b", "a b"},
    {"\"", "\""},
    {"\\", "\\"},
    {"x\" level=error y=\"", "x\" level=error y=\""},
    {"x\nts=now level=error\r\t\x1b[31m\x7f\x01",
     "x\nts=now level=error\r\t\x1b[31m\x7f\x01"},
    {"ends in \\", "ends in \\"},
    {"a=b", "a=b"},
    {"%s %n %", "%s %n %"},
    {"https://x/?a=\"b\"&c=d", "https://x/?a=\"b\"&c=d"},
    {"ERROR:  relation \"x\" does not exist\nLINE 1: SELECT",
     "ERROR:  relation \"x\" does not exist\nLINE 1: SELECT"},
    {"{\"sku\":\"a\\u0000\"}", "{\"sku\":\"a\\u0000\"}"},
    {"\xc3\xa9\xf0\x9f\x98\x80", "\xc3\xa9\xf0\x9f\x98\x80"},
    {"\xff\xfe\xc0\x80\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
                                     "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
    {"\xc3", "\xef\xbf\xbd"},
    {"\xe2\x80\xa8\xe2\x80\xa9\xc2\x85", "\xe2\x80\xa8\xe2\x80\xa9\xc2\x85"},
};

static void a_parser_reads_back_whatever_a_value_holds(void **state)
{
    char last[256];

    (void)state;
    for (size_t i = 0; i < sizeof HOSTILE / sizeof *HOSTILE; i++) {
        hostile = HOSTILE[i].given;
        capture(write_hostile);
        assert_string_equal(value_of("first"), HOSTILE[i].read);
        assert_string_equal(value_of("quoted"), HOSTILE[i].read);
        snprintf(last, sizeof last, "from %s on", HOSTILE[i].read);
        assert_string_equal(value_of("last"), last);
        assert_string_equal(value_of("level"), "info");
        for (const char *c = line; c[1] != '\0'; c++) /* nor does a terminal heed any */
            assert_true((unsigned char)*c >= ' ' && *c != 0x7f);
        assert_null(strstr(line, "\xe2\x80\xa8"));
        assert_null(strstr(line, "\xc2\x85"));
    }
}

static void every_byte_is_read_back_by_a_parser(void **state)
{
    static char text[6] = "a?b?c";

    (void)state;
    hostile = text;
    for (int c = 1; c < 0x80; c++) {
        text[1] = text[3] = (char)c;
        capture(write_hostile);
        assert_string_equal(value_of("first"), text);
        assert_string_equal(value_of("quoted"), text);
    }
}

static void a_json_line_is_one_object(void **state)
{
    (void)state;
    assert_int_equal(log_use_format("json").code, ERR_OK);
    for (size_t i = 0; i < sizeof HOSTILE / sizeof *HOSTILE; i++) {
        hostile = HOSTILE[i].given;
        capture(write_hostile);
        json_t *json = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
        assert_string_equal(json_string_value(json_object_get(json, "first")),
                            HOSTILE[i].read);
        assert_string_equal(json_string_value(json_object_get(json, "event")), "hostile");
        json_decref(json);
        assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
    }
    capture(write_large);
    json_t *json = json_loads(line, 0, NULL);
    assert_true(json_is_true(json_object_get(json, "cut")));
    json_decref(json);
    capture(write_plain);
    json = json_loads(line, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(json, "key")), 7);
    assert_string_equal(json_string_value(json_object_get(json, "program")), "log_test");
    json_decref(json);
    assert_int_equal(log_use_format("xml").code, ERR_INVALID_ARGUMENT);
    assert_int_equal(log_use_format("logfmt").code, ERR_OK);
}

static void a_line_is_cut_at_2000_bytes_and_says_so(void **state)
{
    static char text[LOG_LINE_MAX + 8];

    (void)state;
    capture(write_large);
    assert_true(strlen(line) >= 1900 && strlen(line) <= LOG_LINE_MAX);
    assert_string_equal(value_of("cut"), "true");
    hostile = text;
    for (size_t size = LOG_LINE_MAX / 3 - 80; size < LOG_LINE_MAX + 8; size++) {
        for (int kind = 0; kind < 3; kind++) {
            memset(text, "x\n\xc3"[kind], size);
            for (size_t i = 1; kind == 2 && i < size; i += 2)
                text[i] = '\xa9';
            text[size - 1] = '\0';
            capture(write_hostile);
            assert_true(strlen(line) <= LOG_LINE_MAX);
            assert_string_equal(value_of("event"), "hostile");
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_has_time_level_program_and_event),
        cmocka_unit_test(every_conversion_is_written_as_printf_would),
        cmocka_unit_test(a_parser_reads_back_whatever_a_value_holds),
        cmocka_unit_test(every_byte_is_read_back_by_a_parser),
        cmocka_unit_test(a_json_line_is_one_object),
        cmocka_unit_test(a_line_is_cut_at_2000_bytes_and_says_so),
    };

    log_start("log_test", LOG_INFO);
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
