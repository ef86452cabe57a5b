/* problem.c - see problem.h. */
#include "gateway/http/problem.h"

#include <string.h>

#define FINAL true

/*
 * How each code is answered.  Without a detail here the error's own message is the
 * detail: only for codes whose messages are written for clients.  Final codes must have a
 * detail, since a later version of a service might word its message differently.
 */
/* clang-format off */
static const struct {
    int retry_after_s;
    bool final;
    const char *title, *detail;
} PROBLEMS[ERR_CODES_COUNT] = {
    [ERR_INVALID_ARGUMENT] = {0, false, "The request is malformed", NULL},
    [ERR_OUT_OF_RANGE] = {0, false, "A value is out of range", NULL},
    [ERR_NOT_FOUND] = {0, false, "Not found", NULL},
    [ERR_ALREADY_EXISTS] = {0, false, "It exists already", NULL},
    [ERR_FAILED_PRECONDITION] = {0, FINAL, "Not possible as it stands",
     "These items cannot be ordered together, such as when their prices are in several "
     "currencies."},
    [ERR_ABORTED] = {0, false, "The operation was aborted", NULL},
    [ERR_UNAUTHENTICATED] = {0, false, "Not signed in",
     "Send a valid token as \"Authorization: Bearer TOKEN\"; this one is missing, "
     "malformed, expired or not from our issuer."},
    [ERR_PERMISSION_DENIED] = {0, false, "Not allowed",
     "You may not do this."},
    [ERR_UNIMPLEMENTED] = {0, false, "Not implemented", NULL},
    [ERR_METHOD_NOT_ALLOWED] = {0, false, "Method not allowed", NULL},
    [ERR_UNSUPPORTED_MEDIA_TYPE] = {0, false, "Unsupported media type", NULL},
    [ERR_PAYLOAD_TOO_LARGE] = {0, false, "The body is too large", NULL},
    [ERR_HEADER_TOO_LARGE] = {0, false, "The request's head is too large", NULL},
    [ERR_REQUEST_TIMEOUT] = {1, false, "The request took too long", NULL},
    [ERR_TARGET_TOO_LONG] = {0, false, "The request target is too long", NULL},
    [ERR_EXPECTATION_FAILED] = {0, false, "The expectation cannot be met", NULL},
    [ERR_TOO_MANY_CONNECTIONS] = {1, false, "Too many connections", NULL},
    [ERR_VERSION_NOT_SUPPORTED] = {0, false, "The protocol version is not supported",
     NULL},
    [ERR_CROSS_SITE] = {0, false, "Not from our own page",
     "A session cookie counts only on requests of our own pages (Origin or "
     "Sec-Fetch-Site says so), and a POST needs the Idempotency-Key header as well.  "
     "Other clients send \"Authorization: Bearer TOKEN\"."},
    [ERR_RATE_LIMITED] = {1, false, "Too many requests",
     "You ask too often; nothing was changed.  Try again with the same key after the "
     "time in Retry-After."},
    [ERR_RESOURCE_EXHAUSTED] = {1, false, "Too busy",
     "There is too much to do just now; nothing was changed.  Try again with the same "
     "key."},
    [ERR_UNAVAILABLE] = {1, false, "Unavailable",
     "A part of the shop cannot be reached just now; nothing was changed.  Try again "
     "with the same key."},
    [ERR_CANCELLED] = {1, false, "Unavailable",
     "The shop is restarting.  Try again with the same key."},
    [ERR_DEADLINE_EXCEEDED] = {1, false, "The outcome is not known yet",
     "It may have succeeded.  Ask again with the same key and body to learn the "
     "outcome; nothing happens twice."},
    [ERR_INTERNAL] = {0, false, "Internal error",
     "Something went wrong here.  Try again with the same key; if it persists, report "
     "the X-Request-Id."},
    [ERR_UNKNOWN] = {0, false, "Internal error",
     "Something went wrong here.  Try again with the same key; if it persists, report "
     "the X-Request-Id."},
    [ERR_DATA_LOSS] = {0, false, "Internal error",
     "What was kept of this is missing or damaged here, so what became of it cannot be "
     "told.  Report the X-Request-Id."},
    [ERR_OUT_OF_STOCK] = {0, FINAL, "Out of stock",
     "There is not enough stock for some items."},
    [ERR_UNKNOWN_SKU] = {0, FINAL, "Unknown items",
     "Some items do not exist."},
    [ERR_RESERVATION_EXPIRED] = {0, FINAL, "The reservation ran out",
     "The items set aside ran out of time before the payment was done.  Order with a "
     "new key."},
    [ERR_PRICE_CHANGED] = {0, FINAL, "The total has changed",
     "The total is not the expected one.  Look at the cart again and order with a new "
     "key."},
    [ERR_PAYMENT_DECLINED] = {0, FINAL, "Payment declined",
     "The payment method was declined; nothing was ordered.  Try another one with a "
     "new key."},
    [ERR_CHECKOUT_FAILED] = {0, FINAL, "The order could not be placed",
     "The order could not be placed in time.  Try again with a new key."},
    [ERR_CART_EMPTY] = {0, false, "The cart is empty",
     "There is nothing in the cart to order."},
    [ERR_CART_CHANGED] = {0, false, "The cart has changed",
     "The cart is not the one that was expected; nothing was changed or ordered.  It "
     "is as told in `cart`."},
    [ERR_CART_ALREADY_ORDERED] = {0, false, "The cart was ordered already",
     "This cart has been ordered, or is being ordered, under another key."},
    [ERR_IDEMPOTENCY_KEY_REUSED] = {0, false, "The idempotency key was used before",
     "This key belongs to another request; use a new key for a new order."},
    [ERR_CHECKOUT_IN_PROGRESS] = {1, false, "The order is being placed",
     "The first request with this key is still running.  Ask again with the same key."},
};
/* clang-format on */

/* "A,B" becomes ["A","B"]. */
static void write_skus(struct text *text, const char *subject)
{
    text_raw(text, ",\"skus\":[");
    for (const char *at = subject; *at != '\0';) {
        size_t length = strcspn(at, ",");
        if (at != subject)
            text_raw(text, ",");
        text_string_of(text, at, length);
        at += length;
        at += *at == ',';
    }
    text_raw(text, "]");
}

/* "insufficient_funds,another_payment_method" becomes two members. */
static void write_decline(struct text *text, const char *subject)
{
    size_t length = strcspn(subject, ",");

    text_raw(text, ",\"decline_code\":");
    text_string_of(text, subject, length);
    if (subject[length] == '\0')
        return;
    answer_text(text, ",\"advice\":", subject + length + 1);
}

/* The error's subject, if its code has a member for it. */
static void write_subject(struct text *text, struct err error)
{
    if (error.subject == NULL || error.subject[0] == '\0')
        return;
    switch (error.code) {
    case ERR_OUT_OF_STOCK:
    case ERR_UNKNOWN_SKU:
        write_skus(text, error.subject);
        break;
    case ERR_CART_ALREADY_ORDERED:
        answer_text(text, ",\"order_id\":", error.subject);
        break;
    case ERR_PAYMENT_DECLINED:
        write_decline(text, error.subject);
        break;
    default:
        break;
    }
}

void problem_open(struct text *text, unsigned status, struct err error)
{
    const char *detail = PROBLEMS[error.code].detail;
    const char *title = PROBLEMS[error.code].title;

    text_raw(text, "{\"type\":\"urn:checkout:problem:");
    text_raw(text, err_reason(error.code));
    answer_text(text, "\",\"title\":", title != NULL ? title : "Error");
    answer_number(text, ",\"status\":", status);
    answer_text(text, ",\"code\":", err_reason(error.code));
    text_raw(text,
             err_retryable(error.code) ? ",\"retryable\":true" : ",\"retryable\":false");
    answer_text(text, ",\"detail\":", detail != NULL ? detail : error.message);
    write_subject(text, error);
    if (error.money != MONEY_UNKNOWN && problem_is_final(error.code)) {
        answer_text(text, ",\"money\":", err_money_text(error.money));
    }
}

struct answer problem_answer(struct arena *arena, struct err error)
{
    struct text text = text_start(arena, 512);

    problem_open(&text, err_http_status(error.code), error);
    text_raw(&text, "}");
    if (text.broken)
        return (struct answer){.status = 503,
                               .body = PROBLEM_NO_MEMORY,
                               .size = PROBLEM_NO_MEMORY_SIZE,
                               .retry_after_s = 1};
    return (struct answer){
        .status = err_http_status(error.code),
        .body = text.bytes,
        .size = text.size,
        .retry_after_s = PROBLEMS[error.code].retry_after_s,
    };
}

bool problem_is_final(enum err_code code)
{
    return PROBLEMS[code].final;
}

/* Codes that mean a fault of ours: the client can do nothing about it. */
static bool our_fault(enum err_code code)
{
    switch (code) {
    case ERR_UNAUTHENTICATED:
    case ERR_PERMISSION_DENIED:
    case ERR_UNIMPLEMENTED:
    case ERR_UNKNOWN:
        return true;
    default:
        return false;
    }
}

struct err problem_of_call(struct err error, bool changes)
{
    if (problem_is_final(error.code) || error.code == ERR_CHECKOUT_IN_PROGRESS ||
        error.code == ERR_DATA_LOSS)
        return error;
    bool unknown = error.code == ERR_DEADLINE_EXCEEDED || error.effect != EFFECT_NONE;
    if (unknown && changes)
        error.code = ERR_DEADLINE_EXCEEDED;
    else if (error.code == ERR_DEADLINE_EXCEEDED || error.code == ERR_CANCELLED)
        error.code = ERR_UNAVAILABLE;
    else if (our_fault(error.code))
        error.code = ERR_INTERNAL;
    return error;
}
