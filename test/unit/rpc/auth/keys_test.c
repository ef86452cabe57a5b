/* keys_test.c - key files and access lists say who is who, or are refused. */
#include "unit/rpc/fixture.h"

#include <fcntl.h>
#include <sodium.h>

static void write_file(const char *path, const char *text, mode_t mode)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    chmod(path, mode);
}

static char *base64_of(const struct key *key)
{
    static char text[64];

    return sodium_bin2base64(text, sizeof text, key_public(key), KEY_PUBLIC_SIZE,
                             sodium_base64_VARIANT_ORIGINAL);
}

static void a_key_file_reads_back_as_it_was_made(void **state)
{
    struct folder f;
    struct stat info;

    (void)state;
    folder_make(&f);
    struct key *first = make_key(&f, "inventory"), *again;
    assert_ok(key_read(in(&f, "", "inventory"), &again));
    assert_string_equal(key_name(again), "inventory");
    assert_memory_equal(key_public(first), key_public(again), KEY_PUBLIC_SIZE);
    assert_return_code(stat(in(&f, "", "inventory"), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    key_free(first);
    key_free(again);
    folder_remove(&f);
}

static void a_derived_key_is_of_its_key_file_and_purpose(void **state)
{
    uint8_t first[KEY_SHARED_SIZE], again[KEY_SHARED_SIZE];
    struct folder f;

    (void)state;
    folder_make(&f);
    struct key *key = make_key(&f, "inventory"), *reread, *other = make_key(&f, "other");
    assert_ok(key_read(in(&f, "", "inventory"), &reread));
    key_derive(key, "list", first);
    key_derive(reread, "list", again);
    assert_memory_equal(first, again, sizeof first);
    key_derive(key, "another list", again);
    assert_memory_not_equal(first, again, sizeof first);
    key_derive(other, "list", again);
    assert_memory_not_equal(first, again, sizeof first);
    key_free(key);
    key_free(reread);
    key_free(other);
    folder_remove(&f);
}

static void a_key_is_never_replaced(void **state)
{
    struct folder f;

    (void)state;
    folder_make(&f);
    assert_ok(key_create(in(&f, "", "k"), "a"));
    assert_code(key_create(in(&f, "", "k"), "a"), ERR_ALREADY_EXISTS);
    folder_remove(&f);
}

static void a_key_file_that_others_can_read_is_refused(void **state)
{
    static const mode_t open_to_others[] = {0640, 0604, 0660, 0644, 0620, 0601};
    struct folder f;
    struct key *key;

    (void)state;
    folder_make(&f);
    assert_ok(key_create(in(&f, "", "k"), "a"));
    for (size_t i = 0; i < sizeof open_to_others / sizeof *open_to_others; i++) {
        chmod(in(&f, "", "k"), open_to_others[i]);
        assert_code(key_read(in(&f, "", "k"), &key), ERR_INVALID_ARGUMENT);
    }
    folder_remove(&f);
}

static void a_key_file_with_anything_wrong_is_refused(void **state)
{
    struct folder f;
    char text[512], other[64], bad[5][600];
    struct key *key, *unused;

    (void)state;
    folder_make(&f);
    key = make_key(&f, "a");
    FILE *file = fopen(in(&f, "", "a"), "r");
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    struct key *second = make_key(&f, "b");
    snprintf(other, sizeof other, "%s", base64_of(second));

    snprintf(bad[0], sizeof bad[0], "%sport = 1\n", text);             /* unknown name */
    snprintf(bad[1], sizeof bad[1], "%sname = again\n", text);         /* twice */
    snprintf(bad[2], sizeof bad[2], "name = a\npublic = %s\n", other); /* no secret */
    snprintf(bad[3], sizeof bad[3], "name = a\npublic = %s%s", other,
             strstr(text, "\nsecret")); /* another's public key */
    snprintf(bad[4], sizeof bad[4], "name = a b\n%s", strstr(text, "public"));
    for (int i = 0; i < 5; i++) {
        write_file(in(&f, "", "bad"), bad[i], 0600);
        assert_code(key_read(in(&f, "", "bad"), &unused), ERR_INVALID_ARGUMENT);
    }
    assert_code(key_read(in(&f, "", "none"), &unused), ERR_INVALID_ARGUMENT);
    key_free(key);
    key_free(second);
    folder_remove(&f);
}

static void both_sides_compute_the_same_shared_key(void **state)
{
    struct world w;
    struct principals *back;

    (void)state;
    world_make(&w);
    assert_ok(principals_read(in(&w.folder, "", "services"), false, w.client, &back));
    const struct principal *a = principals_find(w.callers, "client", 6);
    const struct principal *b = principals_find(back, "server", 6);
    assert_non_null(a);
    assert_non_null(b);
    assert_memory_equal(a->shared, b->shared, KEY_SHARED_SIZE);
    principals_free(back);
    world_end(&w);
}

static void only_a_whole_name_finds_a_peer(void **state)
{
    struct world w;

    (void)state;
    world_make(&w);
    assert_non_null(principals_find(w.callers, "client", 6));
    assert_null(principals_find(w.callers, "clien", 5));
    assert_null(principals_find(w.callers, "clients", 7));
    assert_null(principals_find(w.callers, "client\0", 7));
    assert_null(principals_find(w.callers, "", 0));
    world_end(&w);
}

static void a_pattern_allows_a_full_name_or_what_begins_so(void **state)
{
    struct folder f;
    struct principals *principals;

    (void)state;
    folder_make(&f);
    struct key *own = make_key(&f, "own"), *key = make_key(&f, "key");
    assert_ok(principals_allow(in(&f, "", "list"), "key", key_public(key),
                               "a.v1.A/Get*,a.v1.A/Put"));
    assert_ok(principals_read(in(&f, "", "list"), true, own, &principals));
    const struct principal *caller = principals_find(principals, "key", 3);
    assert_true(principal_may_call(caller, "a.v1.A/GetThis"));
    assert_true(principal_may_call(caller, "a.v1.A/Get"));
    assert_true(principal_may_call(caller, "a.v1.A/Put"));
    assert_false(principal_may_call(caller, "a.v1.A/PutThis"));
    assert_false(principal_may_call(caller, "a.v1.A/Pu"));
    assert_false(principal_may_call(caller, "b.v1.A/Get"));
    assert_false(principal_may_call(caller, ""));
    principals_free(principals);
    key_free(own);
    key_free(key);
    folder_remove(&f);
}

static void an_access_list_with_a_bad_line_is_refused_naming_the_line(void **state)
{
    struct folder f;
    struct principals *principals;

    (void)state;
    folder_make(&f);
    struct key *own = make_key(&f, "own"), *key = make_key(&f, "key");
    const char *k = base64_of(key);
    char lines[7][256];
    snprintf(lines[0], 256, "key %s", k);         /* no methods */
    snprintf(lines[1], 256, "key %s a/B c/D", k); /* a word too many */
    snprintf(lines[2], 256, "key %.40s a/B", k);  /* key cut short */
    snprintf(lines[3], 256, "k/y %s a/B", k);     /* not a name */
    snprintf(lines[4], 256, "key %s a/*B", k);    /* '*' in the middle */
    snprintf(lines[5], 256, "key %s a/B\nkey %s a/B", k, k);
    snprintf(lines[6], 256, "key %s a/B\nyek %s *", k, k); /* one key, two names */
    for (int i = 0; i < 7; i++) {
        char text[600];
        snprintf(text, sizeof text, "# callers\n\n%s\n", lines[i]);
        write_file(in(&f, "", "list"), text, 0644);
        struct err e = principals_read(in(&f, "", "list"), true, own, &principals);
        assert_int_equal(e.code, ERR_INVALID_ARGUMENT);
        assert_non_null(strstr(e.message, i < 5 ? "list:3" : "list:4"));
    }
    key_free(own);
    key_free(key);
    folder_remove(&f);
}

static void a_caller_may_have_two_keys_and_no_third(void **state)
{
    struct folder f;
    struct principals *principals;
    char text[600];

    (void)state;
    folder_make(&f);
    struct key *own = make_key(&f, "own");
    struct key *keys[] = {make_key(&f, "a"), make_key(&f, "b"), make_key(&f, "c")};
    size_t used = 0;
    for (int i = 0; i < 3; i++) {
        used += (size_t)snprintf(text + used, sizeof text - used, "key %s a.v1.A/M%d\n",
                                 base64_of(keys[i]), i);
        write_file(in(&f, "", "list"), text, 0644);
        struct err e = principals_read(in(&f, "", "list"), true, own, &principals);
        if (i == 2) {
            assert_code(e, ERR_INVALID_ARGUMENT);
            break;
        }
        assert_ok(e);
        const struct principal *principal = principals_find(principals, "key", 3);
        assert_memory_equal(principal->public_key, key_public(keys[0]), KEY_PUBLIC_SIZE);
        principal = principals_find_next(principals, principal);
        assert_int_equal(principal != NULL, i);
        if (principal != NULL) {
            assert_true(
                principal_may_call(principal, "a.v1.A/M1")); /* each as its line says */
            assert_false(principal_may_call(principal, "a.v1.A/M0"));
            assert_null(principals_find_next(principals, principal));
        }
        principals_free(principals);
    }
    /* Whom we call has one: we would not know which to seal with. */
    snprintf(text, sizeof text, "key %s\n", base64_of(keys[0]));
    used = strlen(text);
    snprintf(text + used, sizeof text - used, "key %s\n", base64_of(keys[1]));
    write_file(in(&f, "", "list"), text, 0644);
    assert_code(principals_read(in(&f, "", "list"), false, own, &principals),
                ERR_INVALID_ARGUMENT);
    for (int i = 0; i < 3; i++)
        key_free(keys[i]);
    key_free(own);
    folder_remove(&f);
}

static void a_public_key_of_low_order_is_refused(void **state)
{
    struct folder f;
    struct principals *principals;
    const uint8_t zero[KEY_PUBLIC_SIZE] = {0};

    (void)state;
    folder_make(&f);
    struct key *own = make_key(&f, "own");
    assert_ok(principals_allow(in(&f, "", "list"), "zero", zero, NULL));
    assert_code(principals_read(in(&f, "", "list"), false, own, &principals),
                ERR_INVALID_ARGUMENT);
    key_free(own);
    folder_remove(&f);
}

static void adding_twice_changes_nothing_and_differently_is_refused(void **state)
{
    struct folder f;
    struct stat before, after;

    (void)state;
    folder_make(&f);
    struct key *a = make_key(&f, "a"), *b = make_key(&f, "b");
    const char *list = in(&f, "", "list");
    write_file(list, "# a comment without an end of line", 0644);
    assert_ok(principals_allow(list, "a", key_public(a), "x/Y,x/Z"));
    assert_return_code(stat(list, &before), 0);
    assert_ok(principals_allow(list, "a", key_public(a), "x/Y,x/Z"));
    assert_return_code(stat(list, &after), 0);
    assert_int_equal(before.st_size, after.st_size);
    assert_code(principals_allow(list, "a", key_public(a), "x/Y"), ERR_ALREADY_EXISTS);
    assert_code(principals_allow(list, "a", key_public(b), "x/Y,x/Z"),
                ERR_ALREADY_EXISTS);
    assert_code(principals_allow(list, "b", key_public(b), "x/ Y"), ERR_INVALID_ARGUMENT);
    assert_code(principals_allow(list, "b\n", key_public(b), "*"), ERR_INVALID_ARGUMENT);
    struct principals *principals;
    assert_ok(principals_read(list, true, b, &principals));
    assert_non_null(principals_find(principals, "a", 1));
    principals_free(principals);
    key_free(a);
    key_free(b);
    folder_remove(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_file_reads_back_as_it_was_made),
        cmocka_unit_test(a_derived_key_is_of_its_key_file_and_purpose),
        cmocka_unit_test(a_key_is_never_replaced),
        cmocka_unit_test(a_key_file_that_others_can_read_is_refused),
        cmocka_unit_test(a_key_file_with_anything_wrong_is_refused),
        cmocka_unit_test(both_sides_compute_the_same_shared_key),
        cmocka_unit_test(only_a_whole_name_finds_a_peer),
        cmocka_unit_test(a_pattern_allows_a_full_name_or_what_begins_so),
        cmocka_unit_test(an_access_list_with_a_bad_line_is_refused_naming_the_line),
        cmocka_unit_test(a_caller_may_have_two_keys_and_no_third),
        cmocka_unit_test(a_public_key_of_low_order_is_refused),
        cmocka_unit_test(adding_twice_changes_nothing_and_differently_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
