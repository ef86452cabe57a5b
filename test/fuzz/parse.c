/*
 * parse.c - a request's head, as its bytes come, and what is read of its fields.
 *
 * Cut off behind any byte, a head needs more or has the verdict of the whole already.  One
 * that is taken is judged once more, on its raw bytes: it must be one that RFC 9112 knows
 * only one reading of.
 */
#include <ctype.h>

#include "base/contract/ids.h"
#include "base/contract/trace.h"
#include "fuzz/fuzz.h"
#include "gateway/api/idempotency.h"
#include "gateway/http/fields.h"
#include "http/media_type.h"

/* Small, so that inputs of libFuzzer's size get past them. */
static const struct http_limits LIMITS = {
    .head = 1024, .target = 128, .fields = 8, .body = 1000, .discard = 1000};

/* ---- a strict reader --------------------------------------------------------------------- */

/* Where the line ends with CRLF; NULL when it does not, or has a control character. */
static const char *line_end(const char *at, const char *end)
{
    while (at < end && (!iscntrl((unsigned char)*at) || *at == '\t'))
        at++;
    return at + 1 < end && at[0] == '\r' && at[1] == '\n' ? at : NULL;
}

/* Whether the raw bytes have one reading: CRLF ends a line, no blank stands at the start of
 * a line or around a name, one space each parts the request line. */
static bool strict(const char *at, const char *end)
{
    if (end - at > 2 && memcmp(at, "\r\n", 2) == 0)
        at += 2;
    const char *eol = line_end(at, end);
    int spaces = 0;
    for (const char *c = at; eol != NULL && c < eol; c++)
        spaces += *c == ' ';
    if (spaces != 2)
        return false;
    for (at = eol + 2; (eol = line_end(at, end)) != NULL && eol > at; at = eol + 2) {
        const char *colon = memchr(at, ':', (size_t)(eol - at));
        if (colon == NULL || colon == at)
            return false;
        for (const char *c = at; c < colon; c++)
            if (isspace((unsigned char)*c))
                return false;
    }
    return eol == at && eol + 2 == end;
}

/* How many fields have that name. */
static int count_of(const struct http_head *head, const char *name)
{
    int count = 0;

    for (size_t i = 0; i < head->count; i++)
        count += http_text_is(head->fields[i].name, name);
    return count;
}

/* ---- what was taken ---------------------------------------------------------------------- */

static bool within(struct http_text text, const char *bytes, size_t size)
{
    return text.size == 0 || (text.at >= bytes && text.at + text.size <= bytes + size);
}

static void check_target(const struct http_head *head)
{
    assert(head->target.size > 0 && head->target.size <= LIMITS.target);
    assert(head->asterisk == (head->path.size == 0));
    assert(head->asterisk || head->path.at[0] == '/');
    assert(memchr(head->path.at, '?', head->path.size) == NULL);
    const char *query = memchr(head->target.at, '?', head->target.size);
    for (size_t i = 0; i < head->target.size; i++) {
        unsigned char c = (unsigned char)head->target.at[i];
        bool in_query = query != NULL && head->target.at + i > query;
        assert(c > ' ' && c < 0x7f && strchr("\"#<>", c) == NULL);
        assert(in_query ||
               strchr("\\^`{|}", c) == NULL); /* as browsers send them there */
        if (c == '%')
            assert(i + 2 < head->target.size &&
                   isxdigit((unsigned char)head->target.at[i + 1]) &&
                   isxdigit((unsigned char)head->target.at[i + 2]));
    }
    for (size_t i = 0; i < head->host.size; i++)
        assert(head->host.at[i] > ' ' && strchr("/?#@\\", head->host.at[i]) == NULL);
}

static void check_taken(const struct http_head *head, const char *bytes)
{
    assert(head->size <= LIMITS.head && strict(bytes, bytes + head->size));
    assert(head->count <= LIMITS.fields);
    assert(within(head->method, bytes, head->size) && head->method.size > 0);
    assert(within(head->target, bytes, head->size));
    assert(within(head->query, bytes, head->size));
    assert(within(head->host, bytes, head->size));
    for (size_t i = 0; i < head->count; i++) {
        assert(within(head->fields[i].name, bytes, head->size));
        assert(within(head->fields[i].value, bytes, head->size));
    }
    check_target(head);
    assert(count_of(head, "Host") == 1 ||
           (head->http_1_0 && count_of(head, "Host") == 0));
    assert(head->chunked == (count_of(head, "Transfer-Encoding") == 1));
    assert((head->length >= 0) == (count_of(head, "Content-Length") == 1));
    assert(!head->chunked || (head->length < 0 && !head->http_1_0));
    assert(head->close || !head->http_1_0);
}

/* What the gateway reads of the fields. */
static void read_fields(const struct http_head *from)
{
    struct arena *arena = arena_new(1 << 16);
    struct trace trace;
    const char *key = NULL;
    struct head head = {.host = NULL};
    struct err e = head_read(&head, arena, from);

    if (failed(e)) {
        assert_refusal(e);
        arena_free(arena);
        return;
    }
    assert(strlen(head.host) == from->host.size);
    e = idempotency_key(arena, head.idempotency_key, NULL, &key);
    assert(failed(e) || visible_ascii(key, IDEMPOTENCY_KEY_MIN, IDEMPOTENCY_KEY_MAX));
    assert(!failed(http_media_type_check(head.content_type)) ||
           head.content_type != NULL);
    assert(!failed(http_media_coding_check(head.content_encoding)) ||
           head.content_encoding != NULL);
    trace_begin(&head.trace, &trace);
    assert(trace_valid(trace.parent) && strlen(trace.state) <= TRACESTATE_MAX);
    arena_free(arena);
}

/* ---- all of it --------------------------------------------------------------------------- */

static void check_reason(enum http_reason reason)
{
    char sentence[200];

    http_reason_sentence(reason, &LIMITS, 0, sentence, sizeof sentence);
    assert(strlen(sentence) > 0 && strlen(sentence) < sizeof sentence - 1);
    assert(http_reason_ends(reason) && http_reason_status(reason) >= 400);
}

/* Of the first `size` bytes, in memory of their own. */
static enum http_reason parse(const uint8_t *data, size_t size, bool look)
{
    struct input in = {data, size};
    size_t length;
    char *bytes = (char *)input_rest(&in, &length);
    static struct http_head head;
    enum http_reason reason = http_parse(bytes, length, &LIMITS, &head);

    assert(within(head.method, bytes, length) && within(head.target, bytes, length));
    if (look && reason == HTTP_OK) {
        check_taken(&head, bytes);
        read_fields(&head);
    }
    if (look && reason > HTTP_MORE)
        check_reason(reason);
    free(bytes);
    return reason;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum http_reason whole = parse(data, size, true);
    bool decided = false;

    assert(whole < HTTP_REASONS_COUNT);
    /* Nothing past the limit changes it. */
    for (size_t cut = 0; cut < size && cut <= LIMITS.head; cut++) {
        enum http_reason reason = parse(data, cut, false);
        assert(reason == whole || (reason == HTTP_MORE && !decided));
        decided = reason != HTTP_MORE;
    }
    assert(size < LIMITS.head || whole != HTTP_MORE);
    return 0;
}
