/* carts_test.c - carts, and claims of them, against PostgreSQL. */
#include "unit/db/scoped.h"

#include "unit/orchestrator/fixture.h"

static enum err_code put_cart(const char *user, const char *id, const char *sku,
                              int64_t quantity, bool *created)
{
    Orders__V1__PutCartRequest in = ORDERS__V1__PUT_CART_REQUEST__INIT;
    Orders__V1__Cart cart = ORDERS__V1__CART__INIT;
    Orders__V1__CartLine line = ORDERS__V1__CART_LINE__INIT, *lines = &line;
    struct call call;

    line.sku = (char *)sku;
    line.quantity = quantity;
    cart.cart_id = (char *)id;
    cart.n_lines = sku == NULL ? 0 : 1;
    cart.lines = &lines;
    in.user_id = (char *)user;
    in.cart = &cart;
    carts_put(the_db, call_begin(&call, NULL), &in);
    call_wait(&call);
    if (call.reply != NULL)
        *created = ((const Orders__V1__PutCartReply *)(void *)call.reply)->created;
    return call_code(&call);
}

static enum err_code get_cart(const char *user, const char *id, int64_t *quantity)
{
    Orders__V1__GetCartRequest in = ORDERS__V1__GET_CART_REQUEST__INIT;
    struct call call;

    in.user_id = (char *)user;
    in.cart_id = (char *)id;
    carts_get(the_db, call_begin(&call, NULL), &in);
    call_wait(&call);
    if (call.reply != NULL) {
        const Orders__V1__Cart *cart =
            ((const Orders__V1__GetCartReply *)(void *)call.reply)->cart;
        assert_string_equal(cart->cart_id, id);
        *quantity = cart->n_lines == 0 ? 0 : cart->lines[0]->quantity;
    }
    return call_code(&call);
}

static void a_cart_holds_what_was_put_last_until_it_is_ordered(void **state)
{
    bool created = false;
    int64_t quantity = -1;
    struct run run;

    (void)state;
    assert_int_equal(get_cart(ALICE, "c", &quantity), ERR_NOT_FOUND);
    assert_int_equal(put_cart(ALICE, "c", "a", 3, &created), ERR_OK);
    assert_true(created);
    assert_int_equal(put_cart(ALICE, "c", "a", 5, &created), ERR_OK);
    assert_false(created);
    assert_int_equal(get_cart(ALICE, "c", &quantity), ERR_OK);
    assert_int_equal(quantity, 5);
    assert_int_equal(get_cart(BOB, "c", &quantity), ERR_NOT_FOUND);
    assert_int_equal(put_cart(ALICE, "e", NULL, 0, &created), ERR_OK);
    assert_int_equal(get_cart(ALICE, "e", &quantity), ERR_OK);
    assert_int_equal(quantity, 0);

    assert_int_equal(claim(&run, "key", ALICE, "c"), CLAIM_OURS);
    assert_int_equal(put_cart(ALICE, "c", "a", 9, &created), ERR_CART_ALREADY_ORDERED);
    assert_int_equal(get_cart(ALICE, "c", &quantity), ERR_OK);
    assert_int_equal(quantity, 5);
    transition(&run.row, CHECKOUT_FAILED, ERR_OUT_OF_STOCK);
    assert_int_equal(put_cart(ALICE, "c", "a", 9, &created), ERR_OK);
    run_end(&run);
}

struct put {
    Orders__V1__PutCartRequest in;
    Orders__V1__Cart cart;
    Orders__V1__CartLine line, *lines;
    char *versions[4];
    struct call call;
};

static void put_new(struct put *put, const char *id, int64_t quantity)
{
    memset(put, 0, sizeof *put);
    orders__v1__put_cart_request__init(&put->in);
    orders__v1__cart__init(&put->cart);
    orders__v1__cart_line__init(&put->line);
    put->line.sku = (char *)"a";
    put->line.quantity = quantity;
    put->lines = &put->line;
    put->cart.cart_id = (char *)id;
    put->cart.n_lines = 1;
    put->cart.lines = &put->lines;
    put->in.user_id = (char *)ALICE;
    put->in.cart = &put->cart;
    put->in.if_versions = put->versions;
}

static const Orders__V1__PutCartReply *put_reply(struct put *put)
{
    call_wait(&put->call);
    assert_ok(put->call.error);
    return (void *)put->call.reply;
}

/* Writes if the cart is in that version; gives whether it did.  `version`, of
 * CART_VERSION_MAX + 1 bytes, is then the cart's, whichever it is. */
static bool put_if(const char *id, int64_t quantity, char *version)
{
    struct put put;

    put_new(&put, id, quantity);
    put.versions[0] = (char *)"anything";
    put.versions[1] = version;
    put.in.n_if_versions = 2;
    carts_put(the_db, call_begin(&put.call, NULL), &put.in);
    const Orders__V1__PutCartReply *reply = put_reply(&put);
    bool written = !reply->changed;
    assert_string_equal(reply->cart->cart_id, id);
    snprintf(version, CART_VERSION_MAX + 1, "%s", reply->cart->version);
    call_end(&put.call);
    return written;
}

static void a_put_may_demand_a_version(void **state)
{
    char first[CART_VERSION_MAX + 1] = "*", second[CART_VERSION_MAX + 1];
    char stale[CART_VERSION_MAX + 1];
    int64_t quantity;
    bool created;
    struct put put;

    (void)state;
    put_new(&put, "c", 1); /* demands a cart that is not there */
    put.versions[0] = first;
    put.in.n_if_versions = 1;
    carts_put(the_db, call_begin(&put.call, NULL), &put.in);
    assert_true(put_reply(&put)->changed);
    assert_null(put_reply(&put)->cart);
    call_end(&put.call);
    assert_int_equal(get_cart(ALICE, "c", &quantity), ERR_NOT_FOUND);

    assert_int_equal(put_cart(ALICE, "c", "a", 1, &created), ERR_OK);
    assert_true(put_if("c", 2, first));
    strcpy(second, first);
    strcpy(stale, first);
    assert_true(put_if("c", 3, second));
    assert_string_not_equal(first, second);
    assert_false(put_if("c", 4, stale)); /* tells the version that stands */
    assert_string_equal(stale, second);
    assert_int_equal(get_cart(ALICE, "c", &quantity), ERR_OK);
    assert_int_equal(quantity, 3);
    strcpy(stale, first);
    assert_true(put_if("c", 3, stale)); /* a repeat: it is as asked */
    assert_int_equal(put_cart(ALICE, "c", "a", 2, &created), ERR_OK);
    assert_true(put_if("c", 5, first)); /* the lines are those of that version again */
}

static void a_put_may_only_create(void **state)
{
    int64_t quantity;
    struct put put;

    (void)state;
    for (int round = 0; round < 2; round++) {
        put_new(&put, "c", 1 + round);
        put.in.create_only = true;
        carts_put(the_db, call_begin(&put.call, NULL), &put.in);
        assert_int_equal(put_reply(&put)->created, round == 0);
        assert_int_equal(put_reply(&put)->changed, round == 1);
        assert_int_equal(put_reply(&put)->cart->lines[0]->quantity, 1);
        call_end(&put.call);
    }
    assert_int_equal(get_cart(ALICE, "c", &quantity), ERR_OK);
    assert_int_equal(quantity, 1);
}

enum { TOGETHER = 4 };

static void submit_puts(void *arg)
{
    struct put *puts = arg;

    for (int i = 0; i < TOGETHER; i++)
        carts_put(the_db, &puts[i].call.ctx, &puts[i].in);
}

/* Two demand what is there, one demands what is not, one demands nothing. */
static void
puts_of_one_cart_in_a_batch_are_answered_as_if_one_came_after_another(void **state)
{
    char version[CART_VERSION_MAX + 1] = "*";
    struct put puts[TOGETHER];
    bool created;
    int64_t quantity;

    (void)state;
    for (int free = 0; free < 2; free++) {
        struct batcher batcher = {.submit = submit_puts, .arg = puts};
        struct db_op op = {.deadline_ms = in_ms(CALL_DEADLINE_MS)};
        int written = 0;
        assert_int_equal(put_cart(ALICE, "c", "a", 1, &created), ERR_OK);
        strcpy(version, "*");
        assert_true(put_if("c", 1, version));
        for (int i = 0; i < TOGETHER; i++) {
            put_new(&puts[i], "c", 10 + i);
            puts[i].versions[0] = i == 2 ? (char *)"stale" : version;
            puts[i].in.n_if_versions = i == 3 && free ? 0 : 1;
            call_begin(&puts[i].call, NULL);
        }
        latch_set(&batcher.latch, 1);
        checkouts_renew(&op, "nobody", 1, LEASE_MS);
        op.done = batcher_on_op;
        op.arg = &batcher;
        db_submit(the_db, &op);
        latch_wait(&batcher.latch, 0);
        for (int i = 0; i < TOGETHER; i++)
            written += !put_reply(&puts[i])->changed;
        assert_int_equal(written, 1);
        assert_true(put_reply(&puts[2])->changed);
        if (free)
            assert_false(put_reply(&puts[3])->changed);
        assert_int_equal(get_cart(ALICE, "c", &quantity), ERR_OK);
        for (int i = 0; i < TOGETHER; i++) {
            const Orders__V1__PutCartReply *reply = put_reply(&puts[i]);
            assert_int_equal(reply->cart->lines[0]->quantity, quantity);
            call_end(&puts[i].call);
        }
    }
}

static void a_claim_may_expect_a_version(void **state)
{
    char version[CART_VERSION_MAX + 1] = "*";
    bool created;
    struct run run;

    (void)state;
    assert_int_equal(put_cart(ALICE, "c", "a", 1, &created), ERR_OK);
    assert_true(put_if("c", 2, version));
    assert_int_equal(put_cart(ALICE, "c", "a", 3, &created), ERR_OK);
    claim_new(&run, "key", ALICE, "c");
    run.asked.expected_cart_version = version;
    checkouts_claim(&run.op, &run.asked, "owner-1", LEASE_MS);
    assert_int_equal(claim_on(the_db, &run), CLAIM_CART_CHANGED);
    assert_sql_text(run.claimed.cart.lines_json, "SELECT lines::text FROM orders.carts");
    /* The key stays unused. */
    snprintf(version, sizeof version, "%s", run.claimed.cart.version);
    assert_int_equal(claim_on(the_db, &run), CLAIM_OURS);
    assert_int_equal(run.row.cart.items[0].quantity, 3);
    run_end(&run);
}

/* Waits until somebody waits for a lock in the database. */
static void wait_for_a_waiter(void)
{
    while (sql_number(
               "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") ==
           0)
        breathe();
}

static void
a_put_that_waits_while_its_cart_is_claimed_is_in_the_order_or_refused(void **state)
{
    PGconn *admin = admin_connect();
    struct put put;
    struct run run;

    (void)state;
    cart_of(ALICE, "c", CART);
    sql_on(admin, "BEGIN; SELECT FROM orders.carts FOR UPDATE");
    put_new(&put, "c", 9);
    carts_put(the_db, call_begin(&put.call, NULL), &put.in);
    wait_for_a_waiter(); /* its snapshot is taken */
    claim_new(&run, "key", ALICE, "c");
    enum claim_result early = claim_on(the_other, &run);
    sql_on(admin, "ROLLBACK");
    PQfinish(admin);
    call_wait(&put.call);
    if (early == CLAIM_AGAIN) {
        assert_int_equal(put.call.error.code, ERR_OK);
        assert_int_equal(claim_on(the_other, &run), CLAIM_OURS);
        assert_int_equal(run.row.cart.items[0].quantity, 9);
    } else {
        assert_int_equal(put.call.error.code, ERR_CART_ALREADY_ORDERED);
    }
    call_end(&put.call);
    run_end(&run);
}

static void put_behind_a_claim(struct db *db)
{
    PGconn *claimer = admin_connect();
    struct put put;

    cart_of(ALICE, "c", CART);
    /* A claim that has yet to commit. */
    sql_on(claimer,
           "BEGIN; SELECT FROM orders.carts FOR NO KEY UPDATE;"
           "INSERT INTO orders.checkouts (order_id, idempotency_key, user_id, cart_id,"
           " payment_method_id, fingerprint, cart, owner, lease_until)"
           " SELECT 'o1', 'k1', user_id, id, 'pm', decode(repeat('00', 32), 'hex'),"
           " lines, 'owner', now() + interval '1 h' FROM orders.carts");
    put_new(&put, "c", 9);
    carts_put(db, call_begin(&put.call, NULL), &put.in);
    wait_for_a_waiter();
    sql_on(claimer, "COMMIT");
    PQfinish(claimer);
    assert_int_equal(call_code(&put.call), ERR_CART_ALREADY_ORDERED);
    assert_sql_text(CART, "SELECT lines::text FROM orders.carts");
}

static void a_put_that_waited_for_a_claim_sees_it(void **state)
{
    (void)state;
    put_behind_a_claim(the_db);
}

static void it_sees_it_whatever_isolation_the_database_prefers(void **state)
{
    (void)state;
    sql("ALTER DATABASE checkout SET default_transaction_isolation = 'repeatable read'");
    struct db *db = open_db("checkouts_test_3");
    put_behind_a_claim(db);
    db_close(db);
    sql("ALTER DATABASE checkout RESET default_transaction_isolation");
}

/* Each of two replicas puts half of the carts and claims the other half, in batches: what is
 * locked by one is wanted by the other. */
static void puts_and_claims_of_replicas_neither_deadlock_nor_lose_a_put(void **state)
{
    enum { CARTS = 60, ROUNDS = 8 };
    static struct put puts[CARTS];
    static struct run runs[CARTS];
    static char ids[CARTS][16], keys[CARTS][16];
    struct latch latch;
    int refused = 0;

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        latch_set(&latch, 2 * CARTS);
        for (int i = 0; i < CARTS; i++) {
            snprintf(ids[i], sizeof ids[i], "c%d-%d", round, i);
            snprintf(keys[i], sizeof keys[i], "key-%d-%d", round, i);
            cart_of(ALICE, ids[i], CART);
            put_new(&puts[i], ids[i], 9);
            claim_new(&runs[i], keys[i], ALICE, ids[i]);
            runs[i].db = i % 2 == 0 ? the_other : the_db;
        }
        for (int i = 0; i < CARTS; i++) {
            carts_put(i % 2 == 0 ? the_db : the_other, call_begin(&puts[i].call, &latch),
                      &puts[i].in);
            start(runs[i].db, &runs[i], &latch, on_claimed);
        }
        latch_wait(&latch, 0);
        for (int i = 0; i < CARTS; i++) {
            assert_int_equal(runs[i].result, CLAIM_OURS);
            bool lost = puts[i].call.error.code == ERR_CART_ALREADY_ORDERED;
            if (!lost)
                assert_ok(puts[i].call.error);
            assert_int_equal(runs[i].row.cart.items[0].quantity, lost ? 2 : 9);
            refused += lost;
            run_end(&runs[i]);
            call_end(&puts[i].call);
        }
    }
    db_close(the_db); /* what a session counted is told by its end */
    db_close(the_other);
    the_db = the_other = NULL;
    assert_int_equal(
        sql_number("SELECT count(*) FROM orders.checkouts c JOIN orders.carts k"
                   " ON k.id = c.cart_id WHERE c.cart <> k.lines"),
        0);
    assert_int_equal(sql_number("SELECT deadlocks FROM pg_stat_database"
                                " WHERE datname = current_database()"),
                     0);
    print_message("  %d puts before their claim, %d refused\n", ROUNDS * CARTS - refused,
                  refused);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_cart_holds_what_was_put_last_until_it_is_ordered),
        TEST(a_put_may_demand_a_version),
        TEST(a_put_may_only_create),
        TEST(puts_of_one_cart_in_a_batch_are_answered_as_if_one_came_after_another),
        TEST(a_claim_may_expect_a_version),
        TEST(a_put_that_waits_while_its_cart_is_claimed_is_in_the_order_or_refused),
        TEST(a_put_that_waited_for_a_claim_sees_it),
        TEST(it_sees_it_whatever_isolation_the_database_prefers),
        TEST(puts_and_claims_of_replicas_neither_deadlock_nor_lose_a_put),
    };

    return cmocka_run_group_tests_name("carts", tests, migrate_first, NULL);
}
