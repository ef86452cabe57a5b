/*
 * checkout/client.h - placing orders from another program: libcheckout-client.
 *
 *     cc program.c $(pkg-config --cflags --libs checkout-client)
 *
 * A client connects to the services when needed, and reconnects by itself.  Every
 * function may be called from any thread.  Each call has two forms:
 *
 *   checkout_place_order(...)         blocks until the answer, and returns its status
 *   checkout_place_order_start(...)   returns at once; `done` is called exactly once, on
 *                                     a thread of the library, perhaps before the
 *                                     function returns.  `done` must not block: no
 *                                     blocking form, no checkout_client_close.  It may
 *                                     start another call.
 *
 * Requests are read only until the function returns.  Free a reply of the blocking form
 * with checkout_free; a reply passed to `done` lives until `done` returns.  Texts are
 * UTF-8, never NULL in a reply; NULL in a request is an empty text.  Money is in minor
 * units (cents) of an ISO 4217 currency.
 *
 * The library retries calls after transient failures until their time is up.  An error
 * says what the failed call may have done: after CHECKOUT_EFFECT_UNKNOWN call again with
 * the same ids, which does the work if it was not done, and returns the first answer if
 * it was.
 */
#ifndef CHECKOUT_CLIENT_H
#define CHECKOUT_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define CHECKOUT_API __attribute__((visibility("default")))
#else
#define CHECKOUT_API
#endif

/* The status codes of gRPC: https://grpc.io/docs/guides/status-codes/ */
enum checkout_status {
    CHECKOUT_OK = 0,
    CHECKOUT_CANCELLED = 1,
    CHECKOUT_UNKNOWN = 2,
    CHECKOUT_INVALID_ARGUMENT = 3,
    CHECKOUT_DEADLINE_EXCEEDED = 4,
    CHECKOUT_NOT_FOUND = 5,
    CHECKOUT_ALREADY_EXISTS = 6,
    CHECKOUT_PERMISSION_DENIED = 7,
    CHECKOUT_RESOURCE_EXHAUSTED = 8,
    CHECKOUT_FAILED_PRECONDITION = 9,
    CHECKOUT_ABORTED = 10,
    CHECKOUT_OUT_OF_RANGE = 11,
    CHECKOUT_UNIMPLEMENTED = 12,
    CHECKOUT_INTERNAL = 13,
    CHECKOUT_UNAVAILABLE = 14,
    CHECKOUT_DATA_LOSS = 15,
    CHECKOUT_UNAUTHENTICATED = 16
};

enum checkout_effect {
    CHECKOUT_EFFECT_NONE = 0,    /* nothing happened, and nothing will */
    CHECKOUT_EFFECT_APPLIED = 1, /* it happened */
    CHECKOUT_EFFECT_UNKNOWN = 2  /* it may have happened, or may yet */
};

struct checkout_error {
    enum checkout_status status;
    enum checkout_effect effect;
    bool retryable;          /* a retry with the same ids can succeed */
    uint32_t retry_after_ms; /* earliest useful retry, from now; 0: unknown */
    char reason[32];         /* for programs: "out_of_stock", "payment_declined" */
    char message[192];       /* a sentence for people */
    /* SKUs, separated by commas; for "cart_already_ordered" the order's id, if there
     * is one yet; for "cart_changed" the cart's version; for "payment_declined" the
     * decline code, a comma, and the advice (payment.v1.Payment/Charge); or
     * empty. */
    char subject[496];
    /* For a refused order: "none" (nothing was charged), "refunded", or
     * "refund_pending" (the card was or may have been charged, and the refund is not
     * done yet: repeat the call for the newest state); or empty. */
    char money[16];
};

typedef struct checkout_client checkout_client;

/* Identifies a call in progress; 0: none. */
typedef uint64_t checkout_call;

struct checkout_client_config {
    size_t size;               /* sizeof(struct checkout_client_config) */
    const char *key_file;      /* our key pair: checkoutctl key new */
    const char *services_file; /* the services' public keys; reloaded when it changes */
    /* ipc:///path, tcp://host:port or tls+tcp://host:port; replicas with commas. */
    const char *orchestrator_addresses;      /* orders and carts */
    const char *inventory_addresses;         /* products and stock; NULL: not needed */
    const char *tls_cert, *tls_key, *tls_ca; /* PEM files, for tls+tcp */
    uint32_t in_flight_max;                  /* calls at once to one service; 0: 1024 */
    uint32_t timeout_ms;                     /* of calls without one; 0: 10000 */
};

/* Connects in the background, without blocking.  CHECKOUT_INVALID_ARGUMENT says which
 * file or address is wrong.  `error` may be NULL, here and everywhere. */
CHECKOUT_API enum checkout_status
checkout_client_open(const struct checkout_client_config *config, checkout_client **out,
                     struct checkout_error *error);

/* Ends calls in progress with CHECKOUT_CANCELLED and waits until they have ended.  No
 * function may be called with the client afterwards, nor be running in another thread. */
CHECKOUT_API void checkout_client_close(checkout_client *client); /* NULL is allowed */

/* Cancels a call: `done` is called soon with CHECKOUT_CANCELLED, unless the answer
 * arrives first. Work that has not begun is not done; see the error's effect.  Does
 * nothing for a call that has ended or belongs to another client. */
CHECKOUT_API void checkout_cancel(checkout_client *client, checkout_call call);

/* NULL is allowed. */
CHECKOUT_API void checkout_free(const void *reply);

/* Options of one call; NULL means all zero. */
struct checkout_options {
    uint32_t timeout_ms;     /* 1 to 600000; 0: the client's */
    const char *id;          /* names the call in logs; NULL: a new one */
    const char *traceparent; /* W3C Trace Context, or NULL */
};

/* ---- orders ---------------------------------------------------------------- */

struct checkout_order_line {
    const char *sku;
    int64_t quantity, unit_price_cents;
    const char
        *title; /* as it was sold; empty in an order from before titles were kept */
};

struct checkout_order {
    const char *order_id, *user_id, *cart_id;
    const char *status; /* "created" */
    int64_t total_cents;
    const char *currency;
    int64_t created_at_ms; /* Unix milliseconds */
    size_t line_count;
    const struct checkout_order_line *lines;
};

/*
 * Turns a cart into one paid order, or has no effect.  Calls with the same key and the
 * same other fields give one order, however often they are made, also through the HTTP
 * interface.
 */
struct checkout_place_order {
    const char *user_id; /* UUID */
    const char *cart_id;
    const char *payment_method_id;
    const char *idempotency_key; /* 8 to 255 visible ASCII characters */
    bool has_expected_total;     /* another total than this is "price_changed" */
    int64_t expected_total_cents;
    const char *expected_currency;     /* another is "price_changed"; empty: any */
    const char *expected_cart_version; /* another is "cart_changed"; empty: any */
};

struct checkout_placed {
    struct checkout_order order;
    bool replayed; /* it was placed by an earlier call with this key */
};

typedef void checkout_place_order_done(void *arg, const struct checkout_error *error,
                                       const struct checkout_placed *reply);

CHECKOUT_API enum checkout_status
checkout_place_order(checkout_client *client, const struct checkout_place_order *request,
                     const struct checkout_options *options,
                     struct checkout_placed **reply, struct checkout_error *error);
CHECKOUT_API checkout_call checkout_place_order_start(
    checkout_client *client, const struct checkout_place_order *request,
    const struct checkout_options *options, checkout_place_order_done *done, void *arg);

struct checkout_get_order {
    const char *order_id;
    const char *user_id; /* only this user's; empty: any user's */
};

typedef void checkout_get_order_done(void *arg, const struct checkout_error *error,
                                     const struct checkout_order *reply);

CHECKOUT_API enum checkout_status
checkout_get_order(checkout_client *client, const struct checkout_get_order *request,
                   const struct checkout_options *options, struct checkout_order **reply,
                   struct checkout_error *error);
CHECKOUT_API checkout_call checkout_get_order_start(
    checkout_client *client, const struct checkout_get_order *request,
    const struct checkout_options *options, checkout_get_order_done *done, void *arg);

struct checkout_list_orders {
    const char *user_id;
    int32_t limit;      /* 1 to 100; 0: 20 */
    const char *cursor; /* next_cursor of the page before, or empty */
    /* If not empty, only the order placed under this key; limit and cursor must be
     * left out. */
    const char *idempotency_key;
};

struct checkout_orders {
    size_t order_count;
    const struct checkout_order *orders; /* newest first */
    const char *next_cursor;             /* empty on the last page */
};

typedef void checkout_list_orders_done(void *arg, const struct checkout_error *error,
                                       const struct checkout_orders *reply);

CHECKOUT_API enum checkout_status
checkout_list_orders(checkout_client *client, const struct checkout_list_orders *request,
                     const struct checkout_options *options,
                     struct checkout_orders **reply, struct checkout_error *error);
CHECKOUT_API checkout_call checkout_list_orders_start(
    checkout_client *client, const struct checkout_list_orders *request,
    const struct checkout_options *options, checkout_list_orders_done *done, void *arg);

/* ---- carts ----------------------------------------------------------------- */

struct checkout_cart_line {
    const char *sku;
    int64_t quantity; /* 1 to 10000 */
};

/* Creates or replaces a user's cart; "cart_changed" when a condition does not hold. */
struct checkout_put_cart {
    const char *user_id, *cart_id;
    size_t line_count; /* 0 to 100 */
    const struct checkout_cart_line *lines;
    const char *if_version; /* only if it has this one, or any with "*"; empty: always */
    bool create_only;       /* only if there is none */
};

struct checkout_get_cart {
    const char *user_id, *cart_id;
};

struct checkout_cart {
    const char *cart_id;
    size_t line_count;
    const struct checkout_cart_line *lines;
    bool created;        /* by this put; false when it replaced one, and from get */
    const char *version; /* of the lines: equal for equal lines in equal order */
};

typedef void checkout_cart_done(void *arg, const struct checkout_error *error,
                                const struct checkout_cart *reply);

CHECKOUT_API enum checkout_status
checkout_put_cart(checkout_client *client, const struct checkout_put_cart *request,
                  const struct checkout_options *options, struct checkout_cart **reply,
                  struct checkout_error *error);
CHECKOUT_API checkout_call checkout_put_cart_start(
    checkout_client *client, const struct checkout_put_cart *request,
    const struct checkout_options *options, checkout_cart_done *done, void *arg);

CHECKOUT_API enum checkout_status
checkout_get_cart(checkout_client *client, const struct checkout_get_cart *request,
                  const struct checkout_options *options, struct checkout_cart **reply,
                  struct checkout_error *error);
CHECKOUT_API checkout_call checkout_get_cart_start(
    checkout_client *client, const struct checkout_get_cart *request,
    const struct checkout_options *options, checkout_cart_done *done, void *arg);

/* ---- products and stock ---------------------------------------------------- */

struct checkout_get_stock {
    const char *sku;
};

/* received = available + held + sold, in pieces. */
struct checkout_stock {
    const char *sku;
    int64_t received, available, held, sold;
};

typedef void checkout_get_stock_done(void *arg, const struct checkout_error *error,
                                     const struct checkout_stock *reply);

CHECKOUT_API enum checkout_status
checkout_get_stock(checkout_client *client, const struct checkout_get_stock *request,
                   const struct checkout_options *options, struct checkout_stock **reply,
                   struct checkout_error *error);
CHECKOUT_API checkout_call checkout_get_stock_start(
    checkout_client *client, const struct checkout_get_stock *request,
    const struct checkout_options *options, checkout_get_stock_done *done, void *arg);

struct checkout_list_products {
    int32_t limit;      /* 1 to 1000; 0: 100 */
    const char *cursor; /* next_cursor of the page before, or empty */
    const char *q;      /* only those with this text in title or SKU; empty: all */
    size_t sku_count;   /* only those of these SKUs, 0 to 100; 0: all */
    const char *const *skus;
};

struct checkout_product {
    const char *sku, *title;
    int64_t price_cents;
    const char *currency;
    int64_t available; /* pieces */
};

struct checkout_products {
    size_t product_count;
    const struct checkout_product *products; /* by SKU; with q perhaps none */
    const char *next_cursor;                 /* empty on the last page */
};

typedef void checkout_list_products_done(void *arg, const struct checkout_error *error,
                                         const struct checkout_products *reply);

CHECKOUT_API enum checkout_status
checkout_list_products(checkout_client *client,
                       const struct checkout_list_products *request,
                       const struct checkout_options *options,
                       struct checkout_products **reply, struct checkout_error *error);
CHECKOUT_API checkout_call checkout_list_products_start(
    checkout_client *client, const struct checkout_list_products *request,
    const struct checkout_options *options, checkout_list_products_done *done, void *arg);

#ifdef __cplusplus
}
#endif

#endif
