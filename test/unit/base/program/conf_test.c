/* conf_test.c - settings: each source, which one wins, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/program/conf.h"

struct settings {
    char *url, *password;
    int64_t limit;
    bool fast;
};

static const struct conf_row ROWS[] = {
    {"listen_url", CONF_TEXT, offsetof(struct settings, url), "ipc:///x", 0, 0, "where"},
    {"password", CONF_SECRET, offsetof(struct settings, password), "", 0, 0, "secret"},
    {"limit", CONF_NUMBER, offsetof(struct settings, limit), "5", 1, 10, "how many"},
    {"fast", CONF_FLAG, offsetof(struct settings, fast), "false", 0, 0, "or slow"},
};
static const struct conf_table TABLE = {"testing", "a test", ROWS, 4};

static char path[] = "/tmp/checkout-conf-XXXXXX";

static int make_file(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    if (fd < 0)
        return -1;
    close(fd);
    return 0;
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

static int clean(void **state)
{
    (void)state;
    unsetenv("CHECKOUT_TESTING_LISTEN_URL");
    unsetenv("CHECKOUT_TESTING_PASSWORD");
    unsetenv("CHECKOUT_TESTING_LIMIT");
    return 0;
}

static void write_file(const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* Up to three arguments. */
static struct err read_with(struct settings *out, const char *a, const char *b,
                            const char *c)
{
    const char *args[] = {"testing", a, b, c, NULL};
    int count = 1 + (a != NULL) + (b != NULL) + (c != NULL);

    memset(out, 0, sizeof *out);
    return conf_read(&TABLE, count, (char **)args, out);
}

static void settings_have_defaults(void **state)
{
    struct settings s;

    (void)state;
    assert_false(failed(read_with(&s, NULL, NULL, NULL)));
    assert_string_equal(s.url, "ipc:///x");
    assert_string_equal(s.password, "");
    assert_int_equal(s.limit, 5);
    assert_false(s.fast);
    conf_free(&TABLE, &s);
}

static void the_command_line_beats_the_environment_beats_the_file(void **state)
{
    struct settings s;
    char config[64];

    (void)state;
    snprintf(config, sizeof config, "--config=%s", path);
    write_file("# comment\n\n  listen_url =  from file \nlimit=2\nfast = true\n"
               "password = p = w # not a comment\n");
    assert_false(failed(read_with(&s, config, NULL, NULL)));
    assert_string_equal(s.url, "from file");
    assert_string_equal(s.password, "p = w # not a comment");
    assert_int_equal(s.limit, 2);
    assert_true(s.fast);
    conf_free(&TABLE, &s);
    setenv("CHECKOUT_TESTING_LISTEN_URL", "from environment", 1);
    setenv("CHECKOUT_TESTING_LIMIT", "3", 1);
    setenv("CHECKOUT_TESTING_PASSWORD", "environment's", 1);
    assert_false(failed(read_with(&s, config, "--listen-url", "from line")));
    assert_string_equal(s.url, "from line");
    assert_string_equal(s.password, "environment's");
    assert_int_equal(s.limit, 3);
    conf_free(&TABLE, &s);
}

static void line_ends_and_blanks_around_a_value_are_not_part_of_it(void **state)
{
    struct settings s;
    char config[64];

    (void)state;
    snprintf(config, sizeof config, "--config=%s", path);
    write_file("listen_url = from file \t\r\npassword=a b \r\n");
    assert_false(failed(read_with(&s, config, NULL, NULL)));
    assert_string_equal(s.url, "from file");
    assert_string_equal(s.password, "a b");
    conf_free(&TABLE, &s);
    setenv("CHECKOUT_TESTING_LISTEN_URL", " from environment\r\n", 1);
    setenv("CHECKOUT_TESTING_LIMIT", "3\n", 1);
    setenv("CHECKOUT_TESTING_PASSWORD", "\n", 1);
    assert_false(failed(read_with(&s, config, NULL, NULL)));
    assert_string_equal(s.url, "from environment");
    assert_string_equal(s.password, "");
    assert_int_equal(s.limit, 3);
    conf_free(&TABLE, &s);
}

static void assert_refused(const char *word, const char *a, const char *b)
{
    struct settings s;
    struct err e = read_with(&s, a, b, NULL);

    assert_int_equal(e.code, ERR_INVALID_ARGUMENT);
    if (strstr(e.message, word) == NULL)
        fail_msg("\"%s\" does not say %s", e.message, word);
    assert_null(s.url);
}

static void an_unknown_or_out_of_bounds_setting_is_rejected_by_name(void **state)
{
    char config[64];

    (void)state;
    snprintf(config, sizeof config, "--config=%s", path);
    assert_refused("--lissen-url", "--lissen-url", "x");
    assert_refused("--limit", "--limit", NULL);
    assert_refused("stray", "stray", NULL);
    assert_refused("from 1 to 10", "--limit=11", NULL);
    assert_refused("from 1 to 10", "--limit=0", NULL);
    assert_refused("from 1 to 10", "--limit=3x", NULL);
    assert_refused("from 1 to 10", "--limit=", NULL);
    assert_refused("from 1 to 10", "--limit=99999999999999999999", NULL);
    assert_refused("true or false", "--fast=yes", NULL);
    assert_refused("/no/such/file", "--config=/no/such/file", NULL);
    write_file("listen = x\n");
    assert_refused("line 1", config, NULL);
    write_file("\nlimit 3\n");
    assert_refused("line 2", config, NULL);
}

static void a_file_that_cannot_be_read_whole_is_refused_by_its_name(void **state)
{
    char folder[] = "/tmp/checkout-conf-dir-XXXXXX", config[64];
    FILE *file;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(config, sizeof config, "--config=%s", folder);
    assert_refused("Is a directory", config, NULL);
    assert_refused(folder, config, NULL);
    assert_int_equal(rmdir(folder), 0);
    snprintf(config, sizeof config, "--config=%s", path);
    file = fopen(path, "w");
    assert_non_null(file);
    fwrite("limit = 3\0\nfast = true\n", 1, 24, file);
    fclose(file);
    assert_refused("zero byte", config, NULL);
    if (geteuid() == 0)
        return; /* may read everything */
    write_file("limit = 3\n");
    assert_int_equal(chmod(path, 0), 0);
    assert_refused("Permission denied", config, NULL);
    assert_int_equal(chmod(path, 0600), 0);
}

static void a_line_of_any_length_is_one_line(void **state)
{
    struct settings s;
    char config[64], url[9001], line[9100];

    (void)state;
    memset(url, 'u', sizeof url - 1);
    url[sizeof url - 1] = '\0';
    snprintf(line, sizeof line, "listen_url = %s\n", url);
    write_file(line);
    snprintf(config, sizeof config, "--config=%s", path);
    assert_false(failed(read_with(&s, config, NULL, NULL)));
    assert_string_equal(s.url, url);
    conf_free(&TABLE, &s);
}

static void a_setting_that_is_given_twice_is_refused(void **state)
{
    static char limit[] = "CHECKOUT_TESTING_LIMIT=3", more[] = "CHECKOUT_TESTING_LIMIT=4";
    static char *twice[] = {limit, more, NULL};
    char config[64];
    int status;

    (void)state;
    snprintf(config, sizeof config, "--config=%s", path);
    write_file("limit = 3\n\nlimit = 3\n");
    assert_refused("line 3 sets limit once more, after line 1", config, NULL);
    setenv("CHECKOUT_TESTING_LIMIT", "4", 1);
    assert_refused("line 3 sets limit once more", config, NULL);
    unsetenv("CHECKOUT_TESTING_LIMIT");
    write_file("");
    assert_refused("--limit is given twice", "--limit=3", "--limit=4");
    assert_refused("--config is given twice", config, config);
    pid_t child = fork(); /* whose environment it stays */
    if (child == 0) {
        struct settings s;
        environ = twice;
        struct err e = read_with(&s, NULL, NULL, NULL);
        _exit(strstr(e.message, "the environment sets limit twice") != NULL ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* NAME=VALUE, alone with what the test has. */
static void assert_environment_refused(const char *name, const char *value)
{
    struct settings s;
    char variable[64];

    snprintf(variable, sizeof variable, "CHECKOUT_TESTING_%s", name);
    setenv(variable, value, 1);
    struct err e = read_with(&s, NULL, NULL, NULL);
    unsetenv(variable);
    assert_int_equal(e.code, ERR_INVALID_ARGUMENT);
    assert_non_null(strstr(e.message, variable));
    assert_null(strstr(e.message, value));
}

static void an_unknown_variable_with_our_prefix_is_rejected(void **state)
{
    struct settings s;

    (void)state;
    assert_environment_refused("LIMITS", "secret");
    assert_environment_refused("limit", "secret");
    assert_environment_refused("LISTEN-URL", "secret");
    assert_environment_refused("", "secret");
    assert_environment_refused("PORT", "secret");
    assert_environment_refused("SERVICE_HOSTS", "secret");
    assert_environment_refused("PORT_X_TCP", "secret");
    setenv("CHECKOUT_TESTINGS_LIMIT", "3", 1); /* another program's */
    assert_false(failed(read_with(&s, NULL, NULL, NULL)));
    conf_free(&TABLE, &s);
    unsetenv("CHECKOUT_TESTINGS_LIMIT");
}

static void kubernetes_service_variables_are_ignored(void **state)
{
    static const char *const NAMES[][2] = {
        {"SERVICE_HOST", "10.0.0.1"},
        {"SERVICE_PORT", "8080"},
        {"SERVICE_PORT_HTTP", "8080"},
        {"PORT", "tcp://10.0.0.1:8080"},
        {"PORT_8080_TCP", "tcp://10.0.0.1:8080"},
        {"PORT_8080_TCP_PROTO", "tcp"},
        {"PORT_8080_TCP_PORT", "8080"},
        {"PORT_8080_TCP_ADDR", "10.0.0.1"},
        {"PORT_53_UDP_ADDR", "10.0.0.1"},
        {"PUBLIC_SERVICE_HOST", "10.0.0.1"},
        {"PUBLIC_PORT", "udp://10.0.0.1:53"},
    };
    struct settings s;
    char name[64];

    (void)state;
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        snprintf(name, sizeof name, "CHECKOUT_TESTING_%s", NAMES[i][0]);
        setenv(name, NAMES[i][1], 1);
        struct err e = read_with(&s, NULL, NULL, NULL);
        if (failed(e))
            fail_msg("%s: %s", name, e.message);
        assert_int_equal(s.limit, 5);
        conf_free(&TABLE, &s);
        unsetenv(name);
    }
}

/* As CHECKOUT_GATEWAY_PORT is the gateway's own setting as well. */
static void a_number_setting_that_kubernetes_also_sets_is_ignored(void **state)
{
    static const struct conf_row rows[] = {
        {"port", CONF_NUMBER, offsetof(struct settings, limit), "7", 1, 9, "where"}};
    const struct conf_table table = {"testing", "a test", rows, 1};
    char *argv[] = {"testing", NULL};
    struct settings s;

    (void)state;
    setenv("CHECKOUT_TESTING_PORT", "tcp://10.0.0.1:8080", 1);
    assert_false(failed(conf_read(&table, 1, argv, &s)));
    assert_int_equal(s.limit, 7);
    setenv("CHECKOUT_TESTING_PORT", "8", 1);
    assert_false(failed(conf_read(&table, 1, argv, &s)));
    assert_int_equal(s.limit, 8);
    setenv("CHECKOUT_TESTING_PORT", "tcp:", 1);
    assert_int_equal(conf_read(&table, 1, argv, &s).code, ERR_INVALID_ARGUMENT);
    unsetenv("CHECKOUT_TESTING_PORT");
}

static void a_secret_on_the_command_line_is_refused_and_not_repeated(void **state)
{
    struct settings s;

    (void)state;
    for (int form = 0; form < 2; form++) {
        struct err e = form == 0 ? read_with(&s, "--password", "hunter2", NULL)
                                 : read_with(&s, "--password=hunter2", NULL, NULL);
        assert_int_equal(e.code, ERR_INVALID_ARGUMENT);
        assert_null(strstr(e.message, "hunter2"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(settings_have_defaults, clean),
        cmocka_unit_test_teardown(the_command_line_beats_the_environment_beats_the_file,
                                  clean),
        cmocka_unit_test_teardown(line_ends_and_blanks_around_a_value_are_not_part_of_it,
                                  clean),
        cmocka_unit_test_teardown(an_unknown_or_out_of_bounds_setting_is_rejected_by_name,
                                  clean),
        cmocka_unit_test(a_file_that_cannot_be_read_whole_is_refused_by_its_name),
        cmocka_unit_test(a_line_of_any_length_is_one_line),
        cmocka_unit_test_teardown(a_setting_that_is_given_twice_is_refused, clean),
        cmocka_unit_test(an_unknown_variable_with_our_prefix_is_rejected),
        cmocka_unit_test(kubernetes_service_variables_are_ignored),
        cmocka_unit_test(a_number_setting_that_kubernetes_also_sets_is_ignored),
        cmocka_unit_test_teardown(
            a_secret_on_the_command_line_is_refused_and_not_repeated, clean),
    };

    return cmocka_run_group_tests_name("conf", tests, make_file, remove_file);
}
