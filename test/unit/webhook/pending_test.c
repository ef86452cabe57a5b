/* Tests of webhook/pending.c: each file on disk is complete, or as it was before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h> /* needs those above */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "webhook/pending.h"

static char folder[64];
static struct pending *one, *two;

static int set_up(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/pending_test-XXXXXX");
    one = calloc(1, sizeof *one);
    two = calloc(1, sizeof *two);
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
    char path[128];

    (void)state;
    pending_close(one);
    pending_close(two);
    free(one);
    free(two);
    static const char *const NAMES[] = {"shop.pending", "shop.pending.new", "shop.dead",
                                        "shop.dead.new", "shop.resend"};
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, NAMES[i]);
        unlink(path);
    }
    return rmdir(folder);
}

static void assert_fine(struct err e)
{
    if (failed(e))
        fail_msg("%s", e.message);
}

static void add(struct pending *pending, int64_t position, const char *order)
{
    char id[64];

    snprintf(id, sizeof id, "%s.1", order);
    const struct delivery delivery = {.position = position,
                                      .id = id,
                                      .order_id = (char *)order,
                                      .json = "{\"id\":\"\\u00e4\"}",
                                      .created_at_ms = 7,
                                      .attempts = 2,
                                      .next_ms = 9};
    assert_fine(pending_add(pending, &delivery));
}

static void the_next_process_finds_what_was_saved_and_nothing_else(void **state)
{
    (void)state;
    assert_fine(pending_open(one, folder, "shop"));
    add(one, 3, "a");
    add(one, 4, "b");
    assert_fine(pending_save(one));
    pending_remove(one, 0);
    add(one, 5, "c"); /* it dies before these are saved */
    assert_fine(pending_open(two, folder, "shop"));
    assert_int_equal(two->count, 2);
    assert_true(pending_has(two, 3) && pending_has(two, 4) && !pending_has(two, 5));
    assert_string_equal(two->items[0].json, "{\"id\":\"\\u00e4\"}");
    assert_int_equal(two->items[0].attempts, 2);
    assert_int_equal(two->items[0].next_ms, 9);
}

static void a_file_that_was_spoilt_is_refused_not_forgotten(void **state)
{
    char path[128];

    (void)state;
    snprintf(path, sizeof path, "%s/shop.pending", folder);
    FILE *file = fopen(path, "w");
    fputs("[{\"position\":1}", file);
    fclose(file);
    assert_true(failed(pending_open(one, folder, "shop")));
}

static void it_is_bounded_and_told_by_order(void **state)
{
    char order[16];

    (void)state;
    assert_fine(pending_open(one, folder, "shop"));
    for (int i = 0; i < PENDING_MAX; i++) {
        snprintf(order, sizeof order, "o%d", i);
        add(one, i, order);
    }
    assert_int_equal(pending_add(one, &one->items[0]).code, ERR_RESOURCE_EXHAUSTED);
    assert_true(pending_has_order(one, "o5", 6));
    assert_false(pending_has_order(one, "o5", 5));
}

static void the_dead_are_a_line_each(void **state)
{
    char path[128], line[512];
    int lines = 0;

    (void)state;
    assert_fine(pending_open(one, folder, "shop"));
    add(one, 3, "a");
    assert_fine(pending_dead_letter(one, 0, "answered 500"));
    assert_fine(pending_dead_letter(one, 0, "answered 500")); /* it died in between */
    snprintf(path, sizeof path, "%s/shop.dead", folder);
    FILE *file = fopen(path, "r");
    while (fgets(line, sizeof line, file) != NULL) {
        json_t *json = NULL;
        assert_fine(json_parse(line, strlen(line), &json));
        assert_string_equal(json_string_value(json_object_get(json, "id")), "a.1");
        assert_string_equal(json_string_value(json_object_get(json, "problem")),
                            "answered 500");
        json_decref(json);
        lines++;
    }
    fclose(file);
    assert_int_equal(lines, 2);
}

static void write_file(const char *name, const char *text)
{
    char path[128];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    fputs(text, file);
    fclose(file);
}

static int lines_of(const char *name)
{
    char path[128];
    int lines = 0, c;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return -1;
    while ((c = fgetc(file)) != EOF)
        lines += c == '\n';
    fclose(file);
    return lines;
}

static off_t size_of(const char *name)
{
    char path[128];
    struct stat file;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    return stat(path, &file) == 0 ? file.st_size : -1;
}

/* No file grows beyond it, as on a full disk. */
static void limit_files(rlim_t size)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = size;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_disk_that_fills_leaves_no_half_dead_letter(void **state)
{
    (void)state;
    assert_fine(pending_open(one, folder, "shop"));
    add(one, 3, "a");
    assert_fine(pending_dead_letter(one, 0, "answered 500"));
    const off_t whole = size_of("shop.dead");
    signal(SIGXFSZ, SIG_IGN);
    limit_files((rlim_t)whole + 20);
    struct err e = pending_dead_letter(one, 0, "answered 500");
    limit_files(RLIM_INFINITY);
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(e.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(e.message, "shop.dead cannot be written: File too large"));
    assert_int_equal(size_of("shop.dead"), whole);
}

static void half_a_dead_letter_that_a_crash_left_spoils_no_other(void **state)
{
    (void)state;
    write_file("shop.dead", "{\"position\":3,\"id\":\"a.1\",\"ord");
    assert_fine(pending_open(one, folder, "shop"));
    add(one, 3, "a");
    assert_fine(pending_dead_letter(one, 0, "answered 500"));
    pending_remove(one, 0);
    write_file("shop.resend", "a.1\n");
    assert_fine(pending_resend(one));
    assert_int_equal(one->count, 1);
    assert_string_equal(one->items[0].id, "a.1");
}

static void whatever_was_saved_is_read(void **state)
{
    enum { EVENT = 1 << 20, COUNT = 65 }; /* 64 MiB and more */
    char *event = malloc(EVENT + 1);

    (void)state;
    assert_non_null(event);
    memset(event, 'x', EVENT);
    event[EVENT] = '\0';
    assert_fine(pending_open(one, folder, "shop"));
    for (int i = 0; i < COUNT; i++) {
        const struct delivery delivery = {
            .position = i, .id = (char *)"a.1", .order_id = (char *)"a", .json = event};
        assert_fine(pending_add(one, &delivery));
    }
    free(event);
    assert_fine(pending_save(one));
    assert_fine(pending_open(two, folder, "shop"));
    assert_int_equal(two->count, COUNT);
}

/* Three dead letters, a, b and c, and something else. */
static void three_dead_letters(void)
{
    static const char *const ORDERS[] = {"a", "b", "c"};

    assert_fine(pending_open(one, folder, "shop"));
    for (int i = 0; i < 3; i++) {
        add(one, i + 1, ORDERS[i]);
        assert_fine(pending_dead_letter(one, 0, "answered 500"));
        pending_remove(one, 0);
    }
    char path[128];
    snprintf(path, sizeof path, "%s/shop.dead", folder);
    FILE *file = fopen(path, "a");
    fputs("a note by hand\n", file);
    fclose(file);
}

static void a_dead_letter_that_is_asked_for_is_pending_as_if_it_were_new(void **state)
{
    (void)state;
    three_dead_letters();
    assert_fine(pending_resend(one)); /* nobody asks */
    assert_int_equal(one->count, 0);
    write_file("shop.resend", "b.1\nd.1\n");
    assert_fine(pending_resend(one));
    assert_int_equal(one->count, 1);
    assert_string_equal(one->items[0].id, "b.1");
    assert_string_equal(one->items[0].json, "{\"id\":\"\\u00e4\"}");
    assert_int_equal(one->items[0].attempts, 0);
    assert_int_equal(one->items[0].next_ms, 0);
    assert_true(one->items[0].created_at_ms > 7);
    assert_int_equal(lines_of("shop.dead"), 3);
    assert_int_equal(lines_of("shop.resend"), -1);
    assert_fine(pending_open(two, folder, "shop")); /* it is on the disk */
    assert_int_equal(two->count, 1);
}

static void who_dies_while_resending_neither_loses_nor_doubles_one(void **state)
{
    (void)state;
    three_dead_letters();
    add(one, 2, "b"); /* saved; it died before b had left the list */
    assert_fine(pending_save(one));
    write_file("shop.resend", "*\n");
    assert_fine(pending_open(two, folder, "shop"));
    assert_fine(pending_resend(two));
    assert_int_equal(two->count, 3);
    assert_int_equal(lines_of("shop.dead"), 1);
    assert_int_equal(lines_of("shop.resend"), -1);
}

static void what_finds_no_room_stays_dead_and_asked_for(void **state)
{
    char order[16];

    (void)state;
    three_dead_letters();
    for (int i = 0; i < PENDING_MAX - 2; i++) {
        snprintf(order, sizeof order, "o%d", i);
        add(one, 10 + i, order);
    }
    write_file("shop.resend", "*\n");
    assert_fine(pending_resend(one));
    assert_int_equal(one->count, PENDING_MAX);
    assert_int_equal(lines_of("shop.dead"), 2);
    assert_int_equal(lines_of("shop.resend"), 1);
    pending_remove(one, 0);
    assert_fine(pending_resend(one));
    assert_int_equal(lines_of("shop.dead"), 1);
    assert_int_equal(lines_of("shop.resend"), -1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(the_next_process_finds_what_was_saved_and_nothing_else),
        TEST(a_file_that_was_spoilt_is_refused_not_forgotten),
        TEST(it_is_bounded_and_told_by_order),
        TEST(the_dead_are_a_line_each),
        TEST(a_disk_that_fills_leaves_no_half_dead_letter),
        TEST(half_a_dead_letter_that_a_crash_left_spoils_no_other),
        TEST(whatever_was_saved_is_read),
        TEST(a_dead_letter_that_is_asked_for_is_pending_as_if_it_were_new),
        TEST(who_dies_while_resending_neither_loses_nor_doubles_one),
        TEST(what_finds_no_room_stays_dead_and_asked_for),
    };

    json_memory_watch();
    return cmocka_run_group_tests_name("pending", tests, NULL, NULL);
}
