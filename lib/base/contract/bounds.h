/*
 * bounds.h - the limits of the contract with clients.
 *
 * They are the limits of the .proto files and of the HTTP interface.  Every process takes
 * them from here, so that none rejects what another accepted.
 */
#pragma once

#include <stdint.h>

enum {
    LINES_MAX = 100,         /* lines of a cart, an order or a reservation */
    QUANTITY_MAX = 10000,    /* pieces of one SKU, summed over its lines */
    SKU_LENGTH_MAX = 64,     /* characters */
    NAME_LENGTH_MAX = 64,    /* characters of a cart's or a payment method's id */
    IDEMPOTENCY_KEY_MIN = 8, /* visible ASCII characters */
    IDEMPOTENCY_KEY_MAX = 255,
    CART_VERSION_MAX = 64,    /* letters and digits: identifies a cart's lines */
    CART_VERSIONS_MAX = 16,   /* accepted by one conditional PUT */
    FINGERPRINT_SIZE = 32,    /* bytes: BLAKE2b of a request */
    ADJUSTMENT_ID_MAX = 64,   /* visible ASCII characters */
    REASON_SIZE_MAX = 200,    /* bytes of UTF-8: why stock was adjusted */
    TITLE_SIZE_MAX = 200,     /* bytes of UTF-8: a product's */
    SEARCH_SIZE_MAX = 100,    /* bytes of UTF-8: a product search */
    PRODUCTS_PAGE_MAX = 1000, /* products per page, in the HTTP interface too */
    SKUS_MAX = 100,           /* SKUs in one filter of products */
    LABEL_SIZE_MAX = 100,     /* bytes of UTF-8: a payment method's */
    PROVIDER_TOKEN_MAX = 200, /* visible ASCII characters */
    PROVIDER_ID_MAX = 200, /* visible ASCII characters: the provider's id of a charge */
    ORDERS_PAGE_MAX = 100, /* orders per page, in the HTTP interface too */
    ORDERS_CURSOR_SIZE_MAX = 100, /* bytes of a next_cursor */
    ENTRIES_PAGE_MAX = 1000,      /* entries per page of every other list */
    PAGE_SCAN_MAX = 10000,        /* entries that a filtered page examines */
    PAGE_AFTER_MAX = 64,          /* visible ASCII characters: start of a page */
};

static const int64_t PRICE_CENTS_MAX = 1000000000; /* of one piece */
static const int64_t STOCK_DELTA_MAX = 1000000000; /* pieces, in one adjustment */

/* Of an order: LINES_MAX lines of QUANTITY_MAX pieces at PRICE_CENTS_MAX. */
static const int64_t TOTAL_CENTS_MAX = 1000000000000000;
