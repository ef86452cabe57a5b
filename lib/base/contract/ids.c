/* ids.c - see ids.h. */
#include "base/contract/ids.h"

#include <assert.h>
#include <sodium.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/contract/bounds.h"
#include "base/text.h"

static const char CROCKFORD[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

static void write_time(uint64_t time, char *out)
{
    for (int i = 9; i >= 0; i--, time >>= 5)
        out[i] = CROCKFORD[time & 31];
}

void ulid_floor(int64_t wall_ms, char out[ULID_SIZE])
{
    memset(out, '0', ULID_LENGTH);
    write_time(wall_ms > 0 ? (uint64_t)wall_ms : 0, out);
    out[ULID_LENGTH] = '\0';
}

int64_t ulid_ms(const char *text)
{
    int64_t ms = 0;

    for (int i = 0; i < 10; i++)
        ms = ms << 5 | (strchr(CROCKFORD, text[i]) - CROCKFORD);
    return ms;
}

struct ulid_range ulid_range(int64_t since_ms, int64_t until_ms, const char *before)
{
    struct ulid_range range = {.end = "~"}; /* greater than any id */

    ulid_floor(since_ms, range.least);
    if (until_ms > 0)
        ulid_floor(until_ms, range.end);
    if (before[0] != '\0' && strcmp(before, range.end) < 0)
        strncpy(range.end, before, sizeof range.end - 1);
    return range;
}

void ulid_range_only(struct ulid_range *range, const char *id)
{
    bool among = strcmp(id, range->least) >= 0 && strcmp(id, range->end) < 0;

    snprintf(range->least, sizeof range->least, "%s", id);
    snprintf(range->end, sizeof range->end, "%s%s", id, among ? "!" : "");
}

/* libsodium makes a system call each time, to detect a fork; so each thread fetches bytes
 * in bulk. */
void random_take(void *out, size_t size)
{
    static _Thread_local uint8_t pool[1024];
    static _Thread_local size_t left;

    assert(size <= sizeof pool);
    if (left < size) {
        randombytes_buf(pool, sizeof pool);
        left = sizeof pool;
    }
    left -= size;
    memcpy(out, pool + left, size);
    sodium_memzero(pool + left, size);
}

void ulid_make(char out[ULID_SIZE])
{
    uint8_t random[10];

    random_take(random, sizeof random);
    write_time((uint64_t)clock_wall_ms(), out);
    for (int half = 0; half < 2; half++) {
        uint64_t bits = 0;
        for (int i = 0; i < 5; i++)
            bits = bits << 8 | random[half * 5 + i];
        for (int i = 7; i >= 0; i--, bits >>= 5)
            out[10 + half * 8 + i] = CROCKFORD[bits & 31];
    }
    out[ULID_LENGTH] = '\0';
}

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool ulid_valid(const char *text)
{
    return strlen(text) == ULID_LENGTH && text[0] <= '7' &&
           strspn(text, CROCKFORD) == ULID_LENGTH;
}

bool uuid_valid(const char *text)
{
    if (strlen(text) != UUID_LENGTH)
        return false;
    for (int i = 0; i < UUID_LENGTH; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        bool hex = digit(text[i]) || (text[i] >= 'a' && text[i] <= 'f');
        if (dash ? text[i] != '-' : !hex)
            return false;
    }
    return true;
}

static bool made_of(const char *text, const char *others, size_t most)
{
    size_t length = strnlen(text, most + 1);

    if (length < 1 || length > most)
        return false;
    for (size_t i = 0; i < length; i++)
        if (!digit(text[i]) && !letter(text[i]) && strchr(others, text[i]) == NULL)
            return false;
    return true;
}

bool name_valid(const char *text)
{
    return made_of(text, "_-", NAME_LENGTH_MAX);
}

bool sku_valid(const char *text)
{
    return made_of(text, "._-", SKU_LENGTH_MAX);
}

bool cart_version_valid(const char *text)
{
    return made_of(text, "", CART_VERSION_MAX);
}

/* Whether text is `least` to `most` characters of 7 bits, none of them below `lowest`. */
static bool ascii(const char *text, size_t least, size_t most, char lowest)
{
    size_t length = strnlen(text, most + 1);

    if (length < least || length > most)
        return false;
    for (size_t i = 0; i < length; i++)
        if (text[i] < lowest || text[i] > 0x7e)
            return false;
    return true;
}

bool visible_ascii(const char *text, size_t least, size_t most)
{
    return ascii(text, least, most, '!');
}

bool printable_ascii(const char *text, size_t most)
{
    return ascii(text, 0, most, ' ');
}

bool utf8_valid(const char *text, size_t most)
{
    size_t length = strnlen(text, most + 1);

    if (length > most)
        return false;
    for (size_t at = 0, size; at < length; at += size) {
        size = utf8_length((const unsigned char *)text + at, length - at);
        if (size == 0 || (unsigned char)text[at] < 0x20 || text[at] == 0x7f)
            return false;
    }
    return true;
}

size_t utf8_prefix(const char *text, size_t most)
{
    size_t size = strnlen(text, most + 1);

    if (size <= most)
        return size;
    for (size = most; size > 0 && ((unsigned char)text[size] & 0xc0) == 0x80;)
        size--;
    return size;
}

bool currency_valid(const char *text)
{
    return strlen(text) == 3 && strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 3;
}
