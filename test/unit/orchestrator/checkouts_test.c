/* checkouts_test.c - the promises of orchestrator/orders.h, against PostgreSQL. */
#include "unit/db/scoped.h"

#include "base/contract/cursor.h"
#include "db/wait.h"
#include "orchestrator/orders.h"

static const char ALICE[] = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa";
static const char BOB[] = "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb";

enum { LEASE_MS = 600000, TAKEN_MAX = 64 };

static struct db *the_db, *the_other; /* of the test under way: two replicas */
static struct arena *the_arena;

static struct db *open_db(const char *name)
{
    struct db_config config = {
        .url = database_url(),
        .name = name,
        .queue_max = 8192,
        .batch_max = 512,
        .readers = 2,
    };
    struct db *db = NULL;

    orders_configure(&config);
    assert_ok(db_open(&config, &db));
    return db;
}

static int set_up(void **state)
{
    (void)state;
    sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()");
    sql("TRUNCATE orders.users, orders.carts, orders.checkouts, orders.orders, orders.outbox"
        " CASCADE");
    the_db = open_db("checkouts_test");
    the_other = open_db("checkouts_test_2");
    the_arena = arena_new(8 << 20);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    db_close(the_db);
    db_close(the_other);
    arena_free(the_arena);
    return 0;
}

/* After each test: an order stands for each completed checkout, with one event each. */
static int tear_down(void **state)
{
    close_all(state);
    int64_t wrong = sql_number(
        "SELECT count(*) FROM orders.checkouts c FULL JOIN orders.orders o ON o.id = c.order_id "
        "WHERE (c.state = 'completed') IS DISTINCT FROM (o.id IS NOT NULL)"
        "   OR (SELECT count(*) FROM orders.outbox e WHERE e.order_id = c.order_id)"
        "      <> (c.state = 'completed')::int");
    return wrong == 0 ? 0 : -1;
}

/* ---- doing ----------------------------------------------------------------------------- */

struct run {
    struct db_op op;
    struct latch *latch, own;
    atomic_int calls;
    struct err error;
    struct checkout asked;
    char order_id[ULID_SIZE];
    char key[UUID_LENGTH + 64]; /* as it is stored */
    uint8_t fingerprint[FINGERPRINT_SIZE];
    struct db *db; /* claims again there, until it is known what became of it */
    enum claim_result result;
    struct claimed claimed;
    struct checkout row;
    struct turned turned;
    struct checkout taken[TAKEN_MAX];
    int taken_count;
    struct arena *arena;
};

static void start(struct db *db, struct run *run, struct latch *latch, db_done *done)
{
    run->latch = latch;
    if (latch == NULL) {
        latch_set(&run->own, 1);
        run->latch = &run->own;
    }
    run->op.deadline_ms = in_ms(CALL_DEADLINE_MS);
    run->op.done = done;
    run->op.arg = run;
    db_submit(db, &run->op);
}

static void on_claimed(void *arg, struct err error, const struct db_rows *rows)
{
    struct run *run = arg;

    run->error = error;
    if (!failed(error))
        run->error = orders_claimed(rows, run->arena, &run->asked, &run->claimed);
    run->result = run->claimed.result;
    run->row = run->claimed.row;
    if (!failed(run->error) && run->result == CLAIM_AGAIN && run->db != NULL) {
        db_submit(run->db, &run->op);
        return;
    }
    run->calls++;
    latch_count(run->latch);
}

static void claim_new(struct run *run, const char *key, const char *user,
                      const char *cart)
{
    memset(run, 0, sizeof *run);
    ulid_make(run->order_id);
    memset(run->fingerprint, 7, sizeof run->fingerprint);
    snprintf(run->key, sizeof run->key, "%s %s", user, key);
    run->arena = arena_new(1 << 20);
    run->asked = (struct checkout){
        .order_id = run->order_id,
        .idempotency_key = run->key,
        .user_id = user,
        .cart_id = cart,
        .payment_method_id = "pm_card_visa",
        .fingerprint = run->fingerprint,
        .expected_total_cents = -1,
    };
    orders_claim(&run->op, &run->asked, "owner-1", LEASE_MS);
}

static enum claim_result claim_on(struct db *db, struct run *run)
{
    start(db, run, NULL, on_claimed);
    latch_wait(run->latch, 0);
    assert_ok(run->error);
    return run->result;
}

static enum claim_result claim(struct run *run, const char *key, const char *user,
                               const char *cart)
{
    claim_new(run, key, user, cart);
    return claim_on(the_db, run);
}

static void run_end(struct run *run)
{
    arena_free(run->arena);
    run->arena = NULL;
}

static void on_turned(void *arg, struct err error, const struct db_rows *rows)
{
    struct run *run = arg;

    run->calls++;
    run->error = error;
    if (!failed(error) && rows->count > 0)
        run->error = orders_turned(rows, &run->turned);
    latch_count(run->latch);
}

static struct turned finish(struct run *run)
{
    start(the_db, run, NULL, on_turned);
    latch_wait(run->latch, 0);
    assert_ok(run->error);
    return run->turned;
}

static struct turned turn(const struct checkout *c, enum checkout_state to,
                          enum err_code code)
{
    struct run run = {.calls = 0};
    struct checkout failing = *c;

    failing.failure = err_make(code, "Because of %s.", err_reason(code));
    failing.failure.subject = "sku-1";
    orders_turn(&run.op, &failing, to, NULL);
    return finish(&run);
}

static const char CART[] = "[{\"sku\": \"a\", \"quantity\": 2}]";
static const char LINES[] =
    "[{\"sku\": \"a\", \"quantity\": 2, \"unit_price_cents\": 50}]";

static struct turned persist(const struct checkout *c)
{
    struct run run = {.calls = 0};
    struct checkout priced = *c;

    priced.total_cents = 100;
    priced.currency = "EUR";
    orders_persist(&run.op, &priced, LINES);
    return finish(&run);
}

static void on_taken(void *arg, struct err error, const struct db_rows *rows)
{
    struct run *run = arg;

    run->calls++;
    run->error = error;
    for (int i = 0; i < rows->count && !failed(run->error); i++)
        run->error = orders_taken(rows, i, run->arena, &run->taken[run->taken_count++]);
    latch_count(run->latch);
}

static void start_take_over(struct db *db, struct run *run, const char *owner,
                            int64_t limit)
{
    memset(run, 0, sizeof *run);
    run->arena = arena_new(1 << 20);
    orders_take_over(&run->op, owner, LEASE_MS, limit);
    start(db, run, NULL, on_taken);
}

static int take_over(struct run *run, const char *owner, int64_t limit)
{
    start_take_over(the_db, run, owner, limit);
    latch_wait(run->latch, 0);
    assert_ok(run->error);
    return run->taken_count;
}

static void cart_of(const char *user, const char *cart_id, const char *lines)
{
    sql("INSERT INTO orders.users (id) VALUES ('%s') ON CONFLICT DO NOTHING;"
        "INSERT INTO orders.carts (user_id, id, lines) VALUES ('%s', '%s', '%s')",
        user, user, cart_id, lines);
}

static void late(void)
{
    sql("UPDATE orders.checkouts SET lease_until = now() - interval '1 s'");
}

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
    orders_claim(&run.op, &run.asked, "owner-1", LEASE_MS);
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
        orders_claim(&run.op, &run.asked, "owner-1", LEASE_MS);
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
    orders_renew(&op, "nobody", 1, LEASE_MS);
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
static void insert_bare(const char *key, const char *user, const char *cart,
                        const char *state)
{
    sql("INSERT INTO orders.checkouts (order_id, idempotency_key, user_id, cart_id,"
        " payment_method_id, fingerprint, cart, owner, lease_until, state, finished_at) VALUES"
        " ('01ARZ3NDEKTSV4RRFFQ69G5FAV', '%s', '%s', '%s', 'pm', decode(repeat('07', 32), 'hex'),"
        "  '%s', 'old', now() + interval '1 h', '%s',"
        "  CASE WHEN '%s' = 'completed' THEN now() END)",
        key, user, cart, CART, state, state);
    if (strcmp(state, "completed") == 0)
        sql("INSERT INTO orders.orders (id, user_id, total_cents, idempotency_key, currency,"
            " cart_id, reservation_id, charge_id, lines) VALUES ('01ARZ3NDEKTSV4RRFFQ69G5FAV',"
            " '%s', 100, '%s', 'EUR', '%s', 'r', 'c', '%s');"
            "INSERT INTO orders.outbox (order_id, sequence, type, payload)"
            " VALUES ('01ARZ3NDEKTSV4RRFFQ69G5FAV', 1, 'order.created', '{}')",
            user, key, cart, LINES);
}

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
    const struct prunable what = {.before = "7ZZZZZZZZZZZZZZZZZZZZZZZZZ"};
    struct db_op op = {.deadline_ms = in_ms(PATIENCE_MS)};
    struct run run;

    (void)state;
    cart_of(ALICE, "cart", CART);
    cart_of(ALICE, "another", CART);
    insert_bare("key", ALICE, "cart", "completed");
    assert_int_equal(claim(&run, "key", ALICE, "another"), CLAIM_KNOWN);
    run_end(&run);
    sql("UPDATE orders.carts SET ordered_at = now() - interval '1 s' WHERE id = 'cart'");
    orders_prune(&op, &what, 1);
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
    turn(&running.row, CHECKOUT_ABORTING, ERR_OUT_OF_STOCK);
    turn(&running.row, CHECKOUT_FAILED, ERR_OUT_OF_STOCK);
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

/* ---- turn and persist ------------------------------------------------------------------ */

static void persisting_twice_is_one_order_and_one_event(void **state)
{
    struct run run;

    (void)state;
    cart_of(ALICE, "cart", CART);
    assert_int_equal(claim(&run, "key", ALICE, "cart"), CLAIM_OURS);
    struct turned first = persist(&run.row), second = persist(&run.row);
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
    assert_int_equal(turn(&run.row, CHECKOUT_ABORTING, ERR_INTERNAL).state,
                     CHECKOUT_COMPLETED);
    assert_int_equal(turn(&run.row, CHECKOUT_FAILED, ERR_INTERNAL).state,
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
    assert_int_equal(turn(&run.row, CHECKOUT_ABORTING, ERR_PAYMENT_DECLINED).state,
                     CHECKOUT_ABORTING);
    assert_int_equal(turn(&run.row, CHECKOUT_ABORTING, ERR_INTERNAL).state,
                     CHECKOUT_ABORTING);
    assert_int_equal(persist(&run.row).state, CHECKOUT_ABORTING);
    assert_int_equal(turn(&run.row, CHECKOUT_FAILED, ERR_INTERNAL).state,
                     CHECKOUT_FAILED);
    assert_int_equal(turn(&run.row, CHECKOUT_ABORTING, ERR_INTERNAL).state,
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
static void what_became_of_the_money_is_kept_with_each_turn(void **state)
{
    struct run run, turned = {.calls = 0};
    struct checkout failing;

    (void)state;
    cart_of(ALICE, "cart", CART);
    assert_int_equal(claim(&run, "key", ALICE, "cart"), CLAIM_OURS);
    failing = run.row;
    failing.failure = err_make(ERR_RESERVATION_EXPIRED, "It ran out.");
    failing.failure.money = MONEY_REFUND_PENDING;
    orders_turn(&turned.op, &failing, CHECKOUT_ABORTING, NULL);
    assert_int_equal(finish(&turned).state, CHECKOUT_ABORTING);
    assert_money("key", MONEY_REFUND_PENDING);
    failing.failure.money = MONEY_REFUNDED;
    orders_turn(&turned.op, &failing, CHECKOUT_FAILED, NULL);
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
    orders_renew(&renewal.op, run.order_id, 2, LEASE_MS); /* another's epoch */
    finish(&renewal);
    assert_int_equal(
        sql_number("SELECT (lease_until < now())::int FROM orders.checkouts"), 1);
    orders_renew(&renewal.op, run.order_id, 1, LEASE_MS);
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
    struct turned t = persist(&zombie.row);
    assert_int_equal(t.state, CHECKOUT_RUNNING);
    assert_int_equal(t.epoch, 2);
    assert_int_equal(turn(&zombie.row, CHECKOUT_ABORTING, ERR_INTERNAL).state,
                     CHECKOUT_RUNNING);
    assert_int_equal(turn(&zombie.row, CHECKOUT_FAILED, ERR_INTERNAL).state,
                     CHECKOUT_RUNNING);
    late();
    orders_renew(&renewal.op, zombie.order_id, 1, LEASE_MS);
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

/* ---- carts ----------------------------------------------------------------------------- */

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
    turn(&run.row, CHECKOUT_FAILED, ERR_OUT_OF_STOCK);
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
        orders_renew(&op, "nobody", 1, LEASE_MS);
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
    orders_claim(&run.op, &run.asked, "owner-1", LEASE_MS);
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

/* ---- orders ---------------------------------------------------------------------------- */

static const uint8_t CURSOR_KEY[CURSOR_KEY_SIZE] = "a key of the test's";

static void orders_are_paged_without_gap_or_repetition_over_equal_times(void **state)
{
    enum { ORDERS = 25, PAGE = 4 };
    Orders__V1__ListOrdersRequest in = ORDERS__V1__LIST_ORDERS_REQUEST__INIT;
    char cursor[128] = "", seen[1024] = "";
    struct call call;
    int pages = 0, orders = 0;

    (void)state;
    sql("INSERT INTO orders.users (id) VALUES ('%s'), ('%s')", ALICE, BOB);
    /* Five orders at each of five times, with microseconds; ids not in order of time. */
    sql("INSERT INTO orders.orders (id, user_id, total_cents, idempotency_key, created_at,"
        " currency, cart_id, reservation_id, charge_id, lines)"
        " SELECT '01ARZ3NDEKTSV4RRFFQ69G' || lpad((i * 7 %% 25)::text, 4, '0'), '%s', i,"
        "  'k' || i, timestamptz '2026-03-29 00:59:59.123457Z' + (i / 5) * interval '1 us',"
        "  'EUR', 'c', 'r', 'h', '[{\"sku\":\"a\",\"quantity\":1}]' FROM generate_series(0, 24) AS i",
        ALICE);
    sql("INSERT INTO orders.orders (id, user_id, total_cents, idempotency_key, currency,"
        " cart_id, reservation_id, charge_id, lines)"
        " VALUES ('01ARZ3NDEKTSV4RRFFQ69GZZZZ', '%s', 1, 'bob', 'EUR', 'c', 'r', 'h',"
        "         '[{\"sku\":\"a\",\"quantity\":1}]')",
        BOB);
    in.user_id = (char *)ALICE;
    in.limit = PAGE;
    do {
        in.cursor = cursor;
        orders_list(the_db, call_begin(&call, NULL), CURSOR_KEY, &in);
        call_wait(&call);
        assert_ok(call.error);
        const Orders__V1__ListOrdersReply *page = (void *)call.reply;
        for (size_t i = 0; i < page->n_orders; i++, orders++) {
            assert_string_equal(page->orders[i]->user_id, ALICE);
            strncat(seen, page->orders[i]->order_id + 22, 4);
            strncat(seen, " ", 2);
        }
        snprintf(cursor, sizeof cursor, "%s", page->next_cursor);
        call_end(&call);
        pages++;
    } while (cursor[0] != '\0' && pages < 2 * ORDERS);
    assert_int_equal(orders, ORDERS);
    assert_int_equal(pages, (ORDERS + PAGE - 1) / PAGE);
    assert_sql_text(seen,
                    "SELECT string_agg(right(id, 4) || ' ', '' ORDER BY created_at DESC,"
                    " id DESC) FROM orders.orders WHERE idempotency_key <> 'bob'");
}

static void a_cursor_that_was_not_given_is_refused(void **state)
{
    struct arena *arena = arena_new(1 << 16);
    static const char PLACE[] = "1774745999123457.01ARZ3NDEKTSV4RRFFQ69G0000";
    const char *const CURSORS[] = {
        "x",
        "!!!",
        "MTIz",
        "LQ",
        "====",
        /* What releases before gave, without a MAC; and one of another user's. */
        "MTc3NDc0NTk5OTEyMzQ1Ny4wMUFSWjNOREVLVFNWNFJSRkZRNjlHMDAwMA",
        cursor_seal(arena, &(struct cursor_scope){CURSOR_KEY, "orders", BOB}, PLACE),
    };
    Orders__V1__ListOrdersRequest in = ORDERS__V1__LIST_ORDERS_REQUEST__INIT;
    struct call call;

    (void)state;
    in.user_id = (char *)ALICE;
    for (size_t i = 0; i < sizeof CURSORS / sizeof *CURSORS; i++) {
        in.cursor = (char *)CURSORS[i];
        orders_list(the_db, call_begin(&call, NULL), CURSOR_KEY, &in);
        assert_int_equal(call_code(&call), ERR_INVALID_ARGUMENT);
    }
    in.cursor =
        cursor_seal(arena, &(struct cursor_scope){CURSOR_KEY, "orders", ALICE}, PLACE);
    orders_list(the_db, call_begin(&call, NULL), CURSOR_KEY, &in);
    assert_int_equal(call_code(&call), ERR_OK);
    arena_free(arena);
}

static void an_order_is_found_by_the_key_of_its_user(void **state)
{
    static const struct {
        const char *user, *key;
        const char *found;
    } CASES[] = {{ALICE, "key", ""},
                 {ALICE, "other", NULL},
                 {BOB, "key", NULL},
                 {ALICE, "bare", "01ARZ3NDEKTSV4RRFFQ69G5FAV"},
                 {BOB, "bare", NULL}};
    Orders__V1__ListOrdersRequest in = ORDERS__V1__LIST_ORDERS_REQUEST__INIT;
    struct run run;
    struct call call;

    (void)state;
    cart_of(ALICE, "cart", CART);
    assert_int_equal(claim(&run, "key", ALICE, "cart"), CLAIM_OURS);
    persist(&run.row);
    insert_bare("bare", ALICE, "another", "completed");
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        in.user_id = (char *)CASES[i].user;
        in.idempotency_key = (char *)CASES[i].key;
        orders_list(the_db, call_begin(&call, NULL), CURSOR_KEY, &in);
        call_wait(&call);
        assert_ok(call.error);
        const Orders__V1__ListOrdersReply *list = (void *)call.reply;
        assert_int_equal(list->n_orders, CASES[i].found != NULL);
        assert_string_equal(list->next_cursor, "");
        if (CASES[i].found != NULL)
            assert_string_equal(list->orders[0]->order_id,
                                *CASES[i].found == '\0' ? run.order_id : CASES[i].found);
        call_end(&call);
    }
    run_end(&run);
}

static void an_order_is_found_by_its_user_alone(void **state)
{
    Orders__V1__GetOrderRequest in = ORDERS__V1__GET_ORDER_REQUEST__INIT;
    struct run run;
    struct call call;

    (void)state;
    cart_of(ALICE, "cart", CART);
    assert_int_equal(claim(&run, "key", ALICE, "cart"), CLAIM_OURS);
    struct turned t = persist(&run.row);
    in.order_id = run.order_id;
    for (int who = 0; who < 3; who++) {
        in.user_id = (char *)(who == 0 ? ALICE : who == 1 ? "" : BOB);
        orders_get(the_db, call_begin(&call, NULL), &in);
        if (who == 2) {
            assert_int_equal(call_code(&call), ERR_NOT_FOUND);
            continue;
        }
        call_wait(&call);
        assert_ok(call.error);
        const Orders__V1__Order *order =
            ((const Orders__V1__GetOrderReply *)(void *)call.reply)->order;
        assert_string_equal(order->order_id, run.order_id);
        assert_int_equal(order->total_cents, 100);
        assert_int_equal(order->created_at_ms, t.created_at_ms);
        assert_int_equal(order->n_lines, 1);
        assert_string_equal(order->lines[0]->sku, "a");
        call_end(&call);
    }
    run_end(&run);
}

/* ---- lines ----------------------------------------------------------------------------- */

static void lines_survive_their_json(void **state)
{
    enum { LINES_COUNT = 100 };
    struct line items[LINES_COUNT];
    struct lines lines = {items, LINES_COUNT}, back;
    char skus[LINES_COUNT][65], quotes[TITLE_SIZE_MAX + 1];
    const char *const titles[] = {quotes, NULL, "T\xc3\xa4sse \\ \"gro\xc3\x9f\"", ""};
    enum { TITLES_COUNT = sizeof titles / sizeof *titles };

    (void)state;
    memset(quotes, '"', TITLE_SIZE_MAX);
    quotes[TITLE_SIZE_MAX] = '\0';
    for (int i = 0; i < LINES_COUNT; i++) {
        memset(skus[i], 'A' + i % 26, 64);
        skus[i][64] = '\0';
        items[i] =
            (struct line){skus[i], INT64_MAX, INT64_MAX - i, titles[i % TITLES_COUNT]};
    }
    char *json = lines_to_json(the_arena, &lines, true);
    assert_non_null(json);
    assert_ok(lines_from_json(the_arena, json, &back));
    assert_int_equal(back.count, LINES_COUNT);
    for (int i = 0; i < LINES_COUNT; i++) {
        assert_string_equal(back.items[i].sku, skus[i]);
        assert_int_equal(back.items[i].quantity, INT64_MAX);
        assert_int_equal(back.items[i].unit_price_cents, INT64_MAX - i);
        if (items[i].title == NULL)
            assert_null(back.items[i].title);
        else
            assert_string_equal(back.items[i].title, items[i].title);
    }
    lines.count = 0;
    assert_string_equal(lines_to_json(the_arena, &lines, false), "[]");
    assert_int_equal(lines_from_json(the_arena, "{}", &back).code, ERR_DATA_LOSS);
    assert_int_equal(lines_from_json(the_arena, "[{}]", &back).code, ERR_DATA_LOSS);
    assert_int_equal(lines_from_json(the_arena, "[", &back).code, ERR_DATA_LOSS);
}

static int migrate_first(void **state)
{
    (void)state;
    migrate_all();
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

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
        TEST(what_became_of_the_money_is_kept_with_each_turn),
        TEST(only_what_is_past_its_lease_is_taken_over),
        TEST(renewing_puts_the_lease_off_for_its_owner_alone),
        TEST(a_zombie_changes_nothing_after_a_take_over),
        TEST(instances_that_take_over_at_once_take_each_checkout_once),
        TEST(a_cart_holds_what_was_put_last_until_it_is_ordered),
        TEST(a_put_may_demand_a_version),
        TEST(a_put_may_only_create),
        TEST(puts_of_one_cart_in_a_batch_are_answered_as_if_one_came_after_another),
        TEST(a_claim_may_expect_a_version),
        TEST(a_put_that_waits_while_its_cart_is_claimed_is_in_the_order_or_refused),
        TEST(a_put_that_waited_for_a_claim_sees_it),
        TEST(it_sees_it_whatever_isolation_the_database_prefers),
        TEST(puts_and_claims_of_replicas_neither_deadlock_nor_lose_a_put),
        cmocka_unit_test_setup_teardown(
            orders_are_paged_without_gap_or_repetition_over_equal_times, set_up,
            close_all),
        TEST(a_cursor_that_was_not_given_is_refused),
        TEST(an_order_is_found_by_its_user_alone),
        TEST(an_order_is_found_by_the_key_of_its_user),
        TEST(lines_survive_their_json),
    };

    return cmocka_run_group_tests_name("checkouts", tests, migrate_first, NULL);
}
