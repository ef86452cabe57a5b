/*
 * bounds.h - how much one request may ask for: the contract's bounds.
 *
 * They are those of the .proto files and of the HTTP interface.  Every process that
 * checks one takes it from here, so that none refuses what another let in.
 */
#pragma once

#include <stdint.h>

enum {
    LINES_MAX = 100,         /* lines of a cart, an order or a reservation */
    QUANTITY_MAX = 10000,    /* pieces of one SKU, in sum over its lines */
    SKU_LENGTH_MAX = 64,     /* characters */
    NAME_LENGTH_MAX = 64,    /* characters of a cart's or a payment method's id */
    IDEMPOTENCY_KEY_MIN = 8, /* visible ASCII characters */
    IDEMPOTENCY_KEY_MAX = 255,
    CART_VERSION_MAX = 64,        /* letters and digits: names a cart's lines */
    CART_VERSIONS_MAX = 16,       /* that one put may demand */
    FINGERPRINT_SIZE = 32,        /* bytes: BLAKE2b over what a request asks */
    ADJUSTMENT_ID_MAX = 64,       /* visible ASCII characters */
    REASON_SIZE_MAX = 200,        /* bytes of UTF-8: why stock was adjusted */
    TITLE_SIZE_MAX = 200,         /* bytes of UTF-8: a product's */
    SEARCH_SIZE_MAX = 100,        /* bytes of UTF-8: a text searched for in products */
    PRODUCTS_PAGE_MAX = 1000,     /* products a page, in the HTTP interface too */
    SKUS_MAX = 100,               /* SKUs that one list of products is narrowed to */
    LABEL_SIZE_MAX = 100,         /* bytes of UTF-8: a payment method's */
    PROVIDER_TOKEN_MAX = 200,     /* visible ASCII characters */
    PROVIDER_ID_MAX = 200,        /* likewise: the provider's name for a charge */
    ORDERS_PAGE_MAX = 100,        /* orders a page, in the HTTP interface too */
    ORDERS_CURSOR_SIZE_MAX = 100, /* bytes of a next_cursor */
    ENTRIES_PAGE_MAX = 1000,      /* entries a page of every other list */
    PAGE_SCAN_MAX = 10000,        /* entries that a page with filters looks at */
    PAGE_AFTER_MAX = 64,          /* visible ASCII characters: where a page begins */
};

static const int64_t PRICE_CENTS_MAX = 1000000000; /* of one piece */
static const int64_t STOCK_DELTA_MAX = 1000000000; /* pieces, booked in or out at once */

/* Of an order: LINES_MAX lines of QUANTITY_MAX pieces at PRICE_CENTS_MAX. */
static const int64_t TOTAL_CENTS_MAX = 1000000000000000;
