/* file_test.c - files are looked at when they change, or somebody asks, and else not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/program/file.h"

static char folder[] = "/tmp/checkout-file-XXXXXX";
static char file[80];
static atomic_int looks, asked_looks, unsettled;
static struct file_watch *notice;

static bool look(void *arg, bool asked)
{
    (void)arg;
    asked_looks += asked;
    looks++;
    return unsettled > 0 && unsettled-- > 0;
}

static void write_file(const char *path, const char *text)
{
    FILE *out = fopen(path, "w");

    assert_non_null(out);
    fputs(text, out);
    fclose(out);
}

static void begin(const char *path)
{
    looks = asked_looks = unsettled = 0;
    assert_int_equal(file_watch_start(&(struct file_watch_config){.name = "test",
                                                                  .paths = {path},
                                                                  .settle_ms = 20,
                                                                  .look = look},
                                      &notice)
                         .code,
                     ERR_OK);
}

static void wait_looks(int count)
{
    int64_t deadline = clock_monotonic_ms() + FILE_WATCH_BLIND_POLL_MS + 20000;

    while (looks < count && clock_monotonic_ms() < deadline)
        sched_yield();
    assert_true(looks >= count);
}

static void a_changed_file_is_checked_until_it_settles(void **state)
{
    (void)state;
    begin(file);
    unsettled = 3;
    write_file(file, "other");
    wait_looks(4);
    file_watch_stop(notice);
}

static void a_requested_check_looks_at_once(void **state)
{
    (void)state;
    begin(file);
    file_watch_check(notice);
    wait_looks(1);
    assert_int_equal(asked_looks, 1);
    file_watch_check(notice);
    wait_looks(2);
    assert_int_equal(asked_looks, 2);
    file_watch_stop(notice);
    file_watch_check(NULL);
    file_watch_stop(NULL);
}

/* As Kubernetes mounts a ConfigMap: FILE -> ..data/FILE, and ..data -> a folder that is
 * replaced. */
static void a_file_behind_links_is_followed(void **state)
{
    char a[80], b[80], data[80], fresh[80], path[80], in_a[100], in_b[100];

    (void)state;
    snprintf(a, sizeof a, "%s/a", folder);
    snprintf(b, sizeof b, "%s/b", folder);
    snprintf(data, sizeof data, "%s/..data", folder);
    snprintf(fresh, sizeof fresh, "%s/..fresh", folder);
    snprintf(path, sizeof path, "%s/mounted", folder);
    snprintf(in_a, sizeof in_a, "%s/mounted", a);
    snprintf(in_b, sizeof in_b, "%s/mounted", b);
    assert_int_equal(mkdir(a, 0700), 0);
    assert_int_equal(mkdir(b, 0700), 0);
    write_file(in_a, "old");
    write_file(in_b, "new");
    assert_int_equal(symlink("a", data), 0);
    assert_int_equal(symlink("..data/mounted", path), 0);
    begin(path);
    assert_int_equal(symlink("b", fresh), 0);
    assert_int_equal(rename(fresh, data), 0);
    wait_looks(1);
    int before = looks;
    write_file(in_b, "newer"); /* in the folder that the links lead to now */
    wait_looks(before + 1);
    file_watch_stop(notice);
    unlink(in_a);
    unlink(in_b);
    unlink(data);
    unlink(path);
    rmdir(a);
    rmdir(b);
}

static int make_folder(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(file, sizeof file, "%s/file", folder);
    write_file(file, "one");
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(file);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_changed_file_is_checked_until_it_settles),
        cmocka_unit_test(a_requested_check_looks_at_once),
        cmocka_unit_test(a_file_behind_links_is_followed),
    };

    return cmocka_run_group_tests_name("file", tests, make_folder, remove_folder);
}
