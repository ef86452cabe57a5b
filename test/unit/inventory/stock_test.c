/* stock_test.c - the promises of inventory/stock.h, against PostgreSQL. */
#include "unit/db/scoped.h"

#include "base/contract/cursor.h"
#include "inventory/stock.h"

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

    stock_configure(&config);
    assert_ok(db_open(&config, &db));
    return db;
}

static struct db *the_db; /* of the test under way */

static int set_up(void **state)
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
static int tear_down(void **state)
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

static void start_adjust(struct call *call, struct latch *latch,
                         Inventory__V1__AdjustStockRequest *in, const char *sku,
                         int64_t delta, const char *id)
{
    inventory__v1__adjust_stock_request__init(in);
    in->sku = (char *)sku;
    in->delta = delta;
    in->reason = (char *)"test";
    stock_adjust(the_db, call_begin(call, latch), in, id);
}

static enum err_code adjust(const char *sku, int64_t delta, const char *id)
{
    struct call call;
    Inventory__V1__AdjustStockRequest in;

    start_adjust(&call, NULL, &in, sku, delta, id);
    return call_code(&call);
}

static void product_of(const char *sku, int64_t price, const char *currency,
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

static void product(const char *sku, int64_t pieces)
{
    product_of(sku, 100, "EUR", pieces);
}

static void ask_for(struct ask *ask, const char *sku, int64_t quantity)
{
    Inventory__V1__Line *line = &ask->lines[ask->reserve.n_lines];

    inventory__v1__line__init(line);
    line->sku = (char *)sku;
    line->quantity = quantity;
    ask->pointers[ask->reserve.n_lines++] = line;
}

static void ask_new(struct ask *ask, const char *sku, int64_t quantity)
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

static void start_reserve(struct db *db, struct ask *ask, struct latch *latch)
{
    stock_reserve(db, call_begin(&ask->call, latch), &ask->reserve, ask->ttl_ms);
}

static enum err_code reserve(struct ask *ask)
{
    start_reserve(the_db, ask, NULL);
    return call_code(&ask->call);
}

static void start_confirm(struct db *db, struct ask *ask, struct latch *latch)
{
    inventory__v1__confirm_request__init(&ask->confirm);
    ask->confirm.reservation_id = ask->id;
    stock_confirm(db, call_begin(&ask->call, latch), &ask->confirm);
}

static enum err_code confirm(struct ask *ask)
{
    start_confirm(the_db, ask, NULL);
    return call_code(&ask->call);
}

static void start_release(struct db *db, struct ask *ask, struct latch *latch)
{
    inventory__v1__release_request__init(&ask->release);
    ask->release.reservation_id = ask->id;
    stock_release(db, call_begin(&ask->call, latch), &ask->release);
}

static enum err_code release(struct ask *ask)
{
    start_release(the_db, ask, NULL);
    return call_code(&ask->call);
}

struct expiry {
    struct db_op op;
    struct latch latch;
    struct err error;
};

static void on_expired(void *arg, struct err error, const struct db_rows *rows)
{
    struct expiry *expiry = arg;

    (void)rows;
    expiry->error = error;
    latch_count(&expiry->latch);
}

static void start_expire(struct db *db, struct expiry *expiry, const char *id)
{
    *expiry = (struct expiry){.op = {.deadline_ms = in_ms(CALL_DEADLINE_MS)}};
    latch_set(&expiry->latch, 1);
    stock_expire(&expiry->op, id);
    expiry->op.done = on_expired;
    expiry->op.arg = expiry;
    db_submit(db, &expiry->op);
}

static void expire(const char *id)
{
    struct expiry expiry;

    start_expire(the_db, &expiry, id);
    latch_wait(&expiry.latch, 0);
    assert_ok(expiry.error);
}

static void in_one_batch(void (*submit)(void *arg), void *arg)
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

static void submit_reserves(void *arg)
{
    struct many *many = arg;

    for (int i = 0; i < many->given_back_count; i++)
        start_release(the_db, &many->given_back[i], &many->latch);
    for (int i = 0; i < many->count; i++)
        start_reserve(the_db, &many->asks[i], &many->latch);
}

/* Releases some and reserves others in one batch; codes are then in asks[i].call.error. */
static void exchange(struct ask *given_back, int given_back_count, struct ask *asks,
                     int count)
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

static void reserve_together(struct ask *asks, int count)
{
    exchange(NULL, 0, asks, count);
}

/* "available held sold" */
#define assert_stock(sku, expected)                                                      \
    assert_sql_text(expected, "SELECT available || ' ' || held || ' ' || sold"           \
                              " FROM inventory.stock WHERE sku = '" sku "'")

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

/* What one batch did to the model: those held are taken away, and no refusal was false. */
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

/* ---- products -------------------------------------------------------------------------- */

static const uint8_t CURSOR_KEY[CURSOR_KEY_SIZE] = {1, 2, 3};

/* A page of that list; the reply lives until call_end. */
static const Inventory__V1__ListProductsReply *
list_page(struct call *call, const Inventory__V1__ListProductsRequest *in)
{
    stock_list_products(the_db, call_begin(call, NULL), CURSOR_KEY, in);
    call_wait(call);
    assert_ok(call->error);
    return (void *)call->reply;
}

static void list_with(Inventory__V1__ListProductsRequest *in, const char *q,
                      const char *const *skus, size_t sku_count)
{
    inventory__v1__list_products_request__init(in);
    in->q = (char *)(uintptr_t)q;
    in->skus = (char **)(uintptr_t)skus;
    in->n_skus = sku_count;
}

/* All SKUs of that list, page by page, separated by blanks, into `out`; the pages read. */
static int list_all(Inventory__V1__ListProductsRequest *in, char *out, size_t room)
{
    char cursor[128] = "";
    struct call call;
    int pages = 0;

    out[0] = '\0';
    do {
        in->cursor = cursor;
        const Inventory__V1__ListProductsReply *page = list_page(&call, in);
        assert_true(page->n_products <= (size_t)(in->limit == 0 ? 100 : in->limit));
        for (size_t i = 0; i < page->n_products; i++) {
            size_t used = strlen(out);
            snprintf(out + used, room - used, "%s%s", used > 0 ? " " : "",
                     page->products[i]->sku);
        }
        snprintf(cursor, sizeof cursor, "%s", page->next_cursor);
        call_end(&call);
        pages++;
    } while (cursor[0] != '\0');
    return pages;
}

static void add_products(int from, int to)
{
    sql("INSERT INTO inventory.products SELECT 'SKU-' || lpad(i::text, 6, '0'),"
        " 'Thing number ' || i, 100, 'EUR' FROM generate_series(%d, %d) i;"
        "INSERT INTO inventory.stock (sku)"
        " SELECT sku FROM inventory.products ON CONFLICT DO NOTHING",
        from, to);
}

static void products_are_listed_by_sku_in_pages(void **state)
{
    Inventory__V1__ListProductsRequest in;
    char found[64];

    (void)state;
    product("c", 3);
    product("a", 1);
    product("B", 0);
    product("b", 2);
    list_with(&in, "", NULL, 0);
    for (in.limit = 1; in.limit <= 5; in.limit++) {
        /* A page that is full and the last one says that it is. */
        assert_int_equal(list_all(&in, found, sizeof found),
                         (4 + in.limit - 1) / in.limit);
        assert_string_equal(found, "B a b c");
    }
}

static void all_of_1500_products_are_found_by_paging(void **state)
{
    static const int32_t LIMITS[] = {0, 7, 1000};
    static char found[1500 * 11 + 1];
    Inventory__V1__ListProductsRequest in;

    (void)state;
    add_products(1, 1500);
    list_with(&in, "", NULL, 0);
    for (size_t i = 0; i < sizeof LIMITS / sizeof *LIMITS; i++) {
        in.limit = LIMITS[i];
        int pages = list_all(&in, found, sizeof found);
        assert_int_equal(pages, LIMITS[i] == 0 ? 15 : (1500 + LIMITS[i] - 1) / LIMITS[i]);
        assert_int_equal(strlen(found), 1500 * 11 - 1);
        for (int n = 0; n < 1500; n++) {
            char sku[16];
            snprintf(sku, sizeof sku, "SKU-%06d", n + 1);
            assert_memory_equal(found + 11 * (size_t)n, sku, 10);
        }
    }
}

static void a_product_is_found_by_any_part_of_its_title_or_sku_in_any_case(void **state)
{
    static const struct {
        const char *q, *found;
    } CASES[] = {
        {"tea", "CUP-1 TEA-1 TEA-2"},
        {"TeA", "CUP-1 TEA-1 TEA-2"},
        {"ea-2", "TEA-2"},
        {"50%", "TEA-2"}, /* not a pattern's */
        {"_", ""},
        {"\\", "CUP-1"},
        {"Gr\xc3\xbcn", "TEA-1"},
        {"GR\xc3\x9cN", "TEA-1"}, /* GRÜN */
        {"\xc3\x96L", "OIL"},     /* ÖL */
        {"\xc3\xb6"
         "l",
         "OIL"},
        {"grun", ""},     /* an accent counts */
        {"tea  cup", ""}, /* and so does each blank */
        {"nothing of the kind", ""},
    };
    Inventory__V1__ListProductsRequest in;
    char found[64];

    (void)state;
    sql("INSERT INTO inventory.products VALUES"
        " ('TEA-1', 'Grüner Tee', 100, 'EUR'), ('TEA-2', 'Assam, 50%% off', 100, 'EUR'),"
        " ('CUP-1', 'Tea cup \\ saucer', 100, 'EUR'), ('OIL', 'Öl', 100, 'EUR')");
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        list_with(&in, CASES[i].q, NULL, 0);
        list_all(&in, found, sizeof found);
        assert_string_equal(found, CASES[i].found);
    }
}

/* A page looks at 10,000 products, or 2,000 for a text with other letters than A-Z. */
static void a_search_finds_what_is_far_behind_over_pages_that_may_be_empty(void **state)
{
    static const char *const QUERIES[] = {"NUMBER 25001", "\xc3\xbc"
                                                          "BER"};
    static const int LEAST_PAGES[] = {3, 13};
    Inventory__V1__ListProductsRequest in;
    char found[64];

    (void)state;
    add_products(1, 30000);
    sql("UPDATE inventory.products SET title = title || ', Über' WHERE sku = 'SKU-025001'");
    for (size_t i = 0; i < sizeof QUERIES / sizeof *QUERIES; i++) {
        list_with(&in, QUERIES[i], NULL, 0);
        assert_true(list_all(&in, found, sizeof found) >= LEAST_PAGES[i]);
        assert_string_equal(found, "SKU-025001");
    }
}

static void products_are_found_by_their_skus_and_narrowed_by_a_text(void **state)
{
    static const char *const NAMED[] = {"SKU-000300", "SKU-000002", "no-such",
                                        "SKU-000002"};
    Inventory__V1__ListProductsRequest in;
    char found[64];

    (void)state;
    add_products(1, 300);
    list_with(&in, "", NAMED, 4);
    in.limit = 1;
    assert_int_equal(list_all(&in, found, sizeof found), 2);
    assert_string_equal(found, "SKU-000002 SKU-000300");
    list_with(&in, "number 300", NAMED, 4);
    list_all(&in, found, sizeof found);
    assert_string_equal(found, "SKU-000300");
    list_with(&in, "", NAMED + 2, 1);
    list_all(&in, found, sizeof found);
    assert_string_equal(found, "");
}

static void a_cursor_opens_only_its_own_list(void **state)
{
    static const char *const NAMED[] = {"SKU-000001", "SKU-000002", "SKU-000003"};
    static const uint8_t OTHER_KEY[CURSOR_KEY_SIZE] = {1, 2, 4};
    Inventory__V1__ListProductsRequest in;
    struct call call;
    char cursor[128];

    (void)state;
    add_products(1, 9);
    list_with(&in, "thing", NULL, 0);
    in.limit = 2;
    snprintf(cursor, sizeof cursor, "%s", list_page(&call, &in)->next_cursor);
    call_end(&call);
    in.cursor = cursor;
    in.limit = 3; /* the size of a page is no part of what the list is */
    assert_string_equal(list_page(&call, &in)->products[0]->sku, "SKU-000003");
    call_end(&call);

    stock_list_products(the_db, call_begin(&call, NULL), OTHER_KEY, &in);
    assert_int_equal(call_code(&call), ERR_INVALID_ARGUMENT);
    in.q = (char *)"other";
    stock_list_products(the_db, call_begin(&call, NULL), CURSOR_KEY, &in);
    assert_int_equal(call_code(&call), ERR_INVALID_ARGUMENT);
    list_with(&in, "thing", NAMED, 3);
    in.cursor = cursor;
    stock_list_products(the_db, call_begin(&call, NULL), CURSOR_KEY, &in);
    assert_int_equal(call_code(&call), ERR_INVALID_ARGUMENT);
    list_with(&in, "thing", NULL, 0);
    in.cursor = cursor;
    cursor[strlen(cursor) - 1] ^= 1;
    stock_list_products(the_db, call_begin(&call, NULL), CURSOR_KEY, &in);
    assert_int_equal(call_code(&call), ERR_INVALID_ARGUMENT);
}

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
        TEST(products_are_listed_by_sku_in_pages),
        TEST(all_of_1500_products_are_found_by_paging),
        TEST(a_product_is_found_by_any_part_of_its_title_or_sku_in_any_case),
        TEST(a_search_finds_what_is_far_behind_over_pages_that_may_be_empty),
        TEST(products_are_found_by_their_skus_and_narrowed_by_a_text),
        TEST(a_cursor_opens_only_its_own_list),
        TEST(the_reaper_finds_only_what_is_held_and_past_its_end),
    };

    return cmocka_run_group_tests_name("stock", tests, migrate_first, NULL);
}
