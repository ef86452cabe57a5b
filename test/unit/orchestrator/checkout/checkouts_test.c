/* checkouts_test.c - the promises of checkout/checkouts.h, against PostgreSQL. */
#include "unit/db/scoped.h"

#include "orchestrator/orders/prune.h"
#include "unit/orchestrator/fixture.h"

/* ---- claim ----------------------------------------------------------------------------- */

static void a_key_claims_its_checkout_once(void **state)
{
    struct run first, again;

    (void)state;
    cart_of(ALICE, "cart", CART);
    assert_int_equal(claim(&first, "key", ALICE, "cart"), CLAIM_OURS);
    assert_string_equal(first.row.order_id, first.order_id);
    assert_int_equal(first.row.state, CHECKOUT_RUNNING);
    assert_int_equal(first.row.epoch, 1);
    assert_int_equal(first.row.expected_total_cents, -1);
    assert_int_equal(first.row.cart.count, 1);
    assert_string_equal(first.row.cart.items[0].sku, "a");
    assert_int_equal(first.row.cart.items[0].quantity, 2);
    assert_memory_equal(first.row.fingerprint, first.fingerprint, FINGERPRINT_SIZE);
    /* The same operation again, as after a COMMIT whose answer was lost. */
    assert_int_equal(claim_on(the_db, &first), CLAIM_OURS);
    assert_int_equal(claim(&again, "key", ALICE, "cart"), CLAIM_KNOWN);
    assert_string_equal(again.row.order_id, first.order_id);
    run_end(&first);
    run_end(&again);
}

static void a_trace_goes_on_with_who_takes_the_checkout_over(void **state)
{
    static const char TRACE[] = "00-836491145df9786ffaebc685eeab4c2c-c123842e6b6f3e26-01";
    struct run run, taker;

    (void)state;
    cart_of(ALICE, "cart", CART);
    claim_new(&run, "key", ALICE, "cart");
    run.asked.traceparent = TRACE;
    checkouts_claim(&run.op, &run.asked, "owner-1", LEASE_MS);
    assert_int_equal(claim_on(the_db, &run), CLAIM_OURS);
    assert_string_equal(run.row.traceparent, TRACE);
    late();
    assert_int_equal(take_over(&taker, "owner-2", 10), 1);
    assert_string_equal(taker.taken[0].traceparent, TRACE);
    run_end(&run);
    run_end(&taker);
}

/* What an event repeats to the world is looked at before it is kept. */
static void only_a_well_formed_traceparent_is_kept(void **state)
{
    static const char GOOD[] = "00-836491145df9786ffaebc685eeab4c2c-c123842e6b6f3e26-01";
    static const char *const given[] = {GOOD, "\"}, {\"", "", NULL};
    struct run run;

    (void)state;
    for (size_t i = 0; i < sizeof given / sizeof *given; i++) {
        char cart[2] = {(char)('0' + i)};
        cart_of(ALICE, cart, CART);
        claim_new(&run, cart, ALICE, cart);
        run.asked.traceparent = given[i];
        checkouts_claim(&run.op, &run.asked, "owner-1", LEASE_MS);
        assert_int_equal(claim_on(the_db, &run), CLAIM_OURS);
        run_end(&run);
    }
    assert_sql_text("0", "SELECT string_agg(split_part(idempotency_key, ' ', 2), ',')"
                         " FROM orders.checkouts WHERE traceparent IS NOT NULL");
}

static void a_claim_run_again_after_a_take_over_is_no_longer_ours(void **state)
{
    struct run first, taker;

    (void)state;
    cart_of(ALICE, "cart", CART);
    assert_int_equal(claim(&first, "key", ALICE, "cart"), CLAIM_OURS);
    late();
    assert_int_equal(take_over(&taker, "owner-2", 10), 1);
    assert_int_equal(claim_on(the_db, &first), CLAIM_KNOWN);
    run_end(&first);
    run_end(&taker);
}

struct claims {
    struct run *runs;
    int count;
    struct latch latch;
};

static void submit_claims(void *arg)
{
    struct claims *claims = arg;

    for (int i = 0; i < claims->count; i++)
        start(the_db, &claims->runs[i], &claims->latch, on_claimed);
}

static void claim_together(struct run *runs, int count)
{
    struct claims claims = {.runs = runs, .count = count};
    struct batcher batcher = {.submit = submit_claims, .arg = &claims};
    struct db_op op = {.deadline_ms = in_ms(CALL_DEADLINE_MS)};

    latch_set(&claims.latch, count);
    latch_set(&batcher.latch, 1);
    checkouts_renew(&op, "nobody", 1, LEASE_MS);
    op.done = batcher_on_op;
    op.arg = &batcher;
    db_submit(the_db, &op);
    latch_wait(&batcher.latch, 0);
    latch_wait(&claims.latch, 0);
}

static void one_key_and_one_cart_in_one_batch_are_one_checkout(void **state)
{
    struct run runs[4];

    (void)state;
    cart_of(ALICE, "cart", CART);
    claim_new(&runs[0], "key", ALICE, "cart");
    claim_new(&runs[1], "key", ALICE, "cart");
    claim_new(&runs[2], "other-key", ALICE, "cart");
    claim_new(&runs[3], "key", ALICE, "cart");
    memset(runs[3].fingerprint, 8, FINGERPRINT_SIZE); /* another request */
    claim_together(runs, 4);
    for (int i = 0; i < 4; i++) {
        static const enum claim_result EXPECTED[] = {
            CLAIM_OURS, CLAIM_KNOWN, CLAIM_ALREADY_ORDERED, CLAIM_KEY_REUSED};
        assert_ok(runs[i].error);
        assert_int_equal(runs[i].calls, 1);
        assert_int_equal(runs[i].result, EXPECTED[i]);
        run_end(&runs[i]);
    }
    assert_int_equal(sql_number("SELECT count(*) FROM orders.checkouts"), 1);
}

static void replicas_that_claim_at_once_agree_on_one_owner(void **state)
{
    enum { KEYS = 150 };
    static struct run here[KEYS], there[KEYS];
    static char keys[KEYS][32], carts[KEYS][32];
    struct latch latch;
    int ours = 0;

    (void)state;
    latch_set(&latch, 2 * KEYS);
    for (int i = 0; i < KEYS; i++) {
        snprintf(keys[i], sizeof keys[i], "key-%d", i);
        snprintf(carts[i], sizeof carts[i], "cart-%d", i);
        cart_of(ALICE, carts[i], CART);
        claim_new(&here[i], keys[i], ALICE, carts[i]);
        claim_new(&there[i], keys[i], ALICE, carts[i]);
    }
    for (int i = 0; i < KEYS; i++) {
        here[i].db = the_db;
        there[i].db = the_other;
        start(the_db, &here[i], &latch, on_claimed);
        start(the_other, &there[i], &latch, on_claimed);
    }
    latch_wait(&latch, 0);
    for (int i = 0; i < KEYS; i++) {
        assert_ok(here[i].error);
        assert_ok(there[i].error);
        ours += here[i].result == CLAIM_OURS;
        assert_true((here[i].result == CLAIM_OURS) != (there[i].result == CLAIM_OURS));
        assert_true(here[i].result == CLAIM_KNOWN || there[i].result == CLAIM_KNOWN);
        assert_string_equal(here[i].row.order_id, there[i].row.order_id);
        run_end(&here[i]);
        run_end(&there[i]);
    }
    print_message("  %d here, %d there\n", ours, KEYS - ours);
}

static void a_key_is_of_one_user_and_one_request(void **state)
{
    struct run run;

    (void)state;
    cart_of(ALICE, "cart", CART);
    cart_of(BOB, "cart", CART);
    assert_int_equal(claim(&run, "key", ALICE, "cart"), CLAIM_OURS);
    run_end(&run);
    claim_new(&run, "key", ALICE, "cart");
    run.fingerprint[FINGERPRINT_SIZE - 1] = 0;
    assert_int_equal(claim_on(the_db, &run), CLAIM_KEY_REUSED);
    assert_null(run.row.order_id); /* nothing told about the first */
    run_end(&run);
    assert_int_equal(claim(&run, "key", BOB, "cart"), CLAIM_OURS); /* a key of his own */
    assert_int_equal(persist(&run.row).state, CHECKOUT_COMPLETED);
    run_end(&run);
    assert_int_equal(
        sql_number(
            "SELECT count(DISTINCT split_part(idempotency_key, ' ', 2)) * 10 + count(*)"
            " FROM orders.checkouts"),
        12);
}

/* As a program from before migration 0014 writes them, in any of the two tables. */

static void a_key_an_older_program_wrote_is_found_by_its_user_alone(void **state)
{
    struct run run;

    (void)state;
    cart_of(ALICE, "cart", CART);
    cart_of(ALICE, "another", CART);
    cart_of(BOB, "cart", CART);
    insert_bare("key", ALICE, "cart", "running");
    assert_int_equal(claim(&run, "key", ALICE, "cart"), CLAIM_KNOWN);
    assert_string_equal(run.row.order_id, "01ARZ3NDEKTSV4RRFFQ69G5FAV");
    /* What becomes of it is written under the new form, and still found. */
    assert_int_equal(persist(&run.row).state, CHECKOUT_COMPLETED);
    run_end(&run);
    assert_int_equal(sql_number("SELECT count(*) FROM orders.orders"
                                " WHERE idempotency_key = '%s key'",
                                ALICE),
                     1);
    assert_int_equal(claim(&run, "key", ALICE, "another"), CLAIM_KNOWN);
    run_end(&run);
    assert_int_equal(claim(&run, "key", BOB, "cart"), CLAIM_OURS);
    assert_int_equal(persist(&run.row).state, CHECKOUT_COMPLETED);
    run_end(&run);
}

static void an_order_an_older_program_wrote_keeps_its_key_spent(void **state)
{
    struct db_op op = {
        .kind = &CHECKOUTS_PRUNE,
        .head = {db_t("7ZZZZZZZZZZZZZZZZZZZZZZZZZ"), db_i(0), db_i(0), db_i(1)},
        .deadline_ms = in_ms(PATIENCE_MS),
    };
    struct run run;

    (void)state;
    cart_of(ALICE, "cart", CART);
    cart_of(ALICE, "another", CART);
    insert_bare("key", ALICE, "cart", "completed");
    assert_int_equal(claim(&run, "key", ALICE, "another"), CLAIM_KNOWN);
    run_end(&run);
    sql("UPDATE orders.carts SET ordered_at = now() - interval '1 s' WHERE id = 'cart'");
    assert_ok(db_submit_wait(the_db, &op, 1, NULL, NULL));
    assert_int_equal(sql_number("SELECT count(*) FROM orders.checkouts"), 0);
    assert_int_equal(claim(&run, "key", ALICE, "another"), CLAIM_KEY_REUSED);
    run_end(&run);
}

static void a_cart_must_be_there_with_lines_and_free(void **state)
{
    struct run run, running;

    (void)state;
    cart_of(ALICE, "cart", CART);
    cart_of(ALICE, "empty", "[]");
    assert_int_equal(claim(&run, "k1", ALICE, "none"), CLAIM_CART_NOT_FOUND);
    run_end(&run);
    assert_int_equal(claim(&run, "k2", BOB, "cart"), CLAIM_CART_NOT_FOUND);
    run_end(&run);
    assert_int_equal(claim(&run, "k3", ALICE, "empty"), CLAIM_CART_EMPTY);
    run_end(&run);
    assert_int_equal(claim(&running, "k4", ALICE, "cart"), CLAIM_OURS);
    assert_int_equal(claim(&run, "k5", ALICE, "cart"), CLAIM_ALREADY_ORDERED);
    assert_null(run.claimed.order_id); /* none yet */
    run_end(&run);
    /* Failed frees it; completed keeps it. */
    transition(&running.row, CHECKOUT_ABORTING, ERR_OUT_OF_STOCK);
    transition(&running.row, CHECKOUT_FAILED, ERR_OUT_OF_STOCK);
    run_end(&running);
    assert_int_equal(claim(&running, "k5", ALICE, "cart"), CLAIM_OURS);
    assert_int_equal(persist(&running.row).state, CHECKOUT_COMPLETED);
    assert_int_equal(claim(&run, "k6", ALICE, "cart"), CLAIM_ALREADY_ORDERED);
    assert_string_equal(run.claimed.order_id, running.order_id);
    run_end(&run);
    assert_int_equal(claim(&run, "k4", ALICE, "cart"), CLAIM_KNOWN);
    assert_int_equal(run.row.state, CHECKOUT_FAILED);
    assert_int_equal(run.row.failure.code, ERR_OUT_OF_STOCK);
    assert_string_equal(run.row.failure.subject, "sku-1");
    run_end(&run);
    run_end(&running);
}

/* ---- transition and persist ------------------------------------------------------------------ */

static void persisting_twice_is_one_order_and_one_event(void **state)
{
    struct run run;

    (void)state;
    cart_of(ALICE, "cart", CART);
    assert_int_equal(claim(&run, "key", ALICE, "cart"), CLAIM_OURS);
    struct transitioned first = persist(&run.row), second = persist(&run.row);
    assert_int_equal(first.state, CHECKOUT_COMPLETED);
    assert_true(first.created_at_ms > 0);
    assert_int_equal(second.state, CHECKOUT_COMPLETED);
    assert_int_equal(second.created_at_ms, first.created_at_ms);
    assert_int_equal(sql_number("SELECT count(*) FROM orders.orders"), 1);
    assert_int_equal(sql_number("SELECT count(*) FROM orders.outbox"), 1);
    assert_sql_text("order.created 1 100 EUR",
                    "SELECT type || ' ' || sequence || ' ' ||"
                    " (payload->>'total_cents') || ' ' ||"
                    " (payload->>'currency') FROM orders.outbox");
    /* It is the end: nothing turns it. */
    assert_int_equal(transition(&run.row, CHECKOUT_ABORTING, ERR_INTERNAL).state,
                     CHECKOUT_COMPLETED);
    assert_int_equal(transition(&run.row, CHECKOUT_FAILED, ERR_INTERNAL).state,
                     CHECKOUT_COMPLETED);
    /* And a repeated request finds the order. */
    assert_int_equal(claim_on(the_db, &run), CLAIM_OURS);
    assert_int_equal(run.row.total_cents, 100);
    assert_string_equal(run.row.currency, "EUR");
    assert_int_equal(run.row.lines.count, 1);
    assert_int_equal(run.row.lines.items[0].unit_price_cents, 50);
    run_end(&run);
}

static void what_is_aborting_keeps_its_reason_and_is_never_persisted(void **state)
{
    struct run run;

    (void)state;
    cart_of(ALICE, "cart", CART);
    assert_int_equal(claim(&run, "key", ALICE, "cart"), CLAIM_OURS);
    assert_int_equal(transition(&run.row, CHECKOUT_ABORTING, ERR_PAYMENT_DECLINED).state,
                     CHECKOUT_ABORTING);
    assert_int_equal(transition(&run.row, CHECKOUT_ABORTING, ERR_INTERNAL).state,
                     CHECKOUT_ABORTING);
    assert_int_equal(persist(&run.row).state, CHECKOUT_ABORTING);
    assert_int_equal(transition(&run.row, CHECKOUT_FAILED, ERR_INTERNAL).state,
                     CHECKOUT_FAILED);
    assert_int_equal(transition(&run.row, CHECKOUT_ABORTING, ERR_INTERNAL).state,
                     CHECKOUT_FAILED);
    assert_int_equal(persist(&run.row).state, CHECKOUT_FAILED);
    assert_sql_text("payment_declined", "SELECT failure_reason FROM orders.checkouts");
    run_end(&run);
}

static void assert_money(const char *key, enum err_money money)
{
    struct run run;

    assert_int_equal(claim(&run, key, ALICE, "cart"), CLAIM_KNOWN);
    assert_int_equal(run.row.failure.money, money);
    run_end(&run);
}

/* The reason stays, and the money is the newest that was told. */
static void what_became_of_the_money_is_kept_with_each_transition(void **state)
{
    struct run run, turned = {.calls = 0};
    struct checkout failing;

    (void)state;
    cart_of(ALICE, "cart", CART);
    assert_int_equal(claim(&run, "key", ALICE, "cart"), CLAIM_OURS);
    failing = run.row;
    failing.failure = err_make(ERR_RESERVATION_EXPIRED, "It ran out.");
    failing.failure.money = MONEY_REFUND_PENDING;
    checkouts_transition(&turned.op, &failing, CHECKOUT_ABORTING, NULL);
    assert_int_equal(finish(&turned).state, CHECKOUT_ABORTING);
    assert_money("key", MONEY_REFUND_PENDING);
    failing.failure.money = MONEY_REFUNDED;
    checkouts_transition(&turned.op, &failing, CHECKOUT_FAILED, NULL);
    assert_int_equal(finish(&turned).state, CHECKOUT_FAILED);
    assert_money("key", MONEY_REFUNDED);
    /* Nobody kept it of what aborted before this was kept, and then failed. */
    sql("UPDATE orders.checkouts SET failure_money = NULL");
    assert_money("key", MONEY_UNKNOWN);
    sql("UPDATE orders.checkouts SET state = 'aborting', finished_at = NULL");
    assert_money("key", MONEY_REFUND_PENDING);
    run_end(&run);
}

/* ---- leases ---------------------------------------------------------------------------- */

static void only_what_is_past_its_lease_is_taken_over(void **state)
{
    struct run run, taker;

    (void)state;
    cart_of(ALICE, "cart", CART);
    assert_int_equal(claim(&run, "key", ALICE, "cart"), CLAIM_OURS);
    assert_int_equal(take_over(&taker, "owner-2", 10), 0);
    run_end(&taker);
    late();
    assert_int_equal(take_over(&taker, "owner-2", 10), 1);
    assert_string_equal(taker.taken[0].order_id, run.order_id);
    assert_int_equal(taker.taken[0].epoch, 2);
    assert_int_equal(taker.taken[0].cart.count, 1);
    run_end(&taker);
    assert_int_equal(take_over(&taker, "owner-2", 10), 0); /* it has a new lease */
    run_end(&taker);
    run_end(&run);
}

static void renewing_puts_the_lease_off_for_its_owner_alone(void **state)
{
    struct run run, taker, renewal = {.calls = 0};

    (void)state;
    cart_of(ALICE, "cart", CART);
    assert_int_equal(claim(&run, "key", ALICE, "cart"), CLAIM_OURS);
    late();
    checkouts_renew(&renewal.op, run.order_id, 2, LEASE_MS); /* another's epoch */
    finish(&renewal);
    assert_int_equal(
        sql_number("SELECT (lease_until < now())::int FROM orders.checkouts"), 1);
    checkouts_renew(&renewal.op, run.order_id, 1, LEASE_MS);
    finish(&renewal);
    assert_int_equal(take_over(&taker, "owner-2", 10), 0);
    run_end(&taker);
    run_end(&run);
}

static void a_zombie_changes_nothing_after_a_take_over(void **state)
{
    struct run zombie, taker, renewal = {.calls = 0};

    (void)state;
    cart_of(ALICE, "cart", CART);
    assert_int_equal(claim(&zombie, "key", ALICE, "cart"), CLAIM_OURS);
    late();
    assert_int_equal(take_over(&taker, "owner-2", 10), 1);
    struct transitioned t = persist(&zombie.row);
    assert_int_equal(t.state, CHECKOUT_RUNNING);
    assert_int_equal(t.epoch, 2);
    assert_int_equal(transition(&zombie.row, CHECKOUT_ABORTING, ERR_INTERNAL).state,
                     CHECKOUT_RUNNING);
    assert_int_equal(transition(&zombie.row, CHECKOUT_FAILED, ERR_INTERNAL).state,
                     CHECKOUT_RUNNING);
    late();
    checkouts_renew(&renewal.op, zombie.order_id, 1, LEASE_MS);
    finish(&renewal);
    assert_int_equal(
        sql_number("SELECT (lease_until < now())::int FROM orders.checkouts"), 1);
    assert_int_equal(sql_number("SELECT count(*) FROM orders.orders"), 0);
    assert_int_equal(persist(&taker.taken[0]).state, CHECKOUT_COMPLETED);
    assert_int_equal(sql_number("SELECT count(*) FROM orders.orders"), 1);
    run_end(&zombie);
    run_end(&taker);
}

static void instances_that_take_over_at_once_take_each_checkout_once(void **state)
{
    enum { LATE = 100 };
    struct run takers[20];
    int taken = 0;

    (void)state;
    for (int i = 0; i < LATE; i++)
        sql("INSERT INTO orders.checkouts (order_id, idempotency_key, user_id, cart_id,"
            " payment_method_id, fingerprint, cart, owner, lease_until) VALUES"
            " ('o%d', 'k%d', '%s', 'c%d', 'pm', decode(repeat('00', 32), 'hex'), '%s', 'dead',"
            "  now() - interval '1 s')",
            i, i, ALICE, i, CART);
    for (int i = 0; i < 20; i++)
        start_take_over(i % 2 == 0 ? the_db : the_other, &takers[i],
                        i % 2 == 0 ? "even" : "odd", 30);
    for (int i = 0; i < 20; i++)
        latch_wait(takers[i].latch, 0);
    for (int i = 0; i < 20; i++) {
        assert_ok(takers[i].error);
        for (int k = 0; k < takers[i].taken_count; k++)
            assert_int_equal(takers[i].taken[k].epoch, 2);
        taken += takers[i].taken_count;
        run_end(&takers[i]);
    }
    /* Those of one batch act as one. */
    while (taken < LATE) {
        struct run taker;
        int more = take_over(&taker, "even", 30);
        assert_true(more > 0);
        taken += more;
        run_end(&taker);
    }
    assert_int_equal(taken, LATE);
    assert_int_equal(sql_number("SELECT count(*) FROM orders.checkouts WHERE epoch <> 2"),
                     0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_key_claims_its_checkout_once),
        TEST(a_trace_goes_on_with_who_takes_the_checkout_over),
        TEST(only_a_well_formed_traceparent_is_kept),
        TEST(a_claim_run_again_after_a_take_over_is_no_longer_ours),
        TEST(one_key_and_one_cart_in_one_batch_are_one_checkout),
        TEST(replicas_that_claim_at_once_agree_on_one_owner),
        TEST(a_key_is_of_one_user_and_one_request),
        TEST(a_key_an_older_program_wrote_is_found_by_its_user_alone),
        cmocka_unit_test_setup_teardown(
            an_order_an_older_program_wrote_keeps_its_key_spent, set_up, close_all),
        TEST(a_cart_must_be_there_with_lines_and_free),
        TEST(persisting_twice_is_one_order_and_one_event),
        TEST(what_is_aborting_keeps_its_reason_and_is_never_persisted),
        TEST(what_became_of_the_money_is_kept_with_each_transition),
        TEST(only_what_is_past_its_lease_is_taken_over),
        TEST(renewing_puts_the_lease_off_for_its_owner_alone),
        TEST(a_zombie_changes_nothing_after_a_take_over),
        TEST(instances_that_take_over_at_once_take_each_checkout_once),
    };

    return cmocka_run_group_tests_name("checkouts", tests, migrate_first, NULL);
}
