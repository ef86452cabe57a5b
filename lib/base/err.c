/* err.c - see err.h. */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    unsigned grpc;
    unsigned http;
    const char *reason;
    bool retryable;
} CODES[] = {
#define X(name, grpc, reason, http, retryable)                                           \
    [ERR_##name] = {grpc, http, reason, retryable},
    ERR_CODES(X)
#undef X
};

/* Removes a UTF-8 character whose end was cut off. */
static void cut_at_character(char *text, size_t length)
{
    size_t start = length;

    while (start > 0 && ((unsigned char)text[start - 1] & 0xc0) == 0x80)
        start--;
    if (start > 0 && (unsigned char)text[start - 1] >= 0xc0)
        text[start - 1] = '\0';
}

__attribute__((format(printf, 3, 0))) static struct err
vmake(enum err_code code, enum err_effect effect, const char *format, va_list args)
{
    struct err e = {.code = code, .effect = effect};

    int length = vsnprintf(e.message, sizeof e.message, format, args);
    if (length >= (int)sizeof e.message)
        cut_at_character(e.message, sizeof e.message - 1);
    return e;
}

struct err err_make(enum err_code code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    struct err e = vmake(code, EFFECT_NONE, format, args);
    va_end(args);
    return e;
}

struct err err_unknown(enum err_code code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    struct err e = vmake(code, EFFECT_UNKNOWN, format, args);
    va_end(args);
    return e;
}

struct err err_memory(void)
{
    return err_make(
        ERR_RESOURCE_EXHAUSTED,
        "The request needs more memory than it may have; send a smaller one or "
        "try again later.");
}

const char *err_reason(enum err_code code)
{
    return CODES[code].reason;
}

enum err_code err_of_reason(const char *reason)
{
    for (unsigned c = 0; c < ERR_CODES_COUNT; c++)
        if (strcmp(CODES[c].reason, reason) == 0)
            return (enum err_code)c;
    return ERR_UNKNOWN;
}

static const char *const MONEY[] = {
    [MONEY_NONE] = "none",
    [MONEY_REFUNDED] = "refunded",
    [MONEY_REFUND_PENDING] = "refund_pending",
};

const char *err_money_text(enum err_money money)
{
    return MONEY[money];
}

enum err_money err_money_of(const char *text)
{
    for (int m = MONEY_NONE; text != NULL && m <= MONEY_REFUND_PENDING; m++)
        if (strcmp(MONEY[m], text) == 0)
            return (enum err_money)m;
    return MONEY_UNKNOWN;
}

unsigned err_grpc_status(enum err_code code)
{
    return CODES[code].grpc;
}

unsigned err_http_status(enum err_code code)
{
    return CODES[code].http;
}

bool err_retryable(enum err_code code)
{
    return CODES[code].retryable;
}
