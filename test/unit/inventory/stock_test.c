/*
 * stock_test.c - the promises of inventory/stock.h, against PostgreSQL: confirming,
 * releasing, expiring, adjusting, replicas, reading.
 */
#include "unit/db/scoped.h"
#include "unit/inventory/stock.h"

/* ---- confirm, release, expire ------------------------------------------------------------ */

static void confirming_sells_once_and_may_be_repeated(void **state)
{
    struct ask ask, unknown;

    (void)state;
    product("a", 10);
    ask_new(&ask, "a", 3);
    assert_int_equal(reserve(&ask), ERR_OK);
    for (int again = 0; again < 3; again++) {
        assert_int_equal(confirm(&ask), ERR_OK);
        assert_stock("a", "7 0 3");
    }
    assert_int_equal(reserve(&ask), ERR_OK); /* a late repetition answers as it did */
    assert_stock("a", "7 0 3");
    ask_new(&unknown, "a", 1);
    assert_int_equal(confirm(&unknown), ERR_NOT_FOUND);
    ask_new(&ask, "a", 100);
    assert_int_equal(reserve(&ask), ERR_OUT_OF_STOCK);
    assert_int_equal(confirm(&ask), ERR_OUT_OF_STOCK);
}

static void releasing_gives_back_what_was_held_or_sold_once(void **state)
{
    struct ask held, sold;

    (void)state;
    product("a", 10);
    ask_new(&held, "a", 3);
    ask_new(&sold, "a", 4);
    assert_int_equal(reserve(&held), ERR_OK);
    assert_int_equal(reserve(&sold), ERR_OK);
    assert_int_equal(confirm(&sold), ERR_OK);
    assert_stock("a", "3 3 4");
    for (int again = 0; again < 2; again++) {
        assert_int_equal(release(&held), ERR_OK);
        assert_stock("a", "6 0 4");
    }
    for (int again = 0; again < 2; again++) {
        assert_int_equal(release(&sold), ERR_OK);
        assert_stock("a", "10 0 0");
    }
    assert_int_equal(confirm(&held), ERR_ABORTED);
    assert_int_equal(reserve(&held), ERR_ABORTED);
    assert_stock("a", "10 0 0");
}

static void releasing_an_unknown_id_bars_it(void **state)
{
    struct ask ask;

    (void)state;
    product("a", 10);
    ask_new(&ask, "a", 3);
    assert_int_equal(release(&ask), ERR_OK);
    assert_int_equal(release(&ask), ERR_OK);
    assert_int_equal(reserve(&ask), ERR_ABORTED);
    assert_int_equal(confirm(&ask), ERR_ABORTED);
    assert_stock("a", "10 0 0");
}

static void submit_release_and_reserve(void *arg)
{
    struct many *many = arg;

    start_reserve(the_db, &many->asks[0], &many->latch);
    start_release(the_db, &many->asks[1], &many->latch);
}

static void a_release_beside_its_reserve_in_one_batch_leaves_nothing_held(void **state)
{
    struct ask asks[2];
    struct many many = {.asks = asks, .count = 2};

    (void)state;
    product("a", 10);
    ask_new(&asks[0], "a", 3);
    asks[1] = asks[0];
    latch_set(&many.latch, 2);
    in_one_batch(submit_release_and_reserve, &many);
    latch_wait(&many.latch, 0);
    assert_ok(asks[1].call.error);
    call_end(&asks[0].call);
    call_end(&asks[1].call);
    assert_stock("a", "10 0 0");
}

static void only_what_is_past_its_end_expires(void **state)
{
    struct ask late, early;

    (void)state;
    product("a", 10);
    ask_new(&late, "a", 3);
    late.ttl_ms = 0;
    ask_new(&early, "a", 4);
    assert_int_equal(reserve(&late), ERR_OK);
    assert_int_equal(reserve(&early), ERR_OK);
    expire(late.id);
    expire(late.id);
    expire(early.id);
    assert_stock("a", "6 4 0");
    assert_int_equal(confirm(&late), ERR_RESERVATION_EXPIRED);
    assert_int_equal(reserve(&late), ERR_RESERVATION_EXPIRED);
    assert_int_equal(release(&late), ERR_OK);
    assert_stock("a", "6 4 0");
    assert_int_equal(confirm(&early), ERR_OK);
    expire(early.id);
    assert_stock("a", "6 0 4");
}

static void expiry_that_races_confirm_and_release_books_one_of_them(void **state)
{
    enum { ROUNDS = 150 };
    static struct ask asks[ROUNDS];
    static struct expiry expiries[ROUNDS];
    struct latch latch;
    struct db *other = open_db("stock_test_2");
    int confirmed = 0;

    (void)state;
    product("a", 1000);
    for (int i = 0; i < ROUNDS; i++) {
        ask_new(&asks[i], "a", 1);
        asks[i].ttl_ms = 0;
        assert_int_equal(reserve(&asks[i]), ERR_OK);
    }
    latch_set(&latch, ROUNDS);
    for (int i = 0; i < ROUNDS; i++) {
        struct db *one = i % 2 == 0 ? the_db : other;
        struct db *two = i % 3 == 0 ? the_db : other;
        if (i % 5 == 0)
            start_release(one, &asks[i], &latch);
        else
            start_confirm(one, &asks[i], &latch);
        start_expire(two, &expiries[i], asks[i].id);
    }
    latch_wait(&latch, 0);
    for (int i = 0; i < ROUNDS; i++) {
        char query[128];
        latch_wait(&expiries[i].latch, 0);
        assert_ok(expiries[i].error);
        enum err_code code = asks[i].call.error.code;
        call_end(&asks[i].call);
        snprintf(query, sizeof query,
                 "SELECT state FROM inventory.reservations WHERE id = '%s'", asks[i].id);
        if (i % 5 == 0)
            assert_int_equal(code, ERR_OK);
        else
            assert_sql_text(code == ERR_OK ? "confirmed" : "expired", query);
        confirmed += code == ERR_OK && i % 5 != 0;
    }
    print_message("  %d confirmed of %d\n", confirmed, ROUNDS * 4 / 5);
    db_close(other);
}

/* ---- adjust ---------------------------------------------------------------------------- */

static void an_adjustment_books_once(void **state)
{
    (void)state;
    product("a", 10);
    product("b", 0);
    for (int again = 0; again < 3; again++)
        assert_int_equal(adjust("a", -4, "loss"), ERR_OK);
    assert_stock("a", "6 0 0");
    assert_int_equal(adjust("a", -5, "loss"), ERR_ALREADY_EXISTS);
    assert_int_equal(adjust("b", -4, "loss"), ERR_ALREADY_EXISTS);
    assert_int_equal(adjust("nothing", 1, "none"), ERR_NOT_FOUND);
    assert_stock("a", "6 0 0");
}

struct adjustments {
    struct call calls[5];
    Inventory__V1__AdjustStockRequest in[5];
    struct latch latch;
};

static void submit_adjustments(void *arg)
{
    static const struct {
        const char *sku;
        int64_t delta;
        const char *id;
    } ROWS[] = {{"a", 5, "r1"},
                {"a", -100, "r2"},
                {"b", 1, "r3"},
                {"a", -2, "r4"},
                {"a", 5, "r1"}};
    struct adjustments *all = arg;

    for (int i = 0; i < 5; i++)
        start_adjust(&all->calls[i], &all->latch, &all->in[i], ROWS[i].sku, ROWS[i].delta,
                     ROWS[i].id);
}

static void an_adjustment_below_zero_is_refused_alone(void **state)
{
    struct adjustments all;

    (void)state;
    product("a", 10);
    product("b", 10);
    latch_set(&all.latch, 5);
    in_one_batch(submit_adjustments, &all);
    latch_wait(&all.latch, 0);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(all.calls[i].error.code,
                         i == 1 ? ERR_FAILED_PRECONDITION : ERR_OK);
        call_end(&all.calls[i]);
    }
    assert_stock("a", "13 0 0");
    assert_stock("b", "11 0 0");
}

/* ---- replicas -------------------------------------------------------------------------- */

/* Transactions that failed: each was logged as an error and its batch run again. */
static int64_t failures(void)
{
    wait_sql("SELECT (count(*) = 0)::int FROM pg_stat_activity"
             " WHERE application_name LIKE 'stock_test_%'");
    return sql_number("SELECT deadlocks + xact_rollback FROM pg_stat_database"
                      " WHERE datname = current_database()");
}

static void replicas_on_the_same_skus_never_get_in_each_others_way(void **state)
{
    enum { ASKS = 1200, HOT = 6 };
    static const char *const HOT_SKUS[HOT] = {"h0", "h1", "h2", "h3", "h4", "h5"};
    static struct ask asks[ASKS];
    struct latch latch;
    uint32_t seed = 7;
    int held = 0;

    (void)state;
    for (int s = 0; s < HOT; s++)
        product(HOT_SKUS[s], 300);
    db_close(the_db);
    int64_t before = failures();
    the_db = open_db("stock_test_1");
    struct db *other = open_db("stock_test_2");
    latch_set(&latch, ASKS);
    for (int i = 0; i < ASKS; i++) {
        ask_new(&asks[i], HOT_SKUS[random_below(&seed, HOT)], 1);
        ask_for(&asks[i], HOT_SKUS[random_below(&seed, HOT)], 1);
        ask_for(&asks[i], HOT_SKUS[random_below(&seed, HOT)], 1);
        start_reserve(i % 2 == 0 ? the_db : other, &asks[i], &latch);
        if (i % 16 == 0)
            latch_wait(&latch, ASKS - i / 2);
    }
    latch_wait(&latch, 0);
    latch_set(&latch, ASKS);
    for (int i = 0; i < ASKS; i++) {
        held += asks[i].call.error.code == ERR_OK;
        /* Nobody decided on what another was changing: that would be another error. */
        if (failed(asks[i].call.error))
            assert_int_equal(asks[i].call.error.code, ERR_OUT_OF_STOCK);
        call_end(&asks[i].call);
        if (i % 3 == 0)
            start_release(i % 4 < 2 ? the_db : other, &asks[i], &latch);
        else
            start_confirm(i % 4 < 2 ? the_db : other, &asks[i], &latch);
        if (i % 16 == 0)
            latch_wait(&latch, ASKS - i / 2);
    }
    latch_wait(&latch, 0);
    for (int i = 0; i < ASKS; i++) {
        if (failed(asks[i].call.error))
            assert_int_equal(asks[i].call.error.code, ERR_OUT_OF_STOCK);
        call_end(&asks[i].call);
    }
    db_close(other);
    db_close(the_db); /* its counters are then reported */
    the_db = NULL;
    assert_int_equal(failures(), before);
    print_message("  %d held of %d\n", held, ASKS);
    assert_true(held > 300);
}

/* ---- reading --------------------------------------------------------------------------- */

static void stock_and_reservations_read_as_they_are(void **state)
{
    struct ask ask;
    struct call call;
    Inventory__V1__GetStockRequest stock = INVENTORY__V1__GET_STOCK_REQUEST__INIT;
    Inventory__V1__GetReservationRequest get =
        INVENTORY__V1__GET_RESERVATION_REQUEST__INIT;

    (void)state;
    product("a", 10);
    ask_new(&ask, "a", 3);
    assert_int_equal(reserve(&ask), ERR_OK);
    stock.sku = (char *)"a";
    stock_get(the_db, call_begin(&call, NULL), &stock);
    call_wait(&call);
    assert_ok(call.error);
    const Inventory__V1__GetStockReply *found = (void *)call.reply;
    assert_int_equal(found->received, 10);
    assert_int_equal(found->available, 7);
    assert_int_equal(found->held, 3);
    assert_int_equal(found->sold, 0);
    call_end(&call);
    stock.sku = (char *)"none";
    stock_get(the_db, call_begin(&call, NULL), &stock);
    assert_int_equal(call_code(&call), ERR_NOT_FOUND);

    get.reservation_id = ask.id;
    stock_get_reservation(the_db, call_begin(&call, NULL), &get);
    call_wait(&call);
    assert_ok(call.error);
    const Inventory__V1__GetReservationReply *reservation = (void *)call.reply;
    assert_int_equal(reservation->state, INVENTORY__V1__RESERVATION_STATE__HELD);
    assert_int_equal(reservation->total_cents, 300);
    assert_int_equal(reservation->n_lines, 1);
    assert_string_equal(reservation->lines[0]->sku, "a");
    call_end(&call);
    get.reservation_id = (char *)"none";
    stock_get_reservation(the_db, call_begin(&call, NULL), &get);
    assert_int_equal(call_code(&call), ERR_NOT_FOUND);
    ask_new(&ask, "a", 1); /* a tombstone has no lines and no currency */
    assert_int_equal(release(&ask), ERR_OK);
    get.reservation_id = ask.id;
    stock_get_reservation(the_db, call_begin(&call, NULL), &get);
    call_wait(&call);
    assert_ok(call.error);
    reservation = (void *)call.reply;
    assert_int_equal(reservation->state, INVENTORY__V1__RESERVATION_STATE__RELEASED);
    assert_int_equal(reservation->n_lines, 0);
    call_end(&call);
}

/* ---- reaping --------------------------------------------------------------------------- */

static void note_ids(void *arg, struct err error, const struct db_rows *rows)
{
    struct expiry *found = arg;

    found->error = error;
    for (int i = 0; i < rows->count; i++)
        snprintf((char *)found->op.arg, ULID_SIZE, "%s", db_text(rows, i, 0));
    found->op.line_count = (size_t)rows->count;
    latch_count(&found->latch);
}

static void the_reaper_finds_only_what_is_held_and_past_its_end(void **state)
{
    struct ask late, early, sold;
    struct db_query query = {.deadline_ms = in_ms(CALL_DEADLINE_MS)};
    char id[ULID_SIZE] = "";
    struct expiry found = {.op = {.arg = id}};

    (void)state;
    product("a", 10);
    ask_new(&late, "a", 1);
    ask_new(&early, "a", 1);
    ask_new(&sold, "a", 1);
    late.ttl_ms = sold.ttl_ms = 0;
    assert_int_equal(reserve(&late), ERR_OK);
    assert_int_equal(reserve(&early), ERR_OK);
    assert_int_equal(reserve(&sold), ERR_OK);
    assert_int_equal(confirm(&sold), ERR_OK);
    latch_set(&found.latch, 1);
    stock_find_expired(&query, 10);
    query.done = note_ids;
    query.arg = &found;
    db_read(the_db, &query);
    latch_wait(&found.latch, 0);
    assert_ok(found.error);
    assert_int_equal(found.op.line_count, 1);
    assert_string_equal(id, late.id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(confirming_sells_once_and_may_be_repeated),
        TEST(releasing_gives_back_what_was_held_or_sold_once),
        TEST(releasing_an_unknown_id_bars_it),
        TEST(a_release_beside_its_reserve_in_one_batch_leaves_nothing_held),
        TEST(only_what_is_past_its_end_expires),
        TEST(expiry_that_races_confirm_and_release_books_one_of_them),
        TEST(an_adjustment_books_once),
        TEST(an_adjustment_below_zero_is_refused_alone),
        TEST(replicas_on_the_same_skus_never_get_in_each_others_way),
        TEST(stock_and_reservations_read_as_they_are),
        TEST(the_reaper_finds_only_what_is_held_and_past_its_end),
    };

    return cmocka_run_group_tests_name("stock", tests, migrate_first, NULL);
}
