/*
 * connect_test.c - connecting (lib/db/connection/connect.h) takes no longer than there is
 * time, whatever name servers and addresses do, and finds a server that answers.
 *
 * getaddrinfo is the test's own: it knows two names, one with a silent address in front
 * and one whose name server does not answer until it is let.
 */
#include "unit/db/database.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "db/connection/connect.h"
#include "db/connection/setup.h"
#include "db/db.h"
#include "db/session.h"

enum { LATER_MS = 50000, IN_TIME_MS = 2000, MUCH_LATER_MS = 20000 };

#define SILENT "127.0.0.2"
#define GOOD   "127.0.0.1"

/* ---- the test's name server --------------------------------------------------------- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool answers; /* for slow.test */
    int asked;    /* how often, for slow.test */
} names = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

typedef int resolver(const char *, const char *, const struct addrinfo *,
                     struct addrinfo **);

static int pass_on(const char *node, const char *service, const struct addrinfo *hints,
                   struct addrinfo **out)
{
    resolver *next = NULL;

    *(void **)&next = dlsym(RTLD_NEXT, "getaddrinfo");
    return next(node, service, hints, out);
}

static void wait_until_it_answers(void)
{
    pthread_mutex_lock(&names.lock);
    names.asked++;
    while (!names.answers)
        pthread_cond_wait(&names.wake, &names.lock);
    pthread_mutex_unlock(&names.lock);
}

static void let_it_answer(bool answers)
{
    pthread_mutex_lock(&names.lock);
    names.answers = answers;
    names.asked = 0;
    pthread_cond_broadcast(&names.wake);
    pthread_mutex_unlock(&names.lock);
}

static int times_asked(void)
{
    pthread_mutex_lock(&names.lock);
    int asked = names.asked;
    pthread_mutex_unlock(&names.lock);
    return asked;
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **out)
{
    bool numeric = hints != NULL && (hints->ai_flags & AI_NUMERICHOST) != 0;
    struct addrinfo *second = NULL;

    if (numeric || node == NULL)
        return pass_on(node, service, hints, out);
    if (strcmp(node, "slow.test") == 0) {
        wait_until_it_answers();
        return pass_on(GOOD, service, hints, out);
    }
    if (strcmp(node, "nowhere.test") == 0)
        return EAI_NONAME;
    if (strcmp(node, "two.test") != 0)
        return pass_on(node, service, hints, out);
    int status = pass_on(SILENT, service, hints, out);
    if (status == 0)
        status = pass_on(GOOD, service, hints, &second);
    if (status == 0)
        (*out)->ai_next = second; /* glibc frees a list entry by entry */
    return status;
}

/* ---- servers ------------------------------------------------------------------------- */

static const char *port(void)
{
    return getenv("CHECKOUT_TEST_DATABASE_PORT");
}

/* Connections to it are made, and nothing is ever said on them. */
static int silent_server(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)atoi(port()))};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    inet_pton(AF_INET, SILENT, &address.sin_addr);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 64), 0);
    return fd;
}

static const char *user(void)
{
    return strstr(database_url(), "user=") + strlen("user=");
}

static const char *url_of(const char *host, char out[512])
{
    snprintf(out, 512, "postgresql://%s@%s:%s/checkout", user(), host, port());
    return out;
}

static const struct db_kind ECHO = {
    .name = "echo",
    .head = "t",
    .answer =
        "SELECT a.ordinal, a.text FROM unnest($1) WITH ORDINALITY AS a(text, ordinal)"
        " ORDER BY a.ordinal",
};
static const struct db_kind *const KINDS[] = {&ECHO};

static struct db *open_on(const char *url)
{
    const struct db_config config = {.url = url,
                                     .name = "connect_test",
                                     .kinds = KINDS,
                                     .kind_count = 1,
                                     .queue_max = 16,
                                     .batch_max = 16,
                                     .readers = 1};
    struct db *db = NULL;

    assert_ok(db_open(&config, &db));
    return db;
}

static struct err write_within(struct db *db, int64_t ms)
{
    struct db_op op = {.kind = &ECHO, .head = {db_t("x")}, .deadline_ms = in_ms(ms)};

    return db_submit_wait(db, &op, 1, NULL, NULL);
}

static struct err read_within(struct db *db, int64_t ms)
{
    struct db_query query = {
        .name = "one", .types = "", .sql = "SELECT 1::bigint", .deadline_ms = in_ms(ms)};

    return db_read_wait(db, &query, NULL, NULL);
}

static struct conn connection_to(const char *url)
{
    return (struct conn){.url = url, .name = "connect_test", .of = SETTINGS_WRITER};
}

/* ---- notices ------------------------------------------------------------------------- */

/* Lets one client in, says that the server is going away, and closes. */
static void *go_away(void *listener)
{
    static const char SAID[] = "R\0\0\0\010\0\0\0\0"
                               "N\0\0\0\046SFATAL\0VFATAL\0C57P01\0Mgoing away\0";
    char startup[1024];
    int fd = accept(*(int *)listener, NULL, NULL);

    assert_true(read(fd, startup, sizeof startup) > 0);
    assert_int_equal(write(fd, SAID, sizeof SAID), sizeof SAID); /* the last NUL, too */
    close(fd);
    return NULL;
}

static void what_a_server_says_while_we_connect_is_no_line_of_the_log(void **state)
{
    char url[512], shown[256] = "";
    int listener = silent_server(), real = dup(STDERR_FILENO);
    FILE *file = tmpfile();
    pthread_t thread;

    (void)state;
    assert_non_null(file);
    snprintf(url, sizeof url,
             "host=" SILENT " port=%s sslmode=disable gssencmode=disable", port());
    struct conn conn = connection_to(url);
    assert_int_equal(pthread_create(&thread, NULL, go_away, &listener), 0);
    dup2(fileno(file), STDERR_FILENO);
    struct err e = conn_open(&conn, in_ms(IN_TIME_MS));
    dup2(real, STDERR_FILENO);
    pthread_join(thread, NULL);
    assert_int_equal(e.code, ERR_UNAVAILABLE);
    conn_end(&conn);
    rewind(file);
    size_t size = fread(shown, 1, sizeof shown - 1, file);
    assert_string_equal(shown, "");
    assert_int_equal(size, 0);
    fclose(file);
    close(real);
    close(listener);
}

/* ---- addresses ------------------------------------------------------------------------ */

static void a_silent_first_address_leaves_time_for_the_next(void **state)
{
    char url[512];
    int silent = silent_server();
    struct db *db = open_on(url_of("two.test", url));

    (void)state;
    assert_ok(read_within(db, IN_TIME_MS));
    assert_ok(write_within(db, LATER_MS));
    db_close(db);
    close(silent);
}

static void a_silent_first_host_leaves_time_for_the_next(void **state)
{
    char url[512], hosts[256];
    int silent = silent_server();

    (void)state;
    snprintf(hosts, sizeof hosts, SILENT ":%s,two.test", port());
    struct db *db = open_on(url_of(hosts, url));
    assert_ok(read_within(db, IN_TIME_MS));
    assert_ok(write_within(db, LATER_MS));
    db_close(db);
    close(silent);
}

static void an_error_names_the_silent_host(void **state)
{
    char url[512];
    int silent = silent_server();
    struct conn conn = connection_to(url_of(SILENT, url));

    (void)state;
    struct err e = conn_open(&conn, in_ms(200));
    assert_int_equal(e.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(e.message, SILENT " did not answer in time"));
    conn_end(&conn);
    close(silent);
}

/* ---- names ----------------------------------------------------------------------------- */

static void no_deadline_is_missed_for_a_name_server_that_is_silent(void **state)
{
    char url[512];

    (void)state;
    let_it_answer(false);
    struct db *db = open_on(url_of("slow.test", url));
    int64_t before = clock_monotonic_ms();
    struct err write = write_within(db, IN_TIME_MS), read = read_within(db, IN_TIME_MS);
    assert_true(clock_monotonic_ms() - before < MUCH_LATER_MS);
    assert_int_equal(write.code, ERR_UNAVAILABLE);
    assert_int_equal(write.effect, EFFECT_NONE);
    assert_true(failed(read));
    let_it_answer(true);
    assert_ok(write_within(db, LATER_MS));
    assert_ok(read_within(db, LATER_MS));
    db_close(db);
}

static void closing_does_not_wait_for_a_name_server(void **state)
{
    char url[512];

    (void)state;
    let_it_answer(false);
    struct db *db = open_on(url_of("slow.test", url));
    while (times_asked() == 0)
        breathe();
    db_close(db); /* in the time of one attempt */
    let_it_answer(true);
}

static void a_connection_has_one_look_up_of_a_name_at_a_time(void **state)
{
    char url[512];
    struct conn conn = connection_to(url_of("slow.test", url));

    (void)state;
    let_it_answer(false);
    for (int i = 0; i < 5; i++) {
        struct err e = conn_open(&conn, in_ms(50));
        assert_int_equal(e.code, ERR_UNAVAILABLE);
        assert_non_null(strstr(e.message, "\"slow.test\" in time"));
    }
    assert_int_equal(times_asked(), 1);
    let_it_answer(true);
    assert_ok(conn_open(&conn, in_ms(LATER_MS)));
    conn_end(&conn);
}

static void a_name_that_is_not_there_is_named(void **state)
{
    char url[512];
    struct conn conn = connection_to(url_of("nowhere.test", url));

    (void)state;
    struct err e = conn_open(&conn, in_ms(LATER_MS));
    assert_int_equal(e.code, ERR_UNAVAILABLE);
    assert_non_null(
        strstr(e.message, "\"nowhere.test\" has no address: Name or service"));
    conn_end(&conn);
}

/* ---- URLs ------------------------------------------------------------------------------ */

static void an_invalid_url_is_rejected_without_quoting_it(void **state)
{
    static const struct {
        const char *url, *words;
    } URLS[] = {
        {"postgresql://u:secret@[h/x", "not one libpq understands"},
        {"secret", "not one libpq understands"},
        {"postgresql://u:secret@/x?port=1,2,3&host=a,b",
         "could not match 3 port numbers"},
        {"postgresql://u:secret@/x?sslmode=perhaps", "invalid sslmode value"},
        {"postgresql://u:secret@/x?service=none",
         "definition of service \"none\" not found"},
        {"postgresql://u:secret@a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a/x", "names 17 hosts"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof URLS / sizeof *URLS; i++) {
        struct conn conn = connection_to(URLS[i].url);
        struct err e = conn_open(&conn, in_ms(LATER_MS));
        assert_int_equal(e.code, ERR_UNAVAILABLE);
        if (strstr(e.message, URLS[i].words) == NULL ||
            strstr(e.message, "secret") != NULL)
            fail_msg("%s: %s", URLS[i].url, e.message);
        conn_end(&conn);
    }
}

static void a_url_may_have_blanks_and_line_ends_around_it(void **state)
{
    char url[512], around[600] = "";
    struct conn conn = connection_to(around);

    (void)state;
    snprintf(around, sizeof around, "\n \t%s\r\n", url_of(GOOD, url));
    assert_ok(conn_open(&conn, in_ms(LATER_MS)));
    conn_end(&conn);
}

static void a_service_file_may_name_the_host(void **state)
{
    char path[] = "/tmp/checkout-service-XXXXXX";
    int silent = silent_server();
    FILE *file = fdopen(mkstemp(path), "w");
    struct conn conn = connection_to("service=shop");

    (void)state;
    fprintf(file, "[shop]\nhost=two.test\nport=%s\ndbname=checkout\nuser=%s\n", port(),
            user());
    fclose(file);
    setenv("PGSERVICEFILE", path, 1);
    assert_ok(conn_open(&conn, in_ms(IN_TIME_MS)));
    conn_end(&conn);
    unsetenv("PGSERVICEFILE");
    unlink(path);
    close(silent);
}

/* ---- the link ------------------------------------------------------------------------- */

static void expect_option(const struct conn *conn, int level, int option, int expected)
{
    int value = -1;
    socklen_t size = sizeof value;

    assert_int_equal(getsockopt(PQsocket(conn->pg), level, option, &value, &size), 0);
    assert_int_equal(value, expected);
}

static void both_ends_send_keepalives_on_a_silent_link(void **state)
{
    char url[512], *text;
    struct conn conn = connection_to(url_of(GOOD, url));

    (void)state;
    strcat(url, "?keepalives=0&tcp_user_timeout=900000");
    assert_ok(conn_open(&conn, in_ms(LATER_MS)));
    expect_option(&conn, SOL_SOCKET, SO_KEEPALIVE, 1);
    expect_option(&conn, IPPROTO_TCP, TCP_KEEPIDLE, 1);
    expect_option(&conn, IPPROTO_TCP, TCP_KEEPINTVL, 1);
    expect_option(&conn, IPPROTO_TCP, TCP_KEEPCNT, 2);
    PQsetnonblocking(conn.pg, 0);
    text = sql_text_on(conn.pg,
                       "SELECT concat_ws(' ', current_setting('tcp_keepalives_idle'),"
                       " current_setting('tcp_keepalives_interval'),"
                       " current_setting('tcp_keepalives_count'),"
                       " current_setting('tcp_user_timeout'))");
    assert_string_equal(text, "5 2 3 10000");
    free(text);
    conn_end(&conn);
}

/* ---- words ----------------------------------------------------------------------------- */

static void a_refusal_has_detail_and_hint_on_one_line(void **state)
{
    char url[512];

    (void)state;
    sql("CREATE ROLE barred LOGIN; REVOKE CONNECT ON DATABASE checkout FROM PUBLIC");
    snprintf(url, sizeof url, "postgresql://barred@" GOOD ":%s/checkout", port());
    struct conn conn = connection_to(url);
    struct err e = conn_open(&conn, in_ms(LATER_MS));
    sql("GRANT CONNECT ON DATABASE checkout TO PUBLIC; DROP ROLE barred");
    assert_non_null(strstr(e.message,
                           "permission denied for database \"checkout\" DETAIL: "
                           "User does not have CONNECT privilege."));
    assert_null(strchr(e.message, '\n'));
    conn_end(&conn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_server_says_while_we_connect_is_no_line_of_the_log),
        cmocka_unit_test(a_silent_first_address_leaves_time_for_the_next),
        cmocka_unit_test(a_silent_first_host_leaves_time_for_the_next),
        cmocka_unit_test(an_error_names_the_silent_host),
        cmocka_unit_test(no_deadline_is_missed_for_a_name_server_that_is_silent),
        cmocka_unit_test(closing_does_not_wait_for_a_name_server),
        cmocka_unit_test(a_connection_has_one_look_up_of_a_name_at_a_time),
        cmocka_unit_test(a_name_that_is_not_there_is_named),
        cmocka_unit_test(an_invalid_url_is_rejected_without_quoting_it),
        cmocka_unit_test(a_url_may_have_blanks_and_line_ends_around_it),
        cmocka_unit_test(a_service_file_may_name_the_host),
        cmocka_unit_test(both_ends_send_keepalives_on_a_silent_link),
        cmocka_unit_test(a_refusal_has_detail_and_hint_on_one_line),
    };

    return cmocka_run_group_tests_name("connect", tests, NULL, NULL);
}
