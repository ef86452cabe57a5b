/* prune_test.c - what is deleted after a while, and what never is: in PostgreSQL. */
#include "unit/db/database.h"

#include <sodium.h>

#include "base/contract/ids.h"
#include "db/db.h"
#include "orchestrator/kinds.h"
#include "orchestrator/orders/prune.h"

#define USER "00000000-0000-4000-8000-000000000001"

static const int64_t KEPT_MS = 72 * 3600 * 1000LL;
static struct db *the_db;

static int migrate_first(void **state)
{
    (void)state;
    migrate_all();
    return 0;
}

static int set_up(void **state)
{
    struct db_config config = {.url = database_url(),
                               .name = "prune_test",
                               .queue_max = 64,
                               .batch_max = 64,
                               .readers = 1};

    (void)state;
    sql("TRUNCATE orders.users, orders.carts, orders.checkouts, orders.orders, "
        "orders.outbox"
        " CASCADE");
    sql("INSERT INTO orders.users (id) VALUES ('" USER "')");
    orchestrator_configure(&config);
    assert_ok(db_open(&config, &the_db));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    db_close(the_db);
    return 0;
}

/* `count` checkouts numbered from `first`, each with its cart, and its order if
 * completed. Their ids are of 1970 unless `young`. */
static void insert(int first, int count, const char *state, const char *age, bool young)
{
    char floor[ULID_SIZE];

    ulid_floor(young ? clock_wall_ms() : 0, floor);
    sql("CREATE TABLE orders.n AS"
        " SELECT n, left('%s', 20) || lpad(n::text, 6, '0') AS id"
        " FROM generate_series(%d, %d) n",
        floor, first, first + count - 1);
    sql("INSERT INTO orders.carts (user_id, id, lines)"
        " SELECT '" USER
        "', 'cart-' || n, '[{\"sku\":\"a\",\"quantity\":1}]' FROM orders.n");
    sql("INSERT INTO orders.orders (id, user_id, total_cents, idempotency_key, currency,"
        "                           cart_id, reservation_id, charge_id, lines)"
        " SELECT id, '" USER "', 1, 'key-' || n, 'EUR', 'cart-' || n, id, id, '[]'"
        " FROM orders.n WHERE '%s' = 'completed'",
        state);
    sql("INSERT INTO orders.checkouts (order_id, idempotency_key, user_id, cart_id,"
        "    payment_method_id, fingerprint, cart, owner, lease_until, state,"
        "    failure_reason, finished_at)"
        " SELECT id, 'key-' || n, '" USER "', 'cart-' || n, 'pm',"
        "    decode(repeat('00', 32), 'hex'), '[]', 'o', now(), s,"
        "    CASE WHEN s IN ('failed', 'aborting') THEN 'x' END,"
        "    CASE WHEN s IN ('failed', 'completed') THEN now() - interval '%s' END"
        " FROM orders.n, (SELECT '%s' AS s) AS s",
        age, state);
    sql("DROP TABLE orders.n");
}

static void prune(void)
{
    prune_checkouts(&(struct pruning){the_db, KEPT_MS});
}

static void settle(void)
{
    sql("UPDATE orders.carts SET ordered_at = ordered_at - interval '61 s'");
}

static int64_t checkouts_left(void)
{
    return sql_number("SELECT count(*) FROM orders.checkouts");
}

static void what_is_old_and_finished_goes_and_orders_stay(void **state)
{
    (void)state;
    insert(1, 3, "completed", "73 hours", false);
    insert(11, 3, "failed", "73 hours", false);
    prune();
    assert_int_equal(checkouts_left(), 3); /* the carts of these are marked first */
    assert_int_equal(
        sql_number("SELECT count(*) FROM orders.carts WHERE ordered_at IS NOT NULL"), 3);
    prune();
    assert_int_equal(checkouts_left(), 3);
    settle();
    prune();
    assert_int_equal(checkouts_left(), 0);
    assert_int_equal(sql_number("SELECT count(*) FROM orders.orders"), 3);
    /* What stands for their keys now has its user in front, whoever wrote it. */
    assert_int_equal(
        sql_number(
            "SELECT count(*) FROM orders.orders"
            " WHERE idempotency_key = user_id || ' key-' || ltrim(right(id, 6), '0')"),
        3);
    assert_int_equal(sql_number("SELECT count(*) FROM orders.carts c JOIN orders.orders o"
                                " ON o.id = c.order_id AND o.cart_id = c.id"),
                     3);
    assert_int_equal(sql_number("SELECT count(*) FROM orders.carts"), 6);
}

static void what_is_young_or_unfinished_stays(void **state)
{
    (void)state;
    insert(1, 1, "completed", "71 hours", false);
    insert(2, 1, "failed", "71 hours", false);
    insert(3, 1, "running", "0 s", false);
    insert(4, 1, "aborting", "0 s", false);
    insert(5, 1, "failed", "73 hours", true); /* its clock or the database's is wrong */
    prune();
    settle();
    prune();
    assert_int_equal(checkouts_left(), 5);
    assert_int_equal(
        sql_number("SELECT count(*) FROM orders.carts WHERE ordered_at IS NOT NULL"), 0);
}

static void one_round_prunes_any_number_batch_by_batch(void **state)
{
    (void)state;
    insert(1, 1700, "failed", "80 hours", false);
    insert(2001, 700, "completed", "80 hours", false);
    prune();
    assert_int_equal(checkouts_left(), 700);
    settle();
    prune();
    assert_int_equal(checkouts_left(), 0);
    assert_int_equal(sql_number("SELECT count(*) FROM orders.orders"), 700);
}

/* What happened on the way goes with the checkout. */
static void incidents_go_with_their_checkout(void **state)
{
    (void)state;
    insert(1, 1, "failed", "80 hours", false);
    sql("INSERT INTO orders.incidents (order_id, epoch, kind)"
        " SELECT order_id, 1, 'refused' FROM orders.checkouts");
    prune();
    assert_int_equal(sql_number("SELECT count(*) FROM orders.incidents"), 0);
}

/* A row that somebody holds is left for the next round; nobody waits. */
static void a_row_that_is_held_is_passed_over(void **state)
{
    PGconn *other = admin_connect();

    (void)state;
    insert(1, 2, "failed", "80 hours", false);
    PQclear(PQexec(other, "BEGIN"));
    PQclear(PQexec(other,
                   "SELECT FROM orders.checkouts WHERE cart_id = 'cart-1' FOR UPDATE"));
    struct db_op op = {
        .kind = &CHECKOUTS_PRUNE,
        .head = {db_t("7ZZZZZZZZZZZZZZZZZZZZZZZZZ"), db_i(KEPT_MS), db_i(0), db_i(500)},
        .deadline_ms = in_ms(PATIENCE_MS)};
    assert_ok(db_submit_wait(the_db, &op, 1, NULL, NULL));
    assert_int_equal(checkouts_left(), 1);
    PQclear(PQexec(other, "ROLLBACK")); /* answered once the lock is gone */
    PQfinish(other);
    prune();
    assert_int_equal(checkouts_left(), 0);
}

/* The round ends, though there is something to do: it would only look again and again. */
static void a_round_ends_when_others_hold_all_that_is_left(void **state)
{
    PGconn *other = admin_connect();

    (void)state;
    insert(1, 2, "completed", "80 hours", false);
    insert(11, 1, "failed", "80 hours", false);
    PQclear(PQexec(other, "BEGIN"));
    PQclear(PQexec(other, "SELECT FROM orders.carts WHERE id = 'cart-1' FOR UPDATE"));
    prune();
    assert_int_equal(checkouts_left(), 2);
    assert_int_equal(
        sql_number("SELECT count(*) FROM orders.carts WHERE ordered_at IS NOT NULL"), 1);
    PQclear(PQexec(other, "ROLLBACK")); /* answered once the lock is gone */
    PQfinish(other);
    prune();
    assert_int_equal(
        sql_number("SELECT count(*) FROM orders.carts WHERE ordered_at IS NOT NULL"), 2);
}

int main(void)
{
#define WITH_ROWS(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_ROWS(what_is_old_and_finished_goes_and_orders_stay),
        WITH_ROWS(what_is_young_or_unfinished_stays),
        WITH_ROWS(one_round_prunes_any_number_batch_by_batch),
        WITH_ROWS(incidents_go_with_their_checkout),
        WITH_ROWS(a_row_that_is_held_is_passed_over),
        WITH_ROWS(a_round_ends_when_others_hold_all_that_is_left),
    };

    log_start("prune_test", LOG_ERROR);
    assert_true(sodium_init() >= 0);
    return cmocka_run_group_tests_name("prune", tests, migrate_first, NULL);
}
