/* problem.c - see problem.h. */
#include "gateway/http/problem.h"

#include <string.h>

#define FINAL true

/*
 * How each code is answered.  Without a detail here the error's own message is the detail:
 * only for codes whose messages are written for clients.  Final codes must have a detail,
 * since a later version of a service might word its message differently.
 */
static const struct {
    const char *title;
    const char *detail;
    int retry_after_s;
    bool final;
} PROBLEMS[ERR_CODES_COUNT] = {
    [ERR_INVALID_ARGUMENT] = {"The request is malformed", NULL, 0, false},
    [ERR_OUT_OF_RANGE] = {"A value is out of range", NULL, 0, false},
    [ERR_NOT_FOUND] = {"Not found", NULL, 0, false},
    [ERR_ALREADY_EXISTS] = {"It exists already", NULL, 0, false},
    [ERR_FAILED_PRECONDITION] = {"Not possible as it stands",
                                 "These items cannot be ordered together, such as when "
                                 "their prices are in several "
                                 "currencies.",
                                 0, FINAL},
    [ERR_ABORTED] = {"The operation was aborted", NULL, 0, false},
    [ERR_UNAUTHENTICATED] =
        {"Not signed in",
         "Send a valid token as \"Authorization: Bearer TOKEN\"; this one is missing, "
         "malformed, expired or not from our issuer.",
         0, false},
    [ERR_PERMISSION_DENIED] = {"Not allowed", "You may not do this.", 0, false},
    [ERR_UNIMPLEMENTED] = {"Not implemented", NULL, 0, false},
    [ERR_METHOD_NOT_ALLOWED] = {"Method not allowed", NULL, 0, false},
    [ERR_UNSUPPORTED_MEDIA_TYPE] = {"Unsupported media type", NULL, 0, false},
    [ERR_PAYLOAD_TOO_LARGE] = {"The body is too large", NULL, 0, false},
    [ERR_HEADER_TOO_LARGE] = {"The request's head is too large", NULL, 0, false},
    [ERR_REQUEST_TIMEOUT] = {"The request took too long", NULL, 1, false},
    [ERR_TARGET_TOO_LONG] = {"The request target is too long", NULL, 0, false},
    [ERR_EXPECTATION_FAILED] = {"The expectation cannot be met", NULL, 0, false},
    [ERR_TOO_MANY_CONNECTIONS] = {"Too many connections", NULL, 1, false},
    [ERR_VERSION_NOT_SUPPORTED] = {"The protocol version is not supported", NULL, 0,
                                   false},
    [ERR_CROSS_SITE] = {"Not from our own page",
                        "A session cookie counts only on requests of our own pages "
                        "(Origin or Sec-Fetch-Site says so), and a POST needs the "
                        "Idempotency-Key header as well.  Other clients send "
                        "\"Authorization: Bearer TOKEN\".",
                        0, false},
    [ERR_RATE_LIMITED] = {"Too many requests",
                          "You ask too often; nothing was changed.  Try again with the "
                          "same key after the time in Retry-After.",
                          1, false},
    [ERR_RESOURCE_EXHAUSTED] = {"Too busy",
                                "There is too much to do just now; nothing was changed.  "
                                "Try again with the same "
                                "key.",
                                1, false},
    [ERR_UNAVAILABLE] = {"Unavailable",
                         "A part of the shop cannot be reached just now; nothing was "
                         "changed.  Try again with "
                         "the same key.",
                         1, false},
    [ERR_CANCELLED] = {"Unavailable",
                       "The shop is restarting.  Try again with the same key.", 1, false},
    [ERR_DEADLINE_EXCEEDED] = {"The outcome is not known yet",
                               "It may have succeeded.  Ask again with the same key and "
                               "body to learn the outcome; "
                               "nothing happens twice.",
                               1, false},
    [ERR_INTERNAL] =
        {"Internal error",
         "Something went wrong here.  Try again with the same key; if it persists, "
         "report the X-Request-Id.",
         0, false},
    [ERR_UNKNOWN] =
        {"Internal error",
         "Something went wrong here.  Try again with the same key; if it persists, "
         "report the X-Request-Id.",
         0, false},
    [ERR_DATA_LOSS] = {"Internal error",
                       "What was kept of this is missing or damaged here, so what became "
                       "of it cannot be told.  Report the X-Request-Id.",
                       0, false},
    [ERR_OUT_OF_STOCK] = {"Out of stock", "There is not enough stock for some items.", 0,
                          FINAL},
    [ERR_UNKNOWN_SKU] = {"Unknown items", "Some items do not exist.", 0, FINAL},
    [ERR_RESERVATION_EXPIRED] = {"The reservation ran out",
                                 "The items set aside ran out of time before the payment "
                                 "was done.  Order with a new key.",
                                 0, FINAL},
    [ERR_PRICE_CHANGED] = {"The total has changed",
                           "The total is not the expected one.  "
                           "Look at the cart again and "
                           "order with a new key.",
                           0, FINAL},
    [ERR_PAYMENT_DECLINED] = {"Payment declined",
                              "The payment method was declined; nothing was ordered.  "
                              "Try another one with a new "
                              "key.",
                              0, FINAL},
    [ERR_CHECKOUT_FAILED] = {"The order could not be placed",
                             "The order could not be placed in time.  Try again with "
                             "a new key.",
                             0, FINAL},
    [ERR_CART_EMPTY] = {"The cart is empty", "There is nothing in the cart to order.", 0,
                        false},
    [ERR_CART_CHANGED] =
        {"The cart has changed",
         "The cart is not the one that was expected; nothing was changed or "
         "ordered.  It is as told in `cart`.",
         0, false},
    [ERR_CART_ALREADY_ORDERED] =
        {"The cart was ordered already",
         "This cart has been ordered, or is being ordered, under another key.", 0, false},
    [ERR_IDEMPOTENCY_KEY_REUSED] =
        {"The idempotency key was used before",
         "This key belongs to another request; use a new key for a new order.", 0, false},
    [ERR_CHECKOUT_IN_PROGRESS] = {"The order is being placed",
                                  "The first request with this key is still running.  "
                                  "Ask again with the same key.",
                                  1, false},
};

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
    text_raw(text, ",\"advice\":");
    text_string(text, subject + length + 1);
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
        text_raw(text, ",\"order_id\":");
        text_string(text, error.subject);
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
    text_raw(text, "\",\"title\":");
    text_string(text, title != NULL ? title : "Error");
    text_raw(text, ",\"status\":");
    text_number(text, status);
    text_raw(text, ",\"code\":");
    text_string(text, err_reason(error.code));
    text_raw(text,
             err_retryable(error.code) ? ",\"retryable\":true" : ",\"retryable\":false");
    text_raw(text, ",\"detail\":");
    text_string(text, detail != NULL ? detail : error.message);
    write_subject(text, error);
    if (error.money != MONEY_UNTOLD && problem_is_final(error.code)) {
        text_raw(text, ",\"money\":");
        text_string(text, err_money_text(error.money));
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
