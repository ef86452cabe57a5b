/* endpoints_test.c - the endpoints' file: taken whole, or refused with a sentence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "webhook/endpoints.h"

#define SECRET "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"

static char folder[] = "/tmp/checkout-endpoints-XXXXXX";
static char list[64], secret[64];
static struct endpoints endpoints;

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    assert_int_equal(chmod(path, 0600), 0);
}

static int open_folder(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(list, sizeof list, "%s/list", folder);
    snprintf(secret, sizeof secret, "%s/secret", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(list);
    unlink(secret);
    return rmdir(folder);
}

static void assert_refused(const char *path, const char *word)
{
    struct err e = endpoints_read(path, false, &endpoints);

    assert_int_equal(e.code, ERR_INVALID_ARGUMENT);
    if (strstr(e.message, word) == NULL)
        fail_msg("\"%s\" does not say %s", e.message, word);
}

static void a_list_is_taken_whole(void **state)
{
    char text[5000];

    (void)state;
    write_file(secret, SECRET "\n");
    memset(text, '#', 4500);
    snprintf(text + 4500, sizeof text - 4500, "\none https://a.example/ %s\n", secret);
    write_file(list, text);
    assert_false(failed(endpoints_read(list, false, &endpoints)));
    assert_int_equal(endpoints.count, 1);
    assert_string_equal(endpoints.items[0].name, "one");
}

static void a_folder_in_place_of_the_list_or_of_a_secret_is_refused(void **state)
{
    char text[200];

    (void)state;
    assert_refused(folder, "Is a directory");
    snprintf(text, sizeof text, "one https://a.example/ %s\n", folder);
    write_file(list, text);
    assert_refused(list, "Is a directory");
}

static void a_secret_that_others_may_read_is_refused(void **state)
{
    char text[200];

    (void)state;
    write_file(secret, SECRET "\n");
    assert_int_equal(chmod(secret, 0640), 0);
    snprintf(text, sizeof text, "one https://a.example/ %s\n", secret);
    write_file(list, text);
    assert_refused(list, "chmod 600");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_is_taken_whole),
        cmocka_unit_test(a_folder_in_place_of_the_list_or_of_a_secret_is_refused),
        cmocka_unit_test(a_secret_that_others_may_read_is_refused),
    };

    return cmocka_run_group_tests_name("endpoints", tests, open_folder, remove_folder);
}
