/*
 * head.c - a request's head, as libmicrohttpd would hand it out.
 *
 * The input is the head's raw bytes.  Each NUL becomes 0x01, as receive.c has it; then they
 * are split as loosely as libmicrohttpd does it: a bare CR or LF ends a line, a request line
 * has any number of spaces.  What layout.c and head.c then let through must be one that
 * RFC 9112 knows only one reading of, judged here on the raw bytes.
 */
#include <ctype.h>

#include "base/ids.h"
#include "base/trace.h"
#include "fuzz/fuzz.h"
#include "gateway/head.h"
#include "gateway/idempotency.h"
#include "gateway/layout.h"
#include "gateway/media_type.h"

enum { FIELDS_MAX = 64 };

struct field {
    char *name, *value;
};

/* The head in memory, each line end overwritten with NULs. */
struct split {
    char *method, *target, *version;
    struct field fields[FIELDS_MAX];
    size_t count;
    size_t size; /* bytes of the head, with its empty line */
};

/* ---- a loose reader -------------------------------------------------------------------- */

/* Ends the line at `at`, with a bare CR or LF too, and goes behind it; NULL when it has no
 * end. */
static char *end_line(char *at, const char *end)
{
    while (at < end && *at != '\r' && *at != '\n')
        at++;
    if (at == end)
        return NULL;
    if (at[0] == '\r' && at + 1 < end && at[1] == '\n')
        *at++ = '\0';
    *at++ = '\0';
    return at;
}

/* The method ends at the first space, the version begins behind the last. */
static bool split_request_line(char *line, struct split *out)
{
    char *space = strchr(line, ' '), *last = strrchr(line, ' ');

    if (space == NULL || space == last)
        return false;
    out->method = line;
    out->target = space + strspn(space, " ");
    out->version = last + 1;
    *space = '\0';
    *last = '\0';
    return out->target < last;
}

static bool split_field(char *line, struct field *out)
{
    char *colon = strchr(line, ':');

    if (colon == NULL)
        return false;
    *colon = '\0';
    out->name = line;
    out->value = colon + 1 + strspn(colon + 1, " \t");
    return true;
}

/* False when it is no head, however loosely read. */
static bool split_head(char *bytes, size_t size, struct split *out)
{
    const char *end = bytes + size;
    char *line = bytes, *next = end_line(line, end);

    if (next == NULL || !split_request_line(line, out))
        return false;
    for (line = next; (next = end_line(line, end)) != NULL; line = next) {
        if (*line == '\0') {
            out->size = (size_t)(next - bytes);
            return true;
        }
        if (out->count == FIELDS_MAX || !split_field(line, &out->fields[out->count]))
            return false;
        out->count++;
    }
    return false;
}

/* ---- the strict reader ------------------------------------------------------------------ */

/* Where the line ends with CRLF; NULL when it does not, or has a NUL. */
static const char *line_end(const char *at, const char *end)
{
    while (at < end && *at != '\r' && *at != '\n' && *at != '\0')
        at++;
    return at + 1 < end && at[0] == '\r' && at[1] == '\n' ? at : NULL;
}

/* Whether the raw bytes have one reading: CRLF ends a line, no blank stands at the
 * start of a line or around a name, one space each parts the request line. */
static bool strict(const char *at, const char *end)
{
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
            if (isspace((unsigned char)*c) || iscntrl((unsigned char)*c))
                return false;
    }
    return eol == at && eol + 2 == end;
}

/* ---- both -------------------------------------------------------------------------------- */

/* Others are refused by themselves: a target by request.c, a version by libmicrohttpd. */
static bool plain(const char *text)
{
    while (*text > ' ' && *text < 0x7f)
        text++;
    return *text == '\0';
}

static bool let_through(const struct split *split, struct head *head)
{
    struct layout layout =
        layout_start(split->method, split->target, strlen(split->target), split->version);

    for (size_t i = 0; i < split->count; i++) {
        layout_field(&layout, split->fields[i].name, split->fields[i].value);
        head_add(head, split->fields[i].name, split->fields[i].value);
    }
    struct err e = head_check(head, split->method, split->version);
    if (failed(e))
        assert_refusal(e);
    return !failed(e) && plain(split->target) && plain(split->version) &&
           layout_good(&layout, split->size);
}

/* What is read of fields that came through. */
static void read_fields(const struct head *head)
{
    struct arena *arena = arena_new(1 << 16);
    struct trace trace;
    const char *key = NULL;
    struct err e = idempotency_key(arena, head->idempotency_key, NULL, &key);

    assert(failed(e) || visible_ascii(key, IDEMPOTENCY_KEY_MIN, IDEMPOTENCY_KEY_MAX));
    assert(head->length >= -1 && head->twice == NULL);
    assert(head->transfer_encoding == NULL || head->content_length == NULL);
    e = media_type_check(head->content_type);
    assert(!failed(e) || head->content_type != NULL);
    e = media_coding_check(head->content_encoding);
    assert(!failed(e) || head->content_encoding != NULL);
    trace_begin(&head->trace, &trace);
    assert(trace_valid(trace.parent) && printable_ascii(trace.state, TRACESTATE_MAX));
    arena_free(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* Behind a head lies more of the connection's buffer. */
    char *bytes = calloc(1, size + 4);
    struct split split = {0};
    struct head head = {0};

    assert(bytes != NULL);
    for (size_t i = 0; i < size; i++)
        bytes[i] = data[i] == '\0' ? 0x01 : (char)data[i];
    if (split_head(bytes, size, &split) && let_through(&split, &head)) {
        assert(strict((const char *)data, (const char *)data + split.size));
        read_fields(&head);
    }
    free(bytes);
    return 0;
}
