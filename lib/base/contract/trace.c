/* trace.c - see trace.h. */
#include "base/contract/trace.h"

#include <sodium.h>
#include <stdint.h>
#include <string.h>

#include "base/contract/ids.h"
#include "base/text.h"

enum {
    /* Offsets of the parts of a traceparent. */
    TRACE_ID_AT = 3,
    SPAN_ID_AT = 36,
    FLAGS_AT = 53,
    PARENT_END = TRACEPARENT_SIZE - 1,
    SPAN_ID_LENGTH = SPAN_ID_SIZE - 1,

    FLAG_SAMPLED = 1,
    FLAG_RANDOM = 2, /* the last 7 bytes of the trace id are random */

    KEY_MAX = 256,
    VALUE_MAX = 256,
    MEMBER_LARGE = 128, /* removed first when the list is too long */
};

static const char KEY_STARTS[] = "abcdefghijklmnopqrstuvwxyz0123456789";
static const char KEY_CHARACTERS[] = "abcdefghijklmnopqrstuvwxyz0123456789_-*/@";
static const char BLANKS[] = " \t";

/* ---- traceparent ---- */

static bool lower_hex(char c)
{
    return hex_digit(c) >= 0 && !(c >= 'A' && c <= 'F');
}

/* Whether text begins as a traceparent of any version. */
static bool begins_well(const char *text)
{
    static const char PATTERN[] =
        "xx-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx-xxxxxxxxxxxxxxxx-xx";

    for (size_t i = 0; i < sizeof PATTERN - 1; i++)
        if (PATTERN[i] == 'x' ? !lower_hex(text[i]) : text[i] != PATTERN[i])
            return false;
    return strspn(text + TRACE_ID_AT, "0") < 32 &&
           strspn(text + SPAN_ID_AT, "0") < SPAN_ID_LENGTH;
}

bool trace_valid(const char *text)
{
    return begins_well(text) && memcmp(text, "00", 2) == 0 && text[PARENT_END] == '\0';
}

/* Whether a reader of version 00 can continue it. */
static bool can_follow(const char *text)
{
    return trace_valid(text) || (begins_well(text) && memcmp(text, "00", 2) != 0 &&
                                 memcmp(text, "ff", 2) != 0 &&
                                 (text[PARENT_END] == '\0' || text[PARENT_END] == '-'));
}

static void write_parent(const uint8_t trace_id[16], const uint8_t span_id[8],
                         uint8_t flags, char out[TRACEPARENT_SIZE])
{
    memcpy(out, "00-", 3);
    sodium_bin2hex(out + TRACE_ID_AT, 33, trace_id, 16);
    out[SPAN_ID_AT - 1] = '-';
    sodium_bin2hex(out + SPAN_ID_AT, SPAN_ID_SIZE, span_id, 8);
    out[FLAGS_AT - 1] = '-';
    sodium_bin2hex(out + FLAGS_AT, 3, &flags, 1);
}

static void start_trace(struct trace *out)
{
    uint8_t random[24];

    random_take(random, sizeof random);
    random[0] |= 1; /* neither id may be all zeros */
    random[16] |= 1;
    write_parent(random, random + 16, FLAG_SAMPLED | FLAG_RANDOM, out->parent);
    out->caller[0] = '\0';
}

static void follow_trace(const char *given, struct trace *out)
{
    uint8_t span_id[8];
    int flags = hex_digit(given[FLAGS_AT + 1]) & (FLAG_SAMPLED | FLAG_RANDOM);

    memcpy(out->caller, given + SPAN_ID_AT, SPAN_ID_LENGTH);
    out->caller[SPAN_ID_LENGTH] = '\0';
    random_take(span_id, sizeof span_id);
    span_id[0] |= 1;
    memcpy(out->parent, "00", 2);
    memcpy(out->parent + 2, given + 2, SPAN_ID_AT - 2);
    sodium_bin2hex(out->parent + SPAN_ID_AT, SPAN_ID_SIZE, span_id, sizeof span_id);
    memcpy(out->parent + FLAGS_AT - 1, "-00", 4);
    out->parent[FLAGS_AT + 1] = (char)('0' + flags);
}

/* ---- tracestate ---- */

/* Members of the fields, without the blanks around them. */
struct members {
    struct {
        const char *text;
        size_t size;
    } list[TRACESTATE_MEMBERS];
    size_t count;
};

/* Whether it is key=value: the value printable, without comma or "=". */
static bool member_valid(const char *text, size_t size)
{
    size_t key = strspn(text, KEY_CHARACTERS);

    if (key < 1 || key > KEY_MAX || strchr(KEY_STARTS, text[0]) == NULL ||
        text[key] != '=')
        return false;
    size_t value = size - key - 1;
    for (const char *c = text + key + 1; c < text + size; c++)
        if (*c < ' ' || *c > '~' || *c == '=')
            return false;
    return value >= 1 && value <= VALUE_MAX;
}

/* Adds the members of one field; false: drop the list. */
static bool take_members(const char *at, struct members *out)
{
    for (;; at++) {
        at += strspn(at, BLANKS);
        size_t size = strcspn(at, ","), kept = size;
        while (kept > 0 && strchr(BLANKS, at[kept - 1]) != NULL)
            kept--;
        if (kept > 0) { /* empty members are allowed and skipped */
            if (out->count == TRACESTATE_MEMBERS || !member_valid(at, kept))
                return false;
            out->list[out->count].text = at;
            out->list[out->count++].size = kept;
        }
        at += size;
        if (*at == '\0')
            return true;
    }
}

static size_t joined_size(const struct members *m)
{
    size_t size = m->count > 0 ? m->count - 1 : 0; /* the commas */

    for (size_t i = 0; i < m->count; i++)
        size += m->list[i].size;
    return size;
}

/* Removes the last large member, or else the last. */
static void remove_one(struct members *m)
{
    size_t i = m->count;

    while (i > 0 && m->list[i - 1].size <= MEMBER_LARGE)
        i--;
    size_t gone = i > 0 ? i - 1 : m->count - 1;
    m->count--;
    memmove(&m->list[gone], &m->list[gone + 1], (m->count - gone) * sizeof m->list[0]);
}

/* `out` has room for TRACESTATE_MAX and a NUL. */
static void write_state(const struct trace_fields *given, char *out)
{
    struct members m;

    m.count = 0;
    *out = '\0';
    if (given->states > TRACESTATE_MEMBERS)
        return;
    for (size_t i = 0; i < given->states; i++)
        if (!take_members(given->state[i], &m))
            return;
    while (joined_size(&m) > TRACESTATE_MAX)
        remove_one(&m);
    for (size_t i = 0; i < m.count; i++) {
        if (i > 0)
            *out++ = ',';
        memcpy(out, m.list[i].text, m.list[i].size);
        out += m.list[i].size;
        *out = '\0';
    }
}

/* ---- both ---- */

void trace_add_parent(struct trace_fields *fields, const char *value)
{
    if (fields->parents++ == 0)
        fields->parent = value;
}

void trace_add_state(struct trace_fields *fields, const char *value)
{
    if (fields->states < TRACESTATE_MEMBERS)
        fields->state[fields->states] = value;
    fields->states++;
}

void trace_begin(const struct trace_fields *given, struct trace *out)
{
    if (given->parents == 1 && can_follow(given->parent)) {
        follow_trace(given->parent, out);
        write_state(given, out->state);
    } else {
        start_trace(out);
        out->state[0] = '\0';
    }
}
