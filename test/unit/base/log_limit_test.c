/* log_limit_test.c - one of a kind a second, and how many there were. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

enum { MANY = 1000, THREADS = 4 };

/* What comes out of standard error while `what` runs. */
static char *said_by(void (*what)(void))
{
    static char text[256 << 10];
    char path[] = "/tmp/checkout-log-XXXXXX";
    int file = mkstemp(path), before = dup(STDERR_FILENO);

    assert_true(file >= 0 && before >= 0);
    unlink(path);
    dup2(file, STDERR_FILENO);
    what();
    dup2(before, STDERR_FILENO);
    close(before);
    ssize_t size = pread(file, text, sizeof text - 1, 0);
    assert_true(size >= 0);
    text[size] = '\0';
    close(file);
    return text;
}

static int count(const char *text, const char *word)
{
    int n = 0;

    while ((text = strstr(text, word)) != NULL) {
        text += strlen(word);
        n++;
    }
    return n;
}

/* Until the next of a kind is told, whenever the last one was. */
static void pass_the_limit(void)
{
    int64_t begun = clock_monotonic_ms();

    while (clock_monotonic_ms() <= begun + LOG_LIMIT_MS + 1)
        usleep(1000);
}

static void warn_many(void)
{
    for (int i = 0; i < MANY; i++)
        log_warn("repeated", "i=%d", i);
    log_error("another", "%s", "");
    pass_the_limit();
    log_warn("repeated", "i=%d", MANY);
}

static void an_event_is_logged_once_a_second_with_its_total(void **state)
{
    (void)state;
    char *text = said_by(warn_many);
    int lines = count(text, "event=repeated");
    assert_true(lines >= 2 &&
                lines < 20); /* more, if a thousand took more than a second */
    assert_int_equal(count(text, "event=another"), 1);
    assert_non_null(strstr(text, "event=repeated i=0\n"));
    assert_non_null(strstr(text, "event=repeated i=1000 total=1001\n"));
}

static void warn_pair_by_pair(void)
{
    struct log_record line;

    for (int i = 0; i <= MANY; i++) {
        if (i == MANY)
            pass_the_limit();
        if (!log_begin_limited(&line, LOG_WARN, "pairs"))
            continue;
        log_pair_number(&line, "i", i);
        log_end(&line);
    }
}

static void a_line_written_pair_by_pair_is_limited_too(void **state)
{
    (void)state;
    char *text = said_by(warn_pair_by_pair);
    assert_true(count(text, "event=pairs") < 20);
    assert_non_null(strstr(text, "event=pairs i=0\n"));
    assert_non_null(strstr(text, "event=pairs i=1000 total=1001\n"));
}

static void tell_each(void)
{
    for (int i = 0; i < MANY; i++)
        log_line(LOG_ERROR, "record", "i=%d", i);
}

static void log_line_is_not_limited(void **state)
{
    (void)state;
    assert_int_equal(count(said_by(tell_each), "event=record"), MANY);
}

static void *pass_many(void *passed)
{
    uint64_t total;

    for (int i = 0; i < MANY; i++)
        if (log_limit_pass("of many threads", &total))
            atomic_fetch_add((atomic_int *)passed, 1);
    return NULL;
}

static void threads_share_the_limit_of_an_event(void **state)
{
    pthread_t threads[THREADS];
    atomic_int passed = 0;
    int64_t begun = clock_monotonic_ms();

    (void)state;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, pass_many, &passed), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    int64_t seconds = (clock_monotonic_ms() - begun) / LOG_LIMIT_MS;
    assert_true(passed >= 1 && passed <= seconds + 2);
}

static void events_beyond_the_table_are_not_limited(void **state)
{
    char name[32];
    uint64_t total;
    int passed = 0;

    (void)state;
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "kind %d", i);
        passed += log_limit_pass(name, &total);
    }
    assert_int_equal(passed, MANY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_is_logged_once_a_second_with_its_total),
        cmocka_unit_test(a_line_written_pair_by_pair_is_limited_too),
        cmocka_unit_test(log_line_is_not_limited),
        cmocka_unit_test(threads_share_the_limit_of_an_event),
        cmocka_unit_test(events_beyond_the_table_are_not_limited),
    };

    log_start("test", LOG_INFO);
    return cmocka_run_group_tests_name("log_limit", tests, NULL, NULL);
}
