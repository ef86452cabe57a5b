/* read_test.c - orders as their user reads them, against PostgreSQL. */
#include "unit/db/scoped.h"

#include "base/contract/cursor.h"
#include "orchestrator/orders/orders.h"
#include "unit/orchestrator/fixture.h"

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
    struct transitioned t = persist(&run.row);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            orders_are_paged_without_gap_or_repetition_over_equal_times, set_up,
            close_all),
        TEST(a_cursor_that_was_not_given_is_refused),
        TEST(an_order_is_found_by_its_user_alone),
        TEST(an_order_is_found_by_the_key_of_its_user),
    };

    return cmocka_run_group_tests_name("read", tests, migrate_first, NULL);
}
