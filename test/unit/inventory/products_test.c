/* products_test.c - products in pages, found by SKU and by text
 * (inventory/products.c). */
#include "unit/db/scoped.h"
#include "unit/inventory/stock.h"

#include "base/contract/cursor.h"

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

/* All SKUs of that list, page by page, separated by blanks, into `out`; the pages
 * read. */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(products_are_listed_by_sku_in_pages),
        TEST(all_of_1500_products_are_found_by_paging),
        TEST(a_product_is_found_by_any_part_of_its_title_or_sku_in_any_case),
        TEST(a_search_finds_what_is_far_behind_over_pages_that_may_be_empty),
        TEST(products_are_found_by_their_skus_and_narrowed_by_a_text),
        TEST(a_cursor_opens_only_its_own_list),
    };

    return cmocka_run_group_tests_name("products", tests, migrate_first, NULL);
}
