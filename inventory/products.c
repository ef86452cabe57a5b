/*
 * products.c - lists, searches and looks up products; read-only.
 *
 * Whatever the filters, a page is read in SKU order: its cursor is the last SKU that was
 * scanned, sealed.  The cost of a page is bounded for every request:
 *
 *   no filter   limit products, by the key's index
 *   skus        at most SKUS_MAX products, each by its key
 *   q           at most SEARCH_LOOKS products of the list, each compared
 *
 * So a page of a search may be short or empty although more pages follow.
 */
#include <string.h>

#include "base/contract/bounds.h"
#include "base/contract/cursor.h"
#include "base/contract/ids.h"
#include "base/log.h"
#include "inventory/stock.h"

enum { PAGE_DEFAULT = 100 };

/* Sorts after every SKU, and is not one. */
#define END "~"

/* What fill_page reads, in this order; of a table or subquery called `p`. */
#define PRODUCT                                                                          \
    "p.sku, p.title, p.price_cents, p.currency,"                                         \
    " (SELECT s.available FROM inventory.stock s WHERE s.sku = p.sku)"

/* With the column before them; a row without a product marks the end of a search. */
#define PRODUCT_SHAPE "*tTTITI"

/* $2 in title or SKU, ignoring case by the collation's rules. */
#define FOUND(collation)                                                                 \
    "(strpos(lower(title COLLATE " collation "), lower($2 COLLATE " collation ")) > 0"   \
    " OR strpos(lower(sku COLLATE " collation "), lower($2 COLLATE " collation ")) > 0)"

/*
 * Scans `looks` products from a SKU on and returns where the scan ended; at least one
 * row.  PostgreSQL compares a product in 1 us if the collation folds only A-Z, in 5 to 8
 * us if it folds all letters.
 */
#define SEARCH(looks, found)                                                             \
    "WITH seen AS MATERIALIZED ("                                                        \
    "    SELECT coalesce((SELECT sku FROM inventory.products WHERE sku > $1"             \
    "                     ORDER BY sku OFFSET " looks " - 1 LIMIT 1), '" END "') AS sku" \
    ")"                                                                                  \
    "SELECT seen.sku, " PRODUCT " FROM seen "                                            \
    "LEFT JOIN LATERAL ("                                                                \
    "    SELECT * FROM inventory.products"                                               \
    "    WHERE sku > $1 AND sku <= seen.sku AND " found                                  \
    "    ORDER BY sku LIMIT $3) AS p ON true "                                           \
    "ORDER BY p.sku"

/* Products of given SKUs. */
#define LOOK_UP(found)                                                                   \
    "SELECT '" END "', " PRODUCT " FROM inventory.products p "                           \
    "WHERE p.sku > $1 AND p.sku = ANY (string_to_array($3, ',')) AND " found " "         \
    "ORDER BY p.sku LIMIT $4"

/* A query under way: in the request's arena. */
struct page {
    struct db_query query;
    struct request_context ctx;
    struct cursor_scope cursors;
    uint8_t cursor_key[CURSOR_KEY_SIZE];
    char after[SKU_LENGTH_MAX + 1]; /* "": from the beginning */
    int64_t limit;
};

static struct err seal(struct page *page, const char *sku,
                       Inventory__V1__ListProductsReply *reply)
{
    if (!sku_valid(sku))
        return err_make(ERR_DATA_LOSS,
                        "The page's last SKU is none that PutProduct lets in.");
    reply->next_cursor = cursor_seal(page->ctx.arena, &page->cursors, sku);
    return reply->next_cursor == NULL ? err_memory() : ERR_NONE;
}

/* A damaged product is left out, so that the others can be sold. */
static bool whole(const struct db_rows *rows, int row)
{
    struct err e = db_row_check(rows, row, 1, "ttit");

    if (failed(e))
        log_line(LOG_ERROR, "product_damaged", "sku=%.64s error=%s",
                 db_size(rows, row, 1) > 0 ? db_text(rows, row, 1) : "-", e.message);
    return !failed(e);
}

/* The query reads one row more than the limit, to see if there is a next page.  Without
 * that row there is a next page if the search has not reached its end. */
static struct err fill_page(struct page *page, const struct db_rows *rows,
                            Inventory__V1__ListProductsReply *reply)
{
    size_t found =
        rows->count > 0 && db_text(rows, 0, 1) != NULL ? (size_t)rows->count : 0;
    bool more = found > (size_t)page->limit;
    size_t count = more ? (size_t)page->limit : found;
    Inventory__V1__Product *products =
        arena_alloc(page->ctx.arena, count * sizeof *products);

    reply->products = arena_alloc(page->ctx.arena, count * sizeof *reply->products);
    if (products == NULL || reply->products == NULL)
        return err_memory();
    for (int i = 0; i < (int)count; i++) {
        Inventory__V1__Product *product = &products[reply->n_products];
        if (!whole(rows, i))
            continue;
        inventory__v1__product__init(product);
        product->sku = (char *)db_text(rows, i, 1);
        product->title = (char *)db_text(rows, i, 2);
        product->price_cents = db_number(rows, i, 3);
        product->currency = (char *)db_text(rows, i, 4);
        product->available = db_number(rows, i, 5);
        reply->products[reply->n_products++] = product;
    }
    if (more)
        return seal(page, db_text(rows, (int)count - 1, 1), reply);
    const char *seen = rows->count > 0 ? db_text(rows, 0, 0) : END;
    return strcmp(seen, END) == 0 ? ERR_NONE : seal(page, seen, reply);
}

static void on_page(void *arg, struct err error, const struct db_rows *rows)
{
    struct page *page = arg;
    Inventory__V1__ListProductsReply reply = INVENTORY__V1__LIST_PRODUCTS_REPLY__INIT;

    if (!failed(error))
        error = fill_page(page, rows, &reply);
    page->ctx.done(page->ctx.arg, error, &reply.base);
}

/* SKUs, joined by commas, which no SKU has; NULL when memory is short. */
static const char *join(struct arena *arena, char *const *skus, size_t count)
{
    char *text = arena_alloc(arena, count * (SKU_LENGTH_MAX + 1) + 1);
    char *end = text;

    if (text == NULL)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            *end++ = ',';
        end = stpcpy(end, skus[i]);
    }
    *end = '\0';
    return text;
}

static bool ascii(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text >= 0x80)
            return false;
    return true;
}

static struct db_query of_all(const struct page *page)
{
    return (struct db_query){
        .name = "list_products",
        .types = "ti",
        .rows = PRODUCT_SHAPE,
        .sql = "SELECT '" END "', " PRODUCT " FROM inventory.products p "
               "WHERE p.sku > $1 ORDER BY p.sku LIMIT $2",
        .values = {db_t(page->after), db_i(page->limit + 1)},
    };
}

static struct db_query of_skus(const struct page *page, const char *skus, const char *q)
{
    bool searched = q[0] != '\0';

    return (struct db_query){
        .name = searched ? "search_skus" : "list_skus",
        .types = "ttti",
        .rows = PRODUCT_SHAPE,
        .sql = searched ? LOOK_UP(FOUND("\"und-x-icu\"")) : LOOK_UP("$2 = ''"),
        .values = {db_t(page->after), db_t(q), db_t(skus), db_i(page->limit + 1)},
    };
}

/* For ASCII text the C collation is enough. */
static struct db_query of_search(const struct page *page, const char *q)
{
    bool latin = ascii(q);

    return (struct db_query){
        .name = latin ? "search_products" : "search_products_unicode",
        .types = "tti",
        .rows = PRODUCT_SHAPE,
        .sql = latin ? SEARCH("10000", FOUND("\"C\""))
                     : SEARCH("2000", FOUND("\"und-x-icu\"")),
        .values = {db_t(page->after), db_t(q), db_i(page->limit + 1)},
    };
}

/* A cursor is valid for these filters only. */
static struct err begin(struct page *page, const uint8_t *cursor_key,
                        const Inventory__V1__ListProductsRequest *in, const char *skus)
{
    const char *bounds = arena_printf(page->ctx.arena, "%s,%s", skus, in->q);

    if (bounds == NULL)
        return err_memory();
    memcpy(page->cursor_key, cursor_key, sizeof page->cursor_key);
    page->cursors = (struct cursor_scope){page->cursor_key, "products", bounds};
    page->limit = in->limit == 0 ? PAGE_DEFAULT : in->limit;
    if (in->cursor[0] != '\0' &&
        !cursor_open(&page->cursors, in->cursor, page->after, sizeof page->after))
        return err_make(ERR_INVALID_ARGUMENT,
                        "cursor is not one that was given for this list; leave it out to "
                        "begin anew.");
    return ERR_NONE;
}

void stock_list_products(struct db *db, const struct request_context *ctx,
                         const uint8_t *cursor_key,
                         const Inventory__V1__ListProductsRequest *in)
{
    struct page *page = arena_alloc(ctx->arena, sizeof *page);
    const char *skus = join(ctx->arena, in->skus, in->n_skus);

    if (page == NULL || skus == NULL) {
        ctx->done(ctx->arg, err_memory(), NULL);
        return;
    }
    *page = (struct page){.ctx = *ctx};
    struct err e = begin(page, cursor_key, in, skus);
    if (failed(e)) {
        ctx->done(ctx->arg, e, NULL);
        return;
    }
    page->query = in->n_skus > 0     ? of_skus(page, skus, in->q)
                  : in->q[0] != '\0' ? of_search(page, in->q)
                                     : of_all(page);
    page->query.deadline_ms = ctx->deadline_ms;
    page->query.cancel = ctx->cancel;
    page->query.request = ctx->request;
    page->query.order = ctx->order;
    page->query.done = on_page;
    page->query.arg = page;
    db_read(db, &page->query);
}
