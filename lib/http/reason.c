/* reason.c - see reason.h. */
#include "http/reason.h"

#include <assert.h>
#include <stdio.h>

enum limit {
    LIMIT_none,
    LIMIT_head,
    LIMIT_target,
    LIMIT_fields,
    LIMIT_body,
    LIMIT_connections,
};

static const struct {
    unsigned status;
    bool ends;
    const char *sentence;
    enum limit limit;
} ROWS[HTTP_REASONS_COUNT] = {
#define X(name, status, ends, sentence, limit)                                           \
    [HTTP_##name] = {status, ends, sentence, LIMIT_##limit},
    HTTP_REASONS(X)
#undef X
};

unsigned http_reason_status(enum http_reason reason)
{
    assert(reason > HTTP_MORE && reason < HTTP_REASONS_COUNT);
    return ROWS[reason].status;
}

bool http_reason_ends(enum http_reason reason)
{
    assert(reason > HTTP_MORE && reason < HTTP_REASONS_COUNT);
    return ROWS[reason].ends;
}

void http_reason_sentence(enum http_reason reason, const struct http_limits *limits,
                          size_t per_address, char *out, size_t size)
{
    const size_t values[] = {
        [LIMIT_head] = limits->head,       [LIMIT_target] = limits->target,
        [LIMIT_fields] = limits->fields,   [LIMIT_body] = limits->body,
        [LIMIT_connections] = per_address,
    };
    const char *at = ROWS[reason].sentence;
    size_t used = 0;

    /* The table's only directive is %zu; a lone % is itself. */
    for (; *at != '\0' && used + 1 < size; at++) {
        if (at[0] != '%' || at[1] != 'z') {
            out[used++] = *at;
            continue;
        }
        int made = snprintf(out + used, size - used, "%zu", values[ROWS[reason].limit]);
        used += (size_t)made < size - used ? (size_t)made : size - used - 1;
        at += 2;
    }
    out[used] = '\0';
}
