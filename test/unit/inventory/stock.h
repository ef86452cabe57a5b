/* stock.h - what the tests of inventory/stock.h share: a store, products, and what is
 * asked. */
#pragma once

#include "unit/db/scoped.h"

#include "inventory/stock.h"

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

enum { LINES_MAX = 4, TTL_MS = 900000 };

struct ask {
    struct call call;
    char id[ULID_SIZE];
    int64_t ttl_ms;
    Inventory__V1__ReserveRequest reserve;
    Inventory__V1__ConfirmRequest confirm;
    Inventory__V1__ReleaseRequest release;
    Inventory__V1__Line lines[LINES_MAX], *pointers[LINES_MAX];
};

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

    stock_configure(&config);
    assert_ok(db_open(&config, &db));
    return db;
}

static struct db *the_db; /* of the test under way */

UNUSED static int set_up(void **state)
{
    (void)state;
    sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()");
    sql("TRUNCATE inventory.products, inventory.stock, inventory.ledger,"
        " inventory.reservations");
    the_db = open_db("stock_test");
    return 0;
}

/* After each test: whatever it did, the books agree with themselves and each other. */
UNUSED static int tear_down(void **state)
{
    (void)state;
    db_close(the_db);
    int64_t wrong = sql_number(
        "SELECT count(*) FROM inventory.stock s WHERE"
        " received <> available + held + sold OR available < 0"
        " OR received <> (SELECT coalesce(sum(delta), 0) FROM inventory.ledger g"
        "                 WHERE g.sku = s.sku)"
        " OR held <> (SELECT coalesce(sum(l.quantity), 0) FROM inventory.reservations r,"
        "             unnest(r.skus, r.quantities) AS l(sku, quantity)"
        "             WHERE l.sku = s.sku AND r.state = 'held')"
        " OR sold <> (SELECT coalesce(sum(l.quantity), 0) FROM inventory.reservations r,"
        "             unnest(r.skus, r.quantities) AS l(sku, quantity)"
        "             WHERE l.sku = s.sku AND r.state = 'confirmed')");
    if (wrong != 0)
        print_error("the books of %lld SKUs are wrong\n", (long long)wrong);
    return wrong == 0 ? 0 : -1;
}

/* ---- doing ----------------------------------------------------------------------------- */

UNUSED static void start_adjust(struct call *call, struct latch *latch,
                                Inventory__V1__AdjustStockRequest *in, const char *sku,
                                int64_t delta, const char *id)
{
    inventory__v1__adjust_stock_request__init(in);
    in->sku = (char *)sku;
    in->delta = delta;
    in->reason = (char *)"test";
    stock_adjust(the_db, call_begin(call, latch), in, id);
}

UNUSED static enum err_code adjust(const char *sku, int64_t delta, const char *id)
{
    struct call call;
    Inventory__V1__AdjustStockRequest in;

    start_adjust(&call, NULL, &in, sku, delta, id);
    return call_code(&call);
}

UNUSED static void product_of(const char *sku, int64_t price, const char *currency,
                              int64_t pieces)
{
    struct call call;
    Inventory__V1__PutProductRequest in = INVENTORY__V1__PUT_PRODUCT_REQUEST__INIT;
    char id[80];

    in.sku = (char *)sku;
    in.title = (char *)"A thing";
    in.price_cents = price;
    in.currency = (char *)currency;
    stock_put_product(the_db, call_begin(&call, NULL), &in);
    assert_call_ok(&call);
    snprintf(id, sizeof id, "first-%s", sku);
    if (pieces > 0)
        assert_int_equal(adjust(sku, pieces, id), ERR_OK);
}

UNUSED static void product(const char *sku, int64_t pieces)
{
    product_of(sku, 100, "EUR", pieces);
}

UNUSED static void ask_for(struct ask *ask, const char *sku, int64_t quantity)
{
    Inventory__V1__Line *line = &ask->lines[ask->reserve.n_lines];

    inventory__v1__line__init(line);
    line->sku = (char *)sku;
    line->quantity = quantity;
    ask->pointers[ask->reserve.n_lines++] = line;
}

UNUSED static void ask_new(struct ask *ask, const char *sku, int64_t quantity)
{
    memset(ask, 0, sizeof *ask);
    ulid_make(ask->id);
    ask->ttl_ms = TTL_MS;
    inventory__v1__reserve_request__init(&ask->reserve);
    ask->reserve.reservation_id = ask->id;
    ask->reserve.lines = ask->pointers;
    if (sku != NULL)
        ask_for(ask, sku, quantity);
}

UNUSED static void start_reserve(struct db *db, struct ask *ask, struct latch *latch)
{
    stock_reserve(db, call_begin(&ask->call, latch), &ask->reserve, ask->ttl_ms);
}

UNUSED static enum err_code reserve(struct ask *ask)
{
    start_reserve(the_db, ask, NULL);
    return call_code(&ask->call);
}

UNUSED static void start_confirm(struct db *db, struct ask *ask, struct latch *latch)
{
    inventory__v1__confirm_request__init(&ask->confirm);
    ask->confirm.reservation_id = ask->id;
    stock_confirm(db, call_begin(&ask->call, latch), &ask->confirm);
}

UNUSED static enum err_code confirm(struct ask *ask)
{
    start_confirm(the_db, ask, NULL);
    return call_code(&ask->call);
}

UNUSED static void start_release(struct db *db, struct ask *ask, struct latch *latch)
{
    inventory__v1__release_request__init(&ask->release);
    ask->release.reservation_id = ask->id;
    stock_release(db, call_begin(&ask->call, latch), &ask->release);
}

UNUSED static enum err_code release(struct ask *ask)
{
    start_release(the_db, ask, NULL);
    return call_code(&ask->call);
}

struct expiry {
    struct db_op op;
    struct latch latch;
    struct err error;
};

UNUSED static void on_expired(void *arg, struct err error, const struct db_rows *rows)
{
    struct expiry *expiry = arg;

    (void)rows;
    expiry->error = error;
    latch_count(&expiry->latch);
}

UNUSED static void start_expire(struct db *db, struct expiry *expiry, const char *id)
{
    *expiry = (struct expiry){.op = {.deadline_ms = in_ms(CALL_DEADLINE_MS)}};
    latch_set(&expiry->latch, 1);
    stock_expire(&expiry->op, id);
    expiry->op.done = on_expired;
    expiry->op.arg = expiry;
    db_submit(db, &expiry->op);
}

UNUSED static void expire(const char *id)
{
    struct expiry expiry;

    start_expire(the_db, &expiry, id);
    latch_wait(&expiry.latch, 0);
    assert_ok(expiry.error);
}

UNUSED static void in_one_batch(void (*submit)(void *arg), void *arg)
{
    struct batcher batcher = {.submit = submit, .arg = arg};
    struct db_op op = {.deadline_ms = in_ms(CALL_DEADLINE_MS)};

    latch_set(&batcher.latch, 1);
    stock_expire(&op, "nobody");
    op.done = batcher_on_op;
    op.arg = &batcher;
    db_submit(the_db, &op);
    latch_wait(&batcher.latch, 0);
}

struct many {
    struct ask *asks;
    int count;
    struct ask *given_back; /* in the same batch */
    int given_back_count;
    struct latch latch;
};

UNUSED static void submit_reserves(void *arg)
{
    struct many *many = arg;

    for (int i = 0; i < many->given_back_count; i++)
        start_release(the_db, &many->given_back[i], &many->latch);
    for (int i = 0; i < many->count; i++)
        start_reserve(the_db, &many->asks[i], &many->latch);
}

/* Releases some and reserves others in one batch; codes are then in
 * asks[i].call.error. */
UNUSED static void exchange(struct ask *given_back, int given_back_count,
                            struct ask *asks, int count)
{
    struct many many = {asks, count, given_back, given_back_count, {.left = 0}};

    latch_set(&many.latch, given_back_count + count);
    in_one_batch(submit_reserves, &many);
    latch_wait(&many.latch, 0);
    for (int i = 0; i < given_back_count; i++) {
        assert_ok(given_back[i].call.error);
        call_end(&given_back[i].call);
    }
    for (int i = 0; i < count; i++)
        call_end(&asks[i].call);
}

UNUSED static void reserve_together(struct ask *asks, int count)
{
    exchange(NULL, 0, asks, count);
}

/* "available held sold" */
#define assert_stock(sku, expected)                                                      \
    assert_sql_text(expected, "SELECT available || ' ' || held || ' ' || sold"           \
                              " FROM inventory.stock WHERE sku = '" sku "'")

UNUSED static int migrate_first(void **state)
{
    (void)state;
    migrate_all();
    return 0;
}
