/*
 * fixture.h - checkouts for tests against PostgreSQL: two replicas' databases, a claim that is
 * waited for, and a checkout taken to its end.
 */
#pragma once

#include "unit/db/scoped.h" /* a test includes it, too, which gives it a PostgreSQL */

#include "db/db.h"
#include "orchestrator/checkout/checkouts.h"
#include "orchestrator/kinds.h"

UNUSED static const char ALICE[] = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa";
UNUSED static const char BOB[] = "bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb";

enum { LEASE_MS = 600000, TAKEN_MAX = 64 };

UNUSED static struct db *the_db, *the_other; /* of the test under way: two replicas */
UNUSED static struct arena *the_arena;

UNUSED static struct db *open_db(const char *name)
{
    struct db_config config = {
        .url = database_url(),
        .name = name,
        .queue_max = 8192,
        .batch_max = 512,
        .readers = 2,
    };
    struct db *db = NULL;

    orchestrator_configure(&config);
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
    the_db = open_db("orders_test");
    the_other = open_db("orders_test_2");
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
    struct transitioned now;
    struct checkout taken[TAKEN_MAX];
    int taken_count;
    struct arena *arena;
};

UNUSED static void start(struct db *db, struct run *run, struct latch *latch,
                         db_done *done)
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

UNUSED static void on_claimed(void *arg, struct err error, const struct db_rows *rows)
{
    struct run *run = arg;

    run->error = error;
    if (!failed(error))
        run->error = checkouts_claimed(rows, run->arena, &run->asked, &run->claimed);
    run->result = run->claimed.result;
    run->row = run->claimed.row;
    if (!failed(run->error) && run->result == CLAIM_AGAIN && run->db != NULL) {
        db_submit(run->db, &run->op);
        return;
    }
    run->calls++;
    latch_count(run->latch);
}

UNUSED static void claim_new(struct run *run, const char *key, const char *user,
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
    checkouts_claim(&run->op, &run->asked, "owner-1", LEASE_MS);
}

UNUSED static enum claim_result claim_on(struct db *db, struct run *run)
{
    start(db, run, NULL, on_claimed);
    latch_wait(run->latch, 0);
    assert_ok(run->error);
    return run->result;
}

UNUSED static enum claim_result claim(struct run *run, const char *key, const char *user,
                                      const char *cart)
{
    claim_new(run, key, user, cart);
    return claim_on(the_db, run);
}

UNUSED static void run_end(struct run *run)
{
    arena_free(run->arena);
    run->arena = NULL;
}

UNUSED static void on_transitioned(void *arg, struct err error,
                                   const struct db_rows *rows)
{
    struct run *run = arg;

    run->calls++;
    run->error = error;
    if (!failed(error) && rows->count > 0)
        run->error = checkouts_transitioned(rows, &run->now);
    latch_count(run->latch);
}

UNUSED static struct transitioned finish(struct run *run)
{
    start(the_db, run, NULL, on_transitioned);
    latch_wait(run->latch, 0);
    assert_ok(run->error);
    return run->now;
}

UNUSED static struct transitioned transition(const struct checkout *c,
                                             enum checkout_state to, enum err_code code)
{
    struct run run = {.calls = 0};
    struct checkout failing = *c;

    failing.failure = err_make(code, "Because of %s.", err_reason(code));
    failing.failure.subject = "sku-1";
    checkouts_transition(&run.op, &failing, to, NULL);
    return finish(&run);
}

UNUSED static const char CART[] = "[{\"sku\": \"a\", \"quantity\": 2}]";
UNUSED static const char LINES[] =
    "[{\"sku\": \"a\", \"quantity\": 2, \"unit_price_cents\": 50}]";

UNUSED static struct transitioned persist(const struct checkout *c)
{
    struct run run = {.calls = 0};
    struct checkout priced = *c;

    priced.total_cents = 100;
    priced.currency = "EUR";
    checkouts_persist(&run.op, &priced, LINES);
    return finish(&run);
}

UNUSED static void on_taken(void *arg, struct err error, const struct db_rows *rows)
{
    struct run *run = arg;

    run->calls++;
    run->error = error;
    for (int i = 0; i < rows->count && !failed(run->error); i++)
        run->error =
            checkouts_taken(rows, i, run->arena, &run->taken[run->taken_count++]);
    latch_count(run->latch);
}

UNUSED static void start_take_over(struct db *db, struct run *run, const char *owner,
                                   int64_t limit)
{
    memset(run, 0, sizeof *run);
    run->arena = arena_new(1 << 20);
    checkouts_take_over(&run->op, owner, LEASE_MS, limit);
    start(db, run, NULL, on_taken);
}

UNUSED static int take_over(struct run *run, const char *owner, int64_t limit)
{
    start_take_over(the_db, run, owner, limit);
    latch_wait(run->latch, 0);
    assert_ok(run->error);
    return run->taken_count;
}

UNUSED static void cart_of(const char *user, const char *cart_id, const char *lines)
{
    sql("INSERT INTO orders.users (id) VALUES ('%s') ON CONFLICT DO NOTHING;"
        "INSERT INTO orders.carts (user_id, id, lines) VALUES ('%s', '%s', '%s')",
        user, user, cart_id, lines);
}

UNUSED static void late(void)
{
    sql("UPDATE orders.checkouts SET lease_until = now() - interval '1 s'");
}
UNUSED static void insert_bare(const char *key, const char *user, const char *cart,
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

static int migrate_first(void **state)
{
    (void)state;
    migrate_all();
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
