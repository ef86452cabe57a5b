/*
 * cli_test.c - the command tree, its exit statuses, and calls to a real server.
 *
 * The server serves inventory on an ipc socket in a private folder; its GetStock answers,
 * and its AdjustStock refuses with each error in turn.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <sodium.h>
#include <sys/stat.h>

#include "base/program/process.h"
#include "cli/catalogue.h"
#include "cli/cli.h"
#include "cli/files.h"
#include "proto/inventory.pb-c.h"
#include "rpc/server/server.h"
#include "unit/cli/folder.h"

/* ---- running the whole program ---- */

static char *output, *errors;

static int run(const char *const *words)
{
    char *argv[16] = {NULL};
    int argc = 0;
    size_t size;

    free(output);
    free(errors);
    argv[argc++] = (char[]){"checkoutctl"};
    for (; *words != NULL; words++)
        argv[argc++] = (char *)(uintptr_t)*words;
    FILE *out = open_memstream(&output, &size), *err = open_memstream(&errors, &size);
    int status = cli_main(argc, argv, out, err);
    fclose(out);
    fclose(err);
    return status;
}

#define RUN(...) run((const char *const[]){__VA_ARGS__, NULL})

/* ---- a stack of one service ---- */

static char folder[FOLDER_SIZE];
static char conf[FOLDER_PATH_SIZE];
static struct key *server_key;
static struct principals *callers;
static struct rpc_server *server;
static enum err_code refusal = ERR_OUT_OF_STOCK;

static void get_stock(Inventory__V1__Inventory_Service *service,
                      const Inventory__V1__GetStockRequest *request,
                      Inventory__V1__GetStockReply_Closure closure, void *closure_data)
{
    Inventory__V1__GetStockReply reply = INVENTORY__V1__GET_STOCK_REPLY__INIT;

    (void)service;
    reply.sku = request->sku;
    reply.received = reply.available = 5;
    closure(&reply, closure_data);
}

static void adjust_stock(Inventory__V1__Inventory_Service *service,
                         const Inventory__V1__AdjustStockRequest *request,
                         Inventory__V1__AdjustStockReply_Closure closure,
                         void *closure_data)
{
    (void)service;
    (void)closure;
    struct err e = err_make(refusal, "No: %s.", request->reason);
    e.subject = "sku-1";
    rpc_call_fail(closure_data, e);
}

static Inventory__V1__Inventory_Service service = {
    .base = {.descriptor = &inventory__v1__inventory__descriptor,
             .invoke = protobuf_c_service_invoke_internal},
    .get_stock = get_stock,
    .adjust_stock = adjust_stock,
};

static void make_keys(void)
{
    char path[FOLDER_PATH_SIZE], other[FOLDER_PATH_SIZE];
    struct key *operator_key;

    assert_int_equal(
        RUN("key", "new", "inventory", "--out", folder_path(folder, "inv.key", path)), 0);
    assert_int_equal(
        RUN("key", "new", "operator", "--out", folder_path(folder, "op.key", other)), 0);
    assert_false(failed(key_read(path, &server_key)));
    assert_false(failed(key_read(other, &operator_key)));
    assert_false(failed(principals_allow(folder_path(folder, "known", path), "inventory",
                                         key_public(server_key), NULL)));
    assert_false(failed(principals_allow(folder_path(folder, "callers", path), "operator",
                                         key_public(operator_key), "*")));
    assert_false(failed(principals_read(path, true, server_key, &callers)));
    key_free(operator_key);
}

static void write_conf(void)
{
    char text[1024];

    snprintf(text, sizeof text,
             "key_file = %s/op.key\nservices_file = %s/known\n"
             "inventory_addresses = ipc://%s/inv.sock\njwt_key_file = %s/jwt.key\n"
             "jwt_issuer = us\njwt_audience = them\n",
             folder, folder, folder, folder);
    folder_path(folder, "ctl.conf", conf);
    assert_false(failed(file_write(conf, text, strlen(text), 0600, true)));
}

static int set_up(void **state)
{
    static ProtobufCService *const services[] = {&service.base};
    char url[FOLDER_PATH_SIZE];

    (void)state;
    if (sodium_init() < 0)
        return -1;
    unsetenv("CHECKOUT_STATE");
    unsetenv("CHECKOUT_DATABASE_URL");
    folder_make(folder);
    make_keys();
    write_conf();
    snprintf(url, sizeof url, "ipc://%s/inv.sock", folder);
    return failed(rpc_server_start(&(struct rpc_server_config){.url = url,
                                                               .callers = callers,
                                                               .services = services,
                                                               .service_count = 1,
                                                               .in_flight_max = 8},
                                   &server));
}

static int tear_down(void **state)
{
    (void)state;
    rpc_server_stop(server, 1000);
    principals_free(callers);
    key_free(server_key);
    folder_remove(folder);
    free(output);
    free(errors);
    return 0;
}

/* ---- the tree ---- */

static void every_row_of_the_table_is_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < COMMANDS_COUNT; i++) {
        const struct command *c = &COMMANDS[i];
        assert_non_null(c->run);
        assert_true(c->least <= c->most && c->most < CLI_WORDS_MAX - 2);
        assert_true((c->required & ~c->options) == 0);
        assert_true(*c->help >= 'a' && *c->help <= 'z');
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(c->path, COMMANDS[k].path);
    }
}

static void help_is_there_at_every_level_and_names_the_command(void **state)
{
    (void)state;
    assert_int_equal(RUN("--help"), 0);
    for (size_t i = 0; i < COMMANDS_COUNT; i++)
        assert_non_null(strstr(output, COMMANDS[i].path));
    for (size_t i = 0; i < COMMANDS_COUNT; i++) {
        char first[32], *second;
        snprintf(first, sizeof first, "%s", COMMANDS[i].path);
        second = strchr(first, ' ');
        if (second != NULL)
            *second++ = '\0';
        assert_int_equal(RUN(first, "--help"), 0);
        assert_non_null(strstr(output, COMMANDS[i].path));
        if (second != NULL)
            assert_int_equal(RUN(first, second, "-h"), 0);
        assert_non_null(strstr(output, COMMANDS[i].path));
    }
    assert_int_equal(RUN("--version"), 0);
    char version[64];
    snprintf(version, sizeof version, "checkoutctl %s\n", version_text());
    assert_string_equal(output, version);
}

static void wrong_usage_exits_2_with_one_sentence(void **state)
{
    static const char *const cases[][8] = {
        {"nonsense"},
        {"key", "nonsense"},
        {"call"},
        {"call", "a", "b", "c"},
        {"call", "Nonsense"},
        {"call", "Check"},
        {"call", "Check", "--service", "nonsense"},
        {"call", "GetStock", "{\"skuu\": 1}"},
        {"call", "GetStock", "{"},
        {"call", "GetStock", "@/nonexistent/file"},
        {"call", "GetStock", "--max-time", "0"},
        {"call", "GetStock", "--max-time", "601"},
        {"call", "GetStock", "--max-time", "nan"},
        {"call", "GetStock", "--max-time", "1x"},
        {"call", "GetStock", "--ttl", "1"},
        {"call", "GetStock", "--json=yes"},
        {"call", "GetStock", "-x"},
        {"call", "GetStock", "--state", "x", "--config", "y"},
        {"call", "GetStock", "--max-time"},
        {"call", "GetStock", "--max-time", "1", "--max-time", "2"},
        {"stock", "adjust", "a", "1"},
        {"stock", "adjust", "a", "1.5", "--reason", "x"},
        {"token"},
        {"token", "--user", "nobody"},
        {"token", "--user", "6f1f64a0-9d3b-4c56-8a34-1f0e6f6f2a11", "--ttl", "0"},
        {"key", "allow", "file", "name", "no-key"},
        {"migrate", "--lock-wait", "0"},
        {"call", "GetStock", "-H", "nothing"},
        {"call", "GetStock", "--connect-timeout", "0"},
        {"describe", "Nonsense"},
        {"list", "Nonsense"},
        {"list", "--reflect"},
        {"list", "--protoset", "/nonexistent"},
        {"completion", "fish"},
        {"top", "--interval", "0"},
    };

    (void)state;
    assert_int_equal(run((const char *const[]){NULL}), EXIT_USAGE);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int status = run(cases[i]);
        if (status != EXIT_USAGE)
            fail_msg("case %zu, %s: status %d, %s", i, cases[i][0], status, errors);
        assert_string_equal(output, "");
        assert_memory_equal(errors, "checkoutctl: ", 13);
        assert_ptr_equal(strchr(errors, '\n'), errors + strlen(errors) - 1);
    }
}

static void a_stack_that_is_not_there_exits_1_and_says_how_to_make_one(void **state)
{
    (void)state;
    assert_int_equal(RUN("health", "--state", "/nonexistent"), EXIT_LOCAL);
    assert_non_null(strstr(errors, "./up --state /nonexistent"));
    setenv("CHECKOUT_STATE", "/nonexistent/either", 1);
    assert_int_equal(RUN("migrate"), EXIT_LOCAL);
    assert_non_null(strstr(errors, "./up --state /nonexistent/either"));
    unsetenv("CHECKOUT_STATE");
}

static void the_database_url_is_no_option(void **state)
{
    (void)state;
    assert_int_equal(RUN("migrate", "--database-url", "postgresql:///x"), EXIT_USAGE);
}

/* ---- calls ---- */

static void a_call_prints_its_reply_as_json(void **state)
{
    (void)state;
    assert_int_equal(
        RUN("call", "Inventory/GetStock", "{\"sku\": \"a\"}", "--config", conf), 0);
    assert_string_equal(output,
                        "{\"sku\":\"a\",\"received\":\"5\",\"available\":\"5\"}\n");
    assert_int_equal(RUN("call", "--defaults", "--config", conf, "GetStock"), 0);
    assert_string_equal(output, "{\"sku\":\"\",\"received\":\"5\",\"available\":\"5\","
                                "\"held\":\"0\",\"sold\":\"0\"}\n");
}

static void json_comes_from_a_file_too(void **state)
{
    char path[FOLDER_PATH_SIZE], word[FOLDER_PATH_SIZE + 1];

    (void)state;
    folder_path(folder, "request.json", path);
    assert_false(failed(file_write(path, "{\"sku\":\"f\"}", 11, 0600, true)));
    snprintf(word, sizeof word, "@%s", path);
    assert_int_equal(
        RUN("call", "inventory.v1.Inventory/GetStock", word, "--config", conf), 0);
    assert_non_null(strstr(output, "\"sku\":\"f\""));
}

static void a_refused_call_exits_64_plus_its_status(void **state)
{
    (void)state;
    for (unsigned code = 1; code <= ERR_CHECKOUT_IN_PROGRESS; code++) {
        refusal = (enum err_code)code;
        int status = RUN("stock", "adjust", "sku-1", "-5", "--reason", "why", "--config",
                         conf, "--max-time", "0.3");
        /* What may be asked again is, until the time is up; then it may be that. */
        bool late = status == 64 + ERR_DEADLINE_EXCEEDED && err_retryable(refusal);
        if (status != 64 + (int)err_grpc_status(refusal) && !late)
            fail_msg("%s: status %d, %s", err_reason(refusal), status, errors);
        assert_string_equal(output, "");
    }
    refusal = ERR_OUT_OF_STOCK;
    assert_int_equal(
        RUN("stock", "adjust", "a", "-5", "--reason", "why", "--config", conf), 73);
    assert_string_equal(
        errors, "checkoutctl: FAILED_PRECONDITION: out_of_stock: No: why. [sku-1]\n");
}

static void a_service_that_is_away_exits_78_within_the_time(void **state)
{
    (void)state;
    setenv("CHECKOUT_CHECKOUTCTL_INVENTORY_ADDRESSES", "ipc:///nonexistent/socket", 1);
    assert_int_equal(RUN("stock", "show", "a", "--config", conf, "--max-time", "0.3"),
                     64 + ERR_UNAVAILABLE);
    unsetenv("CHECKOUT_CHECKOUTCTL_INVENTORY_ADDRESSES");
}

static void people_get_words(void **state)
{
    (void)state;
    assert_int_equal(RUN("stock", "show", "a", "--config", conf), 0);
    assert_string_equal(output, "a: 5 available, 0 held, 0 sold, of 5 received\n");
    assert_int_equal(RUN("call", "Check", "--service", "inventory", "--config", conf), 0);
    assert_string_equal(output, "{\"status\":\"SERVING\"}\n");
    /* The other two services are not configured here. */
    assert_int_equal(RUN("health", "--config", conf), EXIT_LOCAL);
    assert_non_null(strstr(output, "inventory           SERVING"));
    assert_non_null(strstr(output, "payment             UNREACHABLE"));
}

static void a_token_needs_the_issuer_and_is_one_line(void **state)
{
    static const char user[] = "6f1f64a0-9d3b-4c56-8a34-1f0e6f6f2a11";
    char key[FOLDER_PATH_SIZE], jwks[FOLDER_PATH_SIZE];

    (void)state;
    assert_int_equal(RUN("token", "--user", user, "--config", conf), EXIT_LOCAL);
    folder_path(folder, "jwt.key", key);
    folder_path(folder, "jwks.json", jwks);
    assert_int_equal(RUN("key", "issuer", "--out", key, "--jwks", jwks), 0);
    char *id = strdup(output);
    unlink(jwks);
    assert_int_equal(RUN("key", "issuer", "--out", key, "--jwks", jwks), 0);
    assert_string_equal(output, id);
    assert_int_equal(access(jwks, R_OK), 0);
    assert_int_equal(RUN("token", "--user", user, "--config", conf), 0);
    assert_ptr_equal(strchr(output, '\n'), output + strlen(output) - 1);
    free(id);
}

/* ---- servers by address, and many calls at once ---- */

/* The server's address and public key, and nothing of its stack but our own key. */
static int run_at_url(const char *command, const char *word, const char *json,
                      const char *more)
{
    char url[FOLDER_PATH_SIZE], key[FOLDER_PATH_SIZE];
    char public[sodium_base64_ENCODED_LEN(KEY_PUBLIC_SIZE,
                                          sodium_base64_VARIANT_ORIGINAL)];

    snprintf(url, sizeof url, "ipc://%s/inv.sock", folder);
    folder_path(folder, "op.key", key);
    sodium_bin2base64(public, sizeof public, key_public(server_key), KEY_PUBLIC_SIZE,
                      sodium_base64_VARIANT_ORIGINAL);
    return RUN(command, "--url", url, "--service-key", public, "--key", key, word, json,
               more);
}

static void a_server_is_called_by_its_address_and_what_it_says_of_itself(void **state)
{
    (void)state;
    setenv("CHECKOUT_CHECKOUTCTL_KEY_FILE", "/nonexistent", 1);
    assert_int_equal(run_at_url("list", NULL, NULL, NULL), 0);
    assert_non_null(strstr(output, "inventory.v1.Inventory "));
    assert_non_null(strstr(output, "rpc.v1.Reflection"));
    assert_null(strstr(output, "orders.v1.Orders"));
    assert_int_equal(run_at_url("call", "GetStock", "{\"sku\":\"u\"}", NULL), 0);
    assert_non_null(strstr(output, "\"sku\":\"u\""));
    assert_int_equal(run_at_url("call", "GetOrder", "{}", NULL), EXIT_USAGE);
    assert_int_equal(run_at_url("ping", "--json", NULL, NULL), 0);
    assert_non_null(strstr(output, "\"median_ms\""));
    unsetenv("CHECKOUT_CHECKOUTCTL_KEY_FILE");
}

static void a_bench_counts_every_call_and_a_failed_one_as_that(void **state)
{
    (void)state;
    assert_int_equal(RUN("bench", "GetStock", "{\"sku\":\"{{ulid}}\"}", "--seconds", "1",
                         "--json", "--config", conf),
                     0);
    json_t *json = json_loads(output, 0, NULL);
    json_t *statuses = json_object_get(json, "statuses");
    assert_int_equal(
        json_integer_value(json_object_get(json, "calls")),
        json_integer_value(json_object_get(statuses, "OK")) +
            json_integer_value(json_object_get(statuses, "RESOURCE_EXHAUSTED")));
    assert_true(json_integer_value(json_object_get(json, "calls")) > 0);
    json_decref(json);
    refusal = ERR_OUT_OF_STOCK;
    assert_int_equal(RUN("bench", "AdjustStock", "{\"reason\":\"x\"}", "--seconds", "1",
                         "--concurrency", "2", "--config", conf),
                     64 + ERR_FAILED_PRECONDITION);
    assert_non_null(strstr(output, "FAILED_PRECONDITION"));
    assert_int_equal(RUN("bench", "GetStock", "{", "--config", conf), EXIT_USAGE);
    assert_int_equal(RUN("bench", "GetStock", "--concurrency", "257", "--config", conf),
                     EXIT_USAGE);
}

/* ---- profiles ---- */

static void a_production_profile_changes_nothing_without_a_yes(void **state)
{
    char path[FOLDER_PATH_SIZE], text[512];

    (void)state;
    folder_path(folder, "profiles.conf", path);
    int size = snprintf(text, sizeof text,
                        "[live]\nconfig = %s\nproduction = true\n[other]\n"
                        "inventory_addresses = ipc:///nonexistent/socket\nconfig = %s\n",
                        conf, conf);
    assert_false(failed(file_write(path, text, (size_t)size, 0600, true)));
    setenv("CHECKOUT_PROFILES", path, 1);
    assert_int_equal(RUN("profiles"), 0);
    assert_non_null(strstr(output, "live"));
    FILE *terminal = stdin;
    stdin = fopen("/dev/null", "re");
    refusal = ERR_OUT_OF_STOCK;
    assert_int_equal(
        RUN("--profile", "live", "stock", "adjust", "a", "1", "--reason", "x"),
        EXIT_USAGE);
    assert_int_equal(RUN("--profile", "live", "call", "AdjustStock", "{}"), EXIT_USAGE);
    assert_int_equal(RUN("--profile", "live", "bench", "AdjustStock", "{}"), EXIT_USAGE);
    assert_int_equal(RUN("--profile", "live", "call", "GetStock", "{}"), 0);
    assert_int_equal(RUN("--profile", "live", "-y", "call", "AdjustStock", "{}"), 73);
    fclose(stdin);
    stdin = terminal;
    /* What a profile sets goes before its stack's own settings. */
    assert_int_equal(RUN("--profile", "other", "stock", "show", "a", "--max-time", "0.2"),
                     64 + ERR_UNAVAILABLE);
    assert_int_equal(RUN("--profile", "none", "stock", "show", "a"), EXIT_LOCAL);
    assert_non_null(strstr(errors, "live, other"));
    assert_int_equal(RUN("--profile", "live", "--config", conf, "health"), EXIT_USAGE);
    unsetenv("CHECKOUT_PROFILES");
}

static void assert_profiles_refused(const char *text, const char *said)
{
    char path[FOLDER_PATH_SIZE];

    folder_path(folder, "profiles.conf", path);
    assert_false(failed(file_write(path, text, strlen(text), 0600, true)));
    setenv("CHECKOUT_PROFILES", path, 1);
    assert_int_equal(RUN("--profile", "a", "health"), EXIT_LOCAL);
    unsetenv("CHECKOUT_PROFILES");
    if (strstr(errors, said) == NULL)
        fail_msg("\"%s\" does not say %s", errors, said);
}

static void what_a_profile_sets_twice_is_refused(void **state)
{
    (void)state;
    assert_profiles_refused("[a]\nkey_file = x\n#\nkey_file = y\n",
                            "profiles.conf:4 sets");
    assert_profiles_refused("[a]\nstate = x\nstate = x\n", "profiles.conf:3 sets");
    assert_profiles_refused("[a]\nstate = x\n[b]\n[a]\n", "there 2 times");
}

static void a_folder_in_place_of_a_file_of_settings_is_refused(void **state)
{
    char path[FOLDER_PATH_SIZE], file[FOLDER_PATH_SIZE];

    (void)state;
    setenv("CHECKOUT_PROFILES", folder, 1);
    assert_int_equal(RUN("--profile", "a", "health"), EXIT_LOCAL);
    assert_non_null(strstr(errors, "Is a directory"));
    unsetenv("CHECKOUT_PROFILES");
    folder_path(folder, "conf", path);
    folder_path(folder, "conf/checkoutctl.conf", file);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(mkdir(file, 0700), 0);
    assert_int_equal(RUN("--state", folder, "health"), EXIT_LOCAL);
    assert_non_null(strstr(errors, "Is a directory"));
    assert_int_equal(rmdir(file), 0);
    assert_int_equal(RUN("--state", folder, "health"), EXIT_LOCAL);
    assert_non_null(strstr(errors, "there is no stack in"));
    assert_int_equal(rmdir(path), 0);
}

/* ---- the catalogue ---- */

static void a_method_is_found_by_any_unambiguous_end_of_its_name(void **state)
{
    static const char *const good[] = {"inventory.v1.Inventory/GetStock",
                                       "v1.Inventory/GetStock", "Inventory/GetStock",
                                       "GetStock"};
    static const char *const bad[] = {"",          "/",
                                      "Stock",     "tory/GetStock",
                                      "getstock",  "x.inventory.v1.Inventory/GetStock",
                                      "Inventory/"};
    struct found_method method;
    struct catalogue catalogue;
    struct cli cli = {.arena = arena_new(16 << 20)};

    (void)state;
    assert_int_equal(catalogue_open(&cli, &catalogue).status, 0);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_false(failed(method_find(&catalogue, good[i], &method)));
        assert_string_equal(method.place->name, "inventory");
        assert_string_equal(method.symbol->of.method->name, "GetStock");
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(method_find(&catalogue, bad[i], &method).code,
                         ERR_INVALID_ARGUMENT);
    arena_free(cli.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_of_the_table_is_whole),
        cmocka_unit_test(help_is_there_at_every_level_and_names_the_command),
        cmocka_unit_test(wrong_usage_exits_2_with_one_sentence),
        cmocka_unit_test(a_stack_that_is_not_there_exits_1_and_says_how_to_make_one),
        cmocka_unit_test(the_database_url_is_no_option),
        cmocka_unit_test(a_call_prints_its_reply_as_json),
        cmocka_unit_test(json_comes_from_a_file_too),
        cmocka_unit_test(a_refused_call_exits_64_plus_its_status),
        cmocka_unit_test(a_service_that_is_away_exits_78_within_the_time),
        cmocka_unit_test(people_get_words),
        cmocka_unit_test(a_token_needs_the_issuer_and_is_one_line),
        cmocka_unit_test(a_server_is_called_by_its_address_and_what_it_says_of_itself),
        cmocka_unit_test(a_bench_counts_every_call_and_a_failed_one_as_that),
        cmocka_unit_test(what_a_profile_sets_twice_is_refused),
        cmocka_unit_test(a_folder_in_place_of_a_file_of_settings_is_refused),
        cmocka_unit_test(a_production_profile_changes_nothing_without_a_yes),
        cmocka_unit_test(a_method_is_found_by_any_unambiguous_end_of_its_name),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
