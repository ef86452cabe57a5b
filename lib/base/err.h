/*
 * err.h - the one error type: a code, the possible effect of the failed call, and a
 * message.
 *
 * Errors are returned by value up to the one place that replies and logs.  The table
 * below is the only list of codes; it maps each to the wire (a gRPC status), to a
 * storefront (an HTTP status) and to a program (`reason`).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 *    code                  gRPC reason                    HTTP  retryable with the same key
 *
 * The first seventeen are gRPC's own, in its order, so that code == status.
 * https://grpc.io/docs/guides/status-codes/
 */
/* clang-format off */
#define ERR_CODES(X)                                                         \
    X(OK,                      0, "ok",                      200, false)     \
    X(CANCELLED,               1, "cancelled",               503, true)      \
    X(UNKNOWN,                 2, "unknown",                 500, true)      \
    X(INVALID_ARGUMENT,        3, "invalid_argument",        400, false)     \
    X(DEADLINE_EXCEEDED,       4, "outcome_unknown",         504, true)      \
    X(NOT_FOUND,               5, "not_found",               404, false)     \
    X(ALREADY_EXISTS,          6, "already_exists",          409, false)     \
    X(PERMISSION_DENIED,       7, "permission_denied",       403, false)     \
    X(RESOURCE_EXHAUSTED,      8, "overloaded",              503, true)      \
    X(FAILED_PRECONDITION,     9, "failed_precondition",     409, false)     \
    X(ABORTED,                10, "aborted",                 409, false)     \
    X(OUT_OF_RANGE,           11, "out_of_range",            400, false)     \
    X(UNIMPLEMENTED,          12, "unimplemented",           501, false)     \
    X(INTERNAL,               13, "internal",                500, true)      \
    X(UNAVAILABLE,            14, "unavailable",             503, true)      \
    X(DATA_LOSS,              15, "data_loss",               500, false)     \
    X(UNAUTHENTICATED,        16, "unauthenticated",         401, false)     \
    /* why a checkout can be refused */                                      \
    X(OUT_OF_STOCK,            9, "out_of_stock",            409, false)     \
    X(UNKNOWN_SKU,             9, "unknown_sku",             422, false)     \
    X(RESERVATION_EXPIRED,     9, "reservation_expired",     409, false)     \
    X(PRICE_CHANGED,           9, "price_changed",           409, false)     \
    X(PAYMENT_DECLINED,        9, "payment_declined",        402, false)     \
    X(CART_EMPTY,              9, "cart_empty",              422, false)     \
    X(CART_CHANGED,            9, "cart_changed",            409, false)     \
    X(CART_ALREADY_ORDERED,    6, "cart_already_ordered",    409, false)     \
    X(IDEMPOTENCY_KEY_REUSED,  9, "idempotency_key_reused",  422, false)     \
    X(CHECKOUT_IN_PROGRESS,   10, "checkout_in_progress",    409, true)      \
    X(CHECKOUT_FAILED,        10, "checkout_failed",         409, false)     \
    /* returned by the gateway only */                                       \
    X(PAYLOAD_TOO_LARGE,       8, "payload_too_large",       413, false)     \
    X(METHOD_NOT_ALLOWED,     12, "method_not_allowed",      405, false)     \
    X(UNSUPPORTED_MEDIA_TYPE,  3, "unsupported_media_type",  415, false)     \
    X(HEADER_TOO_LARGE,        8, "header_too_large",        431, false)     \
    X(CROSS_SITE,              7, "cross_site",              403, false)     \
    X(RATE_LIMITED,            8, "rate_limited",            429, true)      \
    X(REQUEST_TIMEOUT,         4, "request_timeout",         408, true)      \
    X(TARGET_TOO_LONG,         3, "target_too_long",         414, false)     \
    X(EXPECTATION_FAILED,      3, "expectation_failed",      417, false)     \
    X(TOO_MANY_CONNECTIONS,    8, "too_many_connections",    429, true)      \
    X(VERSION_NOT_SUPPORTED,   3, "version_not_supported",   505, false)

enum err_code {
#define X(name, grpc, reason, http, retryable) ERR_##name,
    ERR_CODES(X)
#undef X
    ERR_CODES_COUNT
};
/* clang-format on */

/* What a failed call may have done; the values are those of rpc.v1.Effect. */
enum err_effect {
    EFFECT_NONE = 0,    /* nothing happened, and nothing will happen */
    EFFECT_APPLIED = 1, /* it happened */
    /* It may have happened, or may still happen: retry with the same id. */
    EFFECT_UNKNOWN = 2,
};

/* What happened to the money of a refused checkout, as far as that is durable. */
enum err_money {
    MONEY_UNKNOWN = 0,    /* unknown: not about a checkout, or not recorded */
    MONEY_NONE,           /* nothing was charged, and nothing will be */
    MONEY_REFUNDED,       /* it was charged and has been refunded */
    MONEY_REFUND_PENDING, /* it was or may have been charged; a charge will be refunded */
};

struct err {
    enum err_code code;
    enum err_effect effect;
    enum err_money money;
    /* Earliest useful retry, in milliseconds from now; 0 when unknown. */
    uint32_t retry_after_ms;
    /* SKUs, an order's id and the like, separated by commas, or NULL; lives in the
     * request's arena. */
    const char *subject;
    char message[400]; /* a sentence or two, cut if longer; never a secret */
};

#define ERR_NONE ((struct err){.code = ERR_OK})

static inline bool failed(struct err e)
{
    return e.code != ERR_OK;
}

/* An error with effect none.  A message longer than struct err's is cut. */
struct err err_make(enum err_code code, const char *format, ...)
    __attribute__((format(printf, 2, 3), warn_unused_result));

/* The same with effect unknown. */
struct err err_unknown(enum err_code code, const char *format, ...)
    __attribute__((format(printf, 2, 3), warn_unused_result));

/* The error of a failed allocation: RESOURCE_EXHAUSTED, effect none. */
struct err err_memory(void) __attribute__((warn_unused_result));

/* "out_of_stock" and so on; never NULL. */
const char *err_reason(enum err_code code);

/* The code with that reason, or ERR_UNKNOWN. */
enum err_code err_of_reason(const char *reason);

/* "none", "refunded", "refund_pending"; NULL for MONEY_UNKNOWN. */
const char *err_money_text(enum err_money money);

/* The reverse; MONEY_UNKNOWN for any other text and for NULL. */
enum err_money err_money_of(const char *text);

/* gRPC status 0 to 16; HTTP status; whether a retry with the same key can succeed. */
unsigned err_grpc_status(enum err_code code);
unsigned err_http_status(enum err_code code);
bool err_retryable(enum err_code code);
