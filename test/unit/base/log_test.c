/* log_test.c - one line an event, which no input can forge or overflow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
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

static void write_plain(void)
{
    log_warn("happened", "key=%d text=\"%s\"", 7, "a b");
}

static void write_bare(void)
{
    log_info("bare", "%s", "");
}

static void write_forged(void)
{
    log_info("forged", "text=%s", "x\nts=now level=error\r\t\x1b[31m\x7f");
}

static void write_large(void)
{
    char large[5000];

    memset(large, 'x', sizeof large);
    large[sizeof large - 1] = '\0';
    log_error("large", "text=%s", large);
}

static void write_debug(void)
{
    log_debug("hidden", "%s", "");
}

static void a_line_tells_time_level_program_and_event(void **state)
{
    (void)state;
    capture(write_plain);
    assert_int_equal(strncmp(line, "ts=20", 5), 0);
    assert_non_null(strstr(line, "Z level=warn program=log_test event=happened key=7 "
                                 "text=\"a b\"\n"));
    capture(write_bare);
    assert_non_null(strstr(line, " event=bare\n"));
    capture(write_debug);
    assert_string_equal(line, "");
}

static void control_characters_cannot_forge_a_line(void **state)
{
    (void)state;
    capture(write_forged);
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
    assert_non_null(strstr(line, "text=x?ts=now level=error???[31m?\n"));
}

static void a_line_is_cut_at_2000_bytes(void **state)
{
    (void)state;
    capture(write_large);
    assert_in_range(strlen(line), 1900, 2000);
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_tells_time_level_program_and_event),
        cmocka_unit_test(control_characters_cannot_forge_a_line),
        cmocka_unit_test(a_line_is_cut_at_2000_bytes),
    };

    log_start("log_test", LOG_INFO);
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
