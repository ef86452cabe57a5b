/* reserve_test.c - reserving takes all lines or none, alone and in batches
 * (inventory/stock.h). */
#include "unit/db/scoped.h"
#include "unit/inventory/stock.h"

/* ---- reserve --------------------------------------------------------------------------- */

static void a_reservation_is_all_of_its_lines_or_none(void **state)
{
    struct ask ask;

    (void)state;
    product("a", 10);
    product("b", 1);
    ask_new(&ask, "a", 2);
    ask_for(&ask, "b", 2);
    for (int again = 0; again < 3; again++) {
        assert_int_equal(reserve(&ask), ERR_OUT_OF_STOCK);
        assert_string_equal(ask.call.subject, "b");
        assert_stock("a", "10 0 0");
        assert_stock("b", "1 0 0");
    }
    /* What was refused stays refused, also when there is enough by now. */
    assert_int_equal(adjust("b", 100, "more"), ERR_OK);
    assert_int_equal(reserve(&ask), ERR_OUT_OF_STOCK);
    assert_string_equal(ask.call.subject, "b");
}

static void a_reservation_answers_prices_total_and_end_and_repeats_them(void **state)
{
    struct ask ask;
    int64_t ends = 0;

    (void)state;
    product_of("b", 250, "EUR", 10);
    product_of("a", 100, "EUR", 10);
    ask_new(&ask, "b", 1);
    ask_for(&ask, "a", 2);
    ask_for(&ask, "b", 3);
    for (int again = 0; again < 2; again++) {
        start_reserve(the_db, &ask, NULL);
        call_wait(&ask.call);
        assert_ok(ask.call.error);
        const Inventory__V1__ReserveReply *reply = (void *)ask.call.reply;
        assert_int_equal(reply->n_lines, 2);
        assert_string_equal(reply->lines[0]->sku, "a");
        assert_int_equal(reply->lines[0]->quantity, 2);
        assert_string_equal(reply->lines[1]->sku, "b");
        assert_int_equal(reply->lines[1]->quantity, 4); /* lines of one SKU are summed */
        assert_int_equal(reply->lines[1]->unit_price_cents, 250);
        assert_int_equal(reply->total_cents, 2 * 100 + 4 * 250);
        assert_string_equal(reply->currency, "EUR");
        assert_true(reply->expires_at_ms > clock_wall_ms() + TTL_MS / 2);
        assert_true(ends == 0 || ends == reply->expires_at_ms);
        ends = reply->expires_at_ms;
        call_end(&ask.call);
        product_of("b", 999, "EUR", 0); /* the price is of when it was reserved */
    }
    assert_stock("b", "6 4 0");
}

static void assert_reserved_title(struct ask *ask, const char *title)
{
    Inventory__V1__GetReservationRequest get =
        INVENTORY__V1__GET_RESERVATION_REQUEST__INIT;
    struct call call;

    start_reserve(the_db, ask, NULL);
    call_wait(&ask->call);
    assert_ok(ask->call.error);
    const Inventory__V1__ReserveReply *reserved = (void *)ask->call.reply;
    assert_string_equal(reserved->lines[0]->title, title);
    call_end(&ask->call);

    get.reservation_id = ask->id;
    stock_get_reservation(the_db, call_begin(&call, NULL), &get);
    call_wait(&call);
    assert_ok(call.error);
    const Inventory__V1__GetReservationReply *read = (void *)call.reply;
    assert_string_equal(read->lines[0]->title, title);
    call_end(&call);
}

static void a_reservation_keeps_the_titles_of_when_it_was_made(void **state)
{
    struct ask ask;

    (void)state;
    product("a", 10);
    ask_new(&ask, "a", 2);
    assert_reserved_title(&ask, "A thing");
    sql("UPDATE inventory.products SET title = 'Another thing'");
    assert_reserved_title(&ask, "A thing");
    /* As it was reserved by a service from before titles were kept. */
    sql("UPDATE inventory.reservations SET titles = NULL");
    assert_reserved_title(&ask, "");
}

static void lines_come_by_sku_also_in_a_large_batch(void **state)
{
    enum { ASKS = 200 };
    static struct ask asks[ASKS];
    struct many many = {.asks = asks, .count = ASKS};

    (void)state;
    product("a", 1000);
    product("b", 1000);
    product("c", 1000);
    product("d", 1000);
    for (int i = 0; i < ASKS; i++) {
        ask_new(&asks[i], "d", 1);
        ask_for(&asks[i], "b", 2);
        ask_for(&asks[i], "a", 3);
        ask_for(&asks[i], "c", 4);
    }
    latch_set(&many.latch, ASKS);
    in_one_batch(submit_reserves, &many);
    latch_wait(&many.latch, 0);
    for (int i = 0; i < ASKS; i++) {
        static const int64_t QUANTITIES[] = {3, 2, 4, 1};
        const Inventory__V1__ReserveReply *reply = (void *)asks[i].call.reply;
        assert_ok(asks[i].call.error);
        assert_string_equal(reply->reservation_id, asks[i].id);
        assert_int_equal(reply->n_lines, 4);
        for (int l = 0; l < 4; l++) {
            assert_int_equal(reply->lines[l]->sku[0], "abcd"[l]);
            assert_int_equal(reply->lines[l]->quantity, QUANTITIES[l]);
        }
        call_end(&asks[i].call);
    }
}

static void an_unknown_sku_is_named_and_nothing_is_held(void **state)
{
    struct ask ask;

    (void)state;
    product("a", 10);
    ask_new(&ask, "zz", 1);
    ask_for(&ask, "a", 1);
    ask_for(&ask, "yy", 1);
    assert_int_equal(reserve(&ask), ERR_UNKNOWN_SKU);
    assert_string_equal(ask.call.subject, "yy,zz");
    assert_int_equal(reserve(&ask), ERR_UNKNOWN_SKU);
    assert_stock("a", "10 0 0");
}

static void lines_of_several_currencies_are_refused(void **state)
{
    struct ask ask;

    (void)state;
    product_of("e", 100, "EUR", 10);
    product_of("u", 100, "USD", 10);
    ask_new(&ask, "e", 1);
    ask_for(&ask, "u", 1);
    assert_int_equal(reserve(&ask), ERR_FAILED_PRECONDITION);
    assert_int_equal(reserve(&ask), ERR_FAILED_PRECONDITION);
    assert_stock("e", "10 0 0");
    assert_stock("u", "10 0 0");
}

static void of_64_who_want_ten_pieces_exactly_ten_get_one(void **state)
{
    enum { ASKS = 64 };
    static struct ask asks[ASKS];
    int held = 0, refused = 0;

    (void)state;
    product("hot", 10);
    for (int i = 0; i < ASKS; i++)
        ask_new(&asks[i], "hot", 1);
    reserve_together(asks, ASKS);
    for (int i = 0; i < ASKS; i++) {
        held += asks[i].call.error.code == ERR_OK;
        refused += asks[i].call.error.code == ERR_OUT_OF_STOCK;
        assert_int_equal(asks[i].call.error.code == ERR_OK,
                         i < 10); /* the first to come */
    }
    assert_int_equal(held, 10);
    assert_int_equal(refused, ASKS - 10);
    assert_stock("hot", "0 10 0");
}

static void a_refused_request_takes_no_place_from_a_later_one(void **state)
{
    struct ask asks[3];

    (void)state;
    product("a", 5);
    ask_new(&asks[0], "a", 6);
    ask_new(&asks[1], "a", 5);
    ask_new(&asks[2], "a", 1);
    reserve_together(asks, 3);
    assert_int_equal(asks[0].call.error.code, ERR_OUT_OF_STOCK);
    assert_int_equal(asks[1].call.error.code, ERR_OK);
    assert_int_equal(asks[2].call.error.code, ERR_OUT_OF_STOCK);
    assert_stock("a", "0 5 0");
}

static void one_id_twice_in_a_batch_is_one_reservation(void **state)
{
    struct ask asks[3];

    (void)state;
    product("a", 5);
    for (int i = 0; i < 3; i++)
        ask_new(&asks[i], "a", 3);
    memcpy(asks[1].id, asks[0].id, ULID_SIZE);
    reserve_together(asks, 3);
    assert_int_equal(asks[0].call.error.code, ERR_OK);
    assert_int_equal(asks[1].call.error.code, ERR_OK);
    assert_int_equal(asks[2].call.error.code, ERR_OUT_OF_STOCK);
    assert_stock("a", "2 3 0");
}

/* ---- random batches against a sequential model ------------------------------------------- */

enum { MODEL_BATCHES = 1200, MODEL_SKUS = 3, MODEL_ASKS = 8 };

static const char *const SKUS[MODEL_SKUS] = {"m0", "m1", "m2"};

static int64_t wants(const struct ask *ask, int sku)
{
    int64_t sum = 0;

    for (size_t i = 0; i < ask->reserve.n_lines; i++)
        if (strcmp(ask->lines[i].sku, SKUS[sku]) == 0)
            sum += ask->lines[i].quantity;
    return sum;
}

static bool fits(const struct ask *ask, const int64_t *available)
{
    for (int s = 0; s < MODEL_SKUS; s++)
        if (wants(ask, s) > available[s])
            return false;
    return true;
}

static void random_ask(struct ask *ask, uint32_t *seed)
{
    unsigned lines = 1 + random_below(seed, LINES_MAX);

    ask_new(ask, NULL, 0);
    for (unsigned i = 0; i < lines; i++)
        ask_for(ask, SKUS[random_below(seed, MODEL_SKUS)], 1 + random_below(seed, 4));
}

static void copy_ask(struct ask *to, const struct ask *from)
{
    ask_new(to, NULL, 0);
    memcpy(to->id, from->id, ULID_SIZE);
    for (size_t i = 0; i < from->reserve.n_lines; i++)
        ask_for(to, from->lines[i].sku, from->lines[i].quantity);
}

static void read_available(PGconn *conn, int64_t *available)
{
    char *text = sql_text_on(conn, "SELECT string_agg(available::text, ' ' ORDER BY sku)"
                                   " FROM inventory.stock");

    assert_int_equal(sscanf(text, "%" SCNd64 " %" SCNd64 " %" SCNd64, &available[0],
                            &available[1], &available[2]),
                     3);
    free(text);
}

/* What one batch did to the model: those held are taken away, and no refusal was
 * false. */
static void check_batch(struct ask *asks, int count, int64_t *available)
{
    bool first_fits = fits(&asks[0], available);

    assert_int_equal(asks[0].call.error.code == ERR_OK, first_fits);
    for (int i = 0; i < count; i++)
        for (int s = 0; s < MODEL_SKUS && asks[i].call.error.code == ERR_OK; s++)
            available[s] -= wants(&asks[i], s);
    for (int i = 0; i < count; i++)
        if (asks[i].call.error.code != ERR_OK) {
            assert_int_equal(asks[i].call.error.code, ERR_OUT_OF_STOCK);
            assert_false(fits(&asks[i], available));
        }
    for (int s = 0; s < MODEL_SKUS; s++)
        assert_true(available[s] >= 0);
}

static void random_batches_agree_with_a_sequential_model(void **state)
{
    static struct ask asks[MODEL_ASKS], back[MODEL_ASKS];
    int64_t available[MODEL_SKUS] = {20, 20, 20}, found[MODEL_SKUS];
    uint32_t seed = 20261122;
    PGconn *conn = admin_connect();
    int held = 0, refused = 0, back_count = 0;

    (void)state;
    for (int s = 0; s < MODEL_SKUS; s++)
        product(SKUS[s], 20);
    for (int batch = 0; batch < MODEL_BATCHES; batch++) {
        int count = 1 + (int)random_below(&seed, MODEL_ASKS);
        for (int i = 0; i < count; i++)
            random_ask(&asks[i], &seed);
        exchange(back, back_count, asks, count);
        /* A release frees its pieces for the reservations of its own batch. */
        for (int i = 0; i < back_count; i++)
            for (int s = 0; s < MODEL_SKUS; s++)
                available[s] += wants(&back[i], s);
        check_batch(asks, count, available);
        read_available(conn, found);
        for (int s = 0; s < MODEL_SKUS; s++)
            assert_int_equal(found[s], available[s]);
        back_count = 0;
        for (int i = 0; i < count; i++) {
            bool got = asks[i].call.error.code == ERR_OK;
            held += got;
            refused += !got;
            if (got && random_below(&seed, 16) < 15)
                copy_ask(&back[back_count++], &asks[i]);
        }
        if (available[batch % MODEL_SKUS] == 0) {
            char id[32];
            snprintf(id, sizeof id, "restock-%d", batch);
            assert_int_equal(adjust(SKUS[batch % MODEL_SKUS], 6, id), ERR_OK);
            available[batch % MODEL_SKUS] += 6;
        }
    }
    PQfinish(conn);
    print_message("  %d batches: %d held, %d refused\n", MODEL_BATCHES, held, refused);
    assert_true(held > MODEL_BATCHES / 2 && refused > MODEL_BATCHES / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_reservation_is_all_of_its_lines_or_none),
        TEST(a_reservation_answers_prices_total_and_end_and_repeats_them),
        TEST(a_reservation_keeps_the_titles_of_when_it_was_made),
        TEST(lines_come_by_sku_also_in_a_large_batch),
        TEST(an_unknown_sku_is_named_and_nothing_is_held),
        TEST(lines_of_several_currencies_are_refused),
        TEST(of_64_who_want_ten_pieces_exactly_ten_get_one),
        TEST(a_refused_request_takes_no_place_from_a_later_one),
        TEST(one_id_twice_in_a_batch_is_one_reservation),
        TEST(random_batches_agree_with_a_sequential_model),
    };

    return cmocka_run_group_tests_name("reserve", tests, migrate_first, NULL);
}
