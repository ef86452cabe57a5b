/*
 * writer_outage_test.c - the same promises when the connection is lost, the database
 * cannot write, or the answer to a COMMIT does not come.
 */
#include "unit/db/database.h"
#include "unit/db/writer.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

/* ---- connections ----------------------------------------------------------------------- */

static void stream(struct db *db, struct one *ones, void (*disturb)(int i))
{
    struct latch latch;

    fill_many(ones, STREAM, &latch, "k");
    for (int i = 0; i < STREAM; i++) {
        db_submit(db, &ones[i].op);
        if (i % 7 == 0)
            latch_wait(&latch, STREAM - i); /* so that batches are many, and small */
        disturb(i);
    }
    latch_wait(&latch, 0);
    assert_all_ok(ones, STREAM);
    assert_each_took_effect_once("k", STREAM);
}

static void kill_sessions(int i)
{
    if (i % 50 == 25)
        sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'writer_test'");
}

static void a_killed_connection_loses_and_doubles_nothing(void **state)
{
    static struct one ones[STREAM];
    struct db *db = open_db();

    (void)state;
    stream(db, ones, kill_sessions);
    db_close(db);
}

static void restart_server(int i)
{
    if (i == STREAM / 3 || i == STREAM * 2 / 3) {
        pg_ctl("-m immediate stop");
        pg_ctl("start");
    }
}

static void a_server_that_crashes_and_returns_loses_and_doubles_nothing(void **state)
{
    static struct one ones[STREAM];
    struct db *db = open_db();

    (void)state;
    stream(db, ones, restart_server);
    db_close(db);
}

static void a_database_down_at_start_is_reported_and_awaited(void **state)
{
    struct one one, hasty;
    struct latch latch, hasty_latch;

    (void)state;
    pg_ctl("-m fast stop");
    struct db *db = open_db();
    wait_health(db, ERR_UNAVAILABLE, "Cannot connect");
    latch_set(&latch, 1);
    latch_set(&hasty_latch, 1);
    fill(&one, &PUT, &latch, "patient", 1, LATER_MS);
    fill(&hasty, &PUT, &hasty_latch, "hasty", 1, SOON_MS);
    db_submit(db, &one.op);
    db_submit(db, &hasty.op);
    latch_wait(&hasty_latch, 0);
    assert_int_equal(hasty.error.code, ERR_UNAVAILABLE);
    assert_int_equal(hasty.error.effect, EFFECT_NONE);
    assert_int_equal(one.calls, 0);
    pg_ctl("start");
    latch_wait(&latch, 0);
    assert_all_ok(&one, 1);
    wait_health(db, ERR_OK, "");
    assert_each_took_effect_once("patient", 1);
    db_close(db);
}

static void an_idle_writer_notices_that_its_database_went_away(void **state)
{
    struct db *db = open_db();

    (void)state;
    wait_health(db, ERR_OK, "");
    pg_ctl("-m fast stop");
    wait_health(db, ERR_UNAVAILABLE, "");
    pg_ctl("start");
    wait_health(db, ERR_OK, "");
    db_close(db);
}

/* ---- a database that cannot write ------------------------------------------------------ */

static void submit_one(struct db *db, struct one *one, struct latch *latch,
                       const char *id, int64_t deadline_ms)
{
    latch_set(latch, 1);
    fill(one, &PUT, latch, id, 1, deadline_ms);
    db_submit(db, &one->op);
}

static void assert_not_done(const struct one *one, const char *words)
{
    if (strstr(one->error.message, words) == NULL)
        fail_msg("%s: %s", err_reason(one->error.code), one->error.message);
    assert_int_equal(one->error.code, ERR_UNAVAILABLE);
    assert_int_equal(one->error.effect, EFFECT_NONE);
}

/* A role of its own: a superuser may do everything. */
static void a_revoked_right_is_reported_and_its_return_noticed(void **state)
{
    struct one one;
    struct latch latch;
    char url[512];

    (void)state;
    sql("DROP ROLE IF EXISTS w_writer; CREATE ROLE w_writer LOGIN;"
        "GRANT USAGE ON SCHEMA w TO w_writer;"
        "GRANT ALL ON ALL TABLES IN SCHEMA w TO w_writer;"
        "GRANT ALL ON ALL SEQUENCES IN SCHEMA w TO w_writer");
    snprintf(url, sizeof url, "%s&user=w_writer", database_url());
    struct db *db = open_on(url, 100, 100, 0);
    wait_health(db, ERR_OK, "");
    sql("REVOKE INSERT ON w.ops FROM w_writer");
    submit_one(db, &one, &latch, "revoked", LATER_MS);
    latch_wait(&latch, 0);
    assert_not_done(&one, "a right in the database is missing");
    wait_health(db, ERR_UNAVAILABLE, "permission denied for table ops");
    assert_string_equal(db_health(db).subject, "a right in the database is missing");
    sql("GRANT INSERT ON w.ops TO w_writer");
    wait_health(db, ERR_OK, "");
    submit_one(db, &one, &latch, "granted", LATER_MS);
    latch_wait(&latch, 0);
    assert_all_ok(&one, 1);
    db_close(db);
    sql("DROP OWNED BY w_writer; DROP ROLE w_writer");
}

static void a_read_only_server_is_left_for_another_one(void **state)
{
    struct one one, hasty;
    struct latch latch, hasty_latch;
    struct db *db = open_db();

    (void)state;
    wait_health(db, ERR_OK, "");
    latch_set(&hasty_latch, 1);
    fill(&hasty, &PUT, &hasty_latch, "never", 1, IN_TIME_MS);
    hasty.op.head[4] = db_t("read-only");
    db_submit(db, &hasty.op);
    latch_wait(&hasty_latch, 0);
    assert_not_done(&hasty, "the database is read-only");
    wait_health(db, ERR_OK, "");
    latch_set(&latch, 1);
    fill(&one, &PUT, &latch, "then", 1, LATER_MS);
    one.op.head[4] = db_t("read-only at first");
    db_submit(db, &one.op);
    latch_wait(&latch, 0);
    assert_all_ok(&one, 1);
    db_close(db);
    assert_each_once(&one, 1);
}

static void make_standby(void)
{
    PGconn *conn = admin_connect();
    char *folder = sql_text_on(conn, "SHOW data_directory"), path[512];

    PQfinish(conn);
    pg_ctl("-m fast stop");
    snprintf(path, sizeof path, "%s/standby.signal", folder);
    FILE *signal_file = fopen(path, "w");
    assert_non_null(signal_file);
    fclose(signal_file);
    free(folder);
    pg_ctl("start");
}

static void a_standby_is_reported_and_used_once_promoted(void **state)
{
    struct one hasty, patient;
    struct latch latch, patient_latch;
    struct db *db = open_db();

    (void)state;
    wait_health(db, ERR_OK, "");
    make_standby();
    wait_health(db, ERR_UNAVAILABLE, "standby");
    submit_one(db, &patient, &patient_latch, "patient", LATER_MS);
    submit_one(db, &hasty, &latch, "hasty", SOON_MS);
    latch_wait(&latch, 0);
    assert_not_done(&hasty, "standby");
    pg_ctl("promote");
    latch_wait(&patient_latch, 0);
    assert_all_ok(&patient, 1);
    wait_health(db, ERR_OK, "");
    db_close(db);
}

static void a_missing_standby_is_reported_until_it_is_not_required(void **state)
{
    struct one first, next;
    struct latch latch;
    struct db *db = open_db();

    (void)state;
    wait_health(db, ERR_OK, "");
    want_a_standby();
    submit_one(db, &first, &latch, "first", IN_TIME_MS);
    latch_wait(&latch, 0);
    assert_int_equal(first.error.code, ERR_DEADLINE_EXCEEDED);
    assert_int_equal(first.error.effect, EFFECT_UNKNOWN);
    wait_health(db, ERR_UNAVAILABLE, "COMMIT is not answered");
    submit_one(db, &next, &latch, "next", IN_TIME_MS);
    latch_wait(&latch, 0);
    assert_not_done(&next, "synchronous standby");
    assert_int_equal(sql_number("SELECT count(*) FROM pg_stat_activity"
                                " WHERE application_name = 'writer_test'"),
                     1);
    sql("ALTER SYSTEM RESET synchronous_standby_names");
    sql("SELECT pg_reload_conf()");
    wait_health(db, ERR_OK, "");
    db_close(db);
    assert_each_once(&first, 1);
    assert_int_equal(sql_number("SELECT count(*) FROM w.ops WHERE id = 'next'"), 0);
}

/* Also one that begins so: nothing has been written yet that could have failed. */
static void a_writer_that_starts_without_its_standby_is_not_serving(void **state)
{
    (void)state;
    want_a_standby();
    struct db *db = open_db();
    wait_health(db, ERR_UNAVAILABLE, "COMMIT is not answered");
    db_close(db); /* which does not wait for it */
    sql("ALTER SYSTEM RESET synchronous_standby_names");
    sql("SELECT pg_reload_conf()");
}

/* ---- a COMMIT whose answer is lost ------------------------------------------------------- */

/*
 * Between writer and server on a socket of its own.  While `deaf`, what the server says
 * is thrown away; when told to, it hangs up.
 */
struct proxy {
    char folder[64], socket[108], url[256], server[108];
    int listener;
    pthread_t thread;
    atomic_bool deaf, hang_up, stop;
    atomic_int connections;
};

static int connect_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    return connect(fd, (struct sockaddr *)&address, sizeof address) == 0 ? fd : -1;
}

/* False when this side is done talking. */
static bool pass(int from, int to, bool drop)
{
    char bytes[65536];
    ssize_t got = read(from, bytes, sizeof bytes);

    if (got <= 0)
        return false;
    for (ssize_t sent = 0; sent < got && !drop;) {
        ssize_t n = send(to, bytes + sent, (size_t)(got - sent), MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        sent += n;
    }
    return true;
}

static void serve(struct proxy *p, int client)
{
    int server = connect_unix(p->server);
    struct pollfd both[] = {{.fd = client, .events = POLLIN},
                            {.fd = server, .events = POLLIN}};

    while (server >= 0 && !p->stop && !p->hang_up) {
        poll(both, 2, 5);
        if (both[0].revents != 0 && !pass(client, server, false))
            break;
        if (both[1].revents != 0 && !pass(server, client, p->deaf))
            break;
    }
    p->hang_up = false;
    p->deaf = false;
    close(client);
    if (server >= 0)
        close(server);
}

static void *proxy_main(void *arg)
{
    struct proxy *p = arg;

    while (!p->stop) {
        struct pollfd one = {.fd = p->listener, .events = POLLIN};
        if (poll(&one, 1, 5) <= 0)
            continue;
        int client = accept(p->listener, NULL, NULL);
        p->connections++;
        serve(p, client);
    }
    return NULL;
}

/* Listens where libpq looks for a server of p->folder, which is made. */
static void proxy_listen(struct proxy *p)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    PGconn *conn = admin_connect();

    memset(p, 0, sizeof *p);
    snprintf(p->folder, sizeof p->folder, "/tmp/checkout-proxy-XXXXXX");
    assert_non_null(mkdtemp(p->folder));
    snprintf(p->socket, sizeof p->socket, "%s/.s.PGSQL.5432", p->folder);
    snprintf(p->server, sizeof p->server, "%s/.s.PGSQL.%s", PQhost(conn), PQport(conn));
    snprintf(p->url, sizeof p->url, "postgresql:///%s?host=%s&port=5432&user=%s",
             PQdb(conn), p->folder, PQuser(conn));
    PQfinish(conn);
    memcpy(address.sun_path, p->socket, sizeof address.sun_path);
    p->listener = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(p->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(p->listener, 8), 0);
}

static void proxy_start(struct proxy *p)
{
    proxy_listen(p);
    assert_int_equal(pthread_create(&p->thread, NULL, proxy_main, p), 0);
}

static void proxy_unlisten(struct proxy *p)
{
    close(p->listener);
    unlink(p->socket);
    rmdir(p->folder);
}

static void proxy_stop(struct proxy *p)
{
    p->stop = true;
    pthread_join(p->thread, NULL);
    proxy_unlisten(p);
}

/* Whether the writer still waits on this connection, of which it has sent the start-up.
 */
static bool is_waited_on(int connection)
{
    char bytes[1024];
    ssize_t count;

    while ((count = recv(connection, bytes, sizeof bytes, MSG_DONTWAIT)) > 0)
        ;
    return count < 0 && errno == EAGAIN;
}

/* The server accepts and says nothing more: one attempt to connect lasts 3 s. */
static void an_operation_ends_in_time_while_connecting_hangs(void **state)
{
    struct one queued, taken;
    struct latch latch;
    struct proxy hung;

    (void)state;
    proxy_listen(&hung);
    struct db *db = open_on(hung.url, 100, 100, 0);
    int connection = accept(hung.listener, NULL, NULL);
    latch_set(&latch, 1);
    fill(&queued, &PUT, &latch, "queued", 1, SOON_MS);
    db_submit(db, &queued.op);
    latch_wait(&latch, 0);
    assert_true(is_waited_on(connection));
    assert_int_equal(queued.error.code, ERR_UNAVAILABLE);
    assert_int_equal(queued.error.effect, EFFECT_NONE);

    latch_set(&latch, 1);
    fill(&taken, &PUT, &latch, "taken", 1, SOON_MS);
    db_submit(db, &taken.op);
    close(connection); /* so that it is in the writer's hands at the next attempt */
    connection = accept(hung.listener, NULL, NULL);
    latch_wait(&latch, 0);
    assert_true(is_waited_on(connection));
    assert_int_equal(taken.error.code, ERR_UNAVAILABLE);
    assert_int_equal(taken.error.effect, EFFECT_NONE);
    close(connection);
    db_close(db);
    proxy_unlisten(&hung);
}

static void
a_commit_whose_answer_is_lost_is_run_again_without_a_second_effect(void **state)
{
    static struct one ones[10];
    struct latch latch;
    struct proxy proxy;

    (void)state;
    proxy_start(&proxy);
    struct db *db = open_on(proxy.url, 100, 100, 0);
    for (int round = 0; round < 5; round++) {
        char prefix[8], query[128];
        snprintf(prefix, sizeof prefix, "p%d-", round);
        snprintf(query, sizeof query, "SELECT count(*) FROM w.ops WHERE id LIKE '%s%%'",
                 prefix);
        wait_health(db, ERR_OK, "");
        int connections = proxy.connections;
        fill_many(ones, 10, &latch, prefix);
        proxy.deaf = true;
        for (int i = 0; i < 10; i++)
            db_submit(db, &ones[i].op);
        wait_sql(query); /* committed, and the writer has not been told */
        assert_int_equal(latch_left(&latch), 10);
        proxy.hang_up = true;
        latch_wait(&latch, 0);
        assert_all_ok(ones, 10);
        assert_true(proxy.connections > connections);
        assert_each_took_effect_once(prefix, 10);
    }
    db_close(db);
    proxy_stop(&proxy);
}

/* Its COMMIT has happened, and the answer does not come; the database, through the
 * proxy. */
static struct db *commit_unanswered(struct proxy *proxy, struct one *one,
                                    struct latch *latch, const char *id, int within_ms)
{
    char committed[128];

    proxy_start(proxy);
    struct db *db = open_on(proxy->url, 100, 100, 0);
    wait_health(db, ERR_OK, "");
    fill(one, &PUT, latch, id, 1, within_ms);
    latch_set(latch, 1);
    proxy->deaf = true;
    db_submit(db, &one->op);
    snprintf(committed, sizeof committed, "SELECT count(*) FROM w.ops WHERE id = '%s'",
             id);
    wait_sql(committed);
    return db;
}

static void a_commit_whose_answer_never_comes_is_unknown(void **state)
{
    struct one one;
    struct latch latch;
    struct proxy proxy;

    (void)state;
    struct db *db = commit_unanswered(&proxy, &one, &latch, "lost", IN_TIME_MS);
    latch_wait(&latch, 0);
    assert_int_equal(one.error.code, ERR_DEADLINE_EXCEEDED);
    assert_int_equal(one.error.effect, EFFECT_UNKNOWN);
    proxy.hang_up = true;
    db_close(db);
    proxy_stop(&proxy);
    assert_each_once(&one, 1);
}

static void a_repeat_that_is_cancelled_leaves_it_unknown(void **state)
{
    struct one one;
    struct latch latch;
    struct proxy proxy;

    (void)state;
    struct db *db = commit_unanswered(&proxy, &one, &latch, "cancelled", LATER_MS);
    PGconn *holder = hold_total();
    proxy.hang_up = true;
    wait_blocked("writer_test", 1);
    sql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'writer_test' AND wait_event_type = 'Lock'");
    latch_wait(&latch, 0);
    assert_int_equal(one.error.code, ERR_INTERNAL);
    assert_int_equal(one.error.effect, EFFECT_UNKNOWN);
    let_go(holder);
    db_close(db);
    proxy_stop(&proxy);
    assert_each_once(&one, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_killed_connection_loses_and_doubles_nothing),
        TEST(a_server_that_crashes_and_returns_loses_and_doubles_nothing),
        TEST(a_database_down_at_start_is_reported_and_awaited),
        TEST(an_idle_writer_notices_that_its_database_went_away),
        TEST(a_revoked_right_is_reported_and_its_return_noticed),
        TEST(a_read_only_server_is_left_for_another_one),
        TEST(a_standby_is_reported_and_used_once_promoted),
        TEST(a_missing_standby_is_reported_until_it_is_not_required),
        TEST(a_writer_that_starts_without_its_standby_is_not_serving),
        TEST(a_commit_whose_answer_is_lost_is_run_again_without_a_second_effect),
        TEST(a_commit_whose_answer_never_comes_is_unknown),
        TEST(a_repeat_that_is_cancelled_leaves_it_unknown),
        TEST(an_operation_ends_in_time_while_connecting_hangs),
    };

    return cmocka_run_group_tests_name("writer_outage", tests, NULL, NULL);
}
