/*
 * ids.h - ULIDs, and validity checks of ids and texts from outside.
 *
 * A ULID is 26 characters of Crockford's base 32: 48 bits of Unix milliseconds, then 80
 * random bits, so ids sort by the time they were made.  https://github.com/ulid/spec
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ULID_LENGTH = 26, ULID_SIZE = ULID_LENGTH + 1, UUID_LENGTH = 36 };

#define ULID_MS_END (INT64_C(1) << 48) /* the first time that no ULID can hold */

/* Random bytes for ids, at most 1,024 at a time; not for keys.  Not fork-safe: parent and
 * child would get the same bytes. */
void random_take(void *out, size_t size);

/* A new, unique ULID, NUL-terminated.  Thread-safe. */
void ulid_make(char out[ULID_SIZE]);

/* The lowest ULID of that time, Unix milliseconds; before 1970, the lowest of all. */
void ulid_floor(int64_t wall_ms, char out[ULID_SIZE]);

/* The creation time, Unix milliseconds, of a valid ULID. */
int64_t ulid_ms(const char *text);

/* A range of ids, ordered by time: from `least` to `end`, without `end`. */
struct ulid_range {
    char least[ULID_SIZE], end[ULID_SIZE + 40];
};

/* Ids created at `since_ms` or later, before `until_ms` (0: no limit), and less than
 * `before`, at most 64 bytes ("": any). */
struct ulid_range ulid_range(int64_t since_ms, int64_t until_ms, const char *before);

/* Narrows the range to that id, or to nothing if the range does not hold it. */
void ulid_range_only(struct ulid_range *range, const char *id);

/* Whether text is a ULID in canonical form: capitals, first character 0 to 7. */
bool ulid_valid(const char *text);

/* Whether text is a UUID in canonical form: lower case, 8-4-4-4-12, any version. */
bool uuid_valid(const char *text);

/* Whether text is 1 to NAME_LENGTH_MAX of A-Z a-z 0-9 _ - : carts, payment methods. */
bool name_valid(const char *text);

/* Whether text is 1 to SKU_LENGTH_MAX of A-Z a-z 0-9 . _ - : SKUs. */
bool sku_valid(const char *text);

/* Whether text is 1 to CART_VERSION_MAX of A-Z a-z 0-9: a cart's version. */
bool cart_version_valid(const char *text);

/* Whether text is `least` to `most` visible ASCII characters (0x21 to 0x7e). */
bool visible_ascii(const char *text, size_t least, size_t most);

/* Whether text is 0 to `most` printable ASCII characters (0x20 to 0x7e). */
bool printable_ascii(const char *text, size_t most);

/* Whether text is 0 to `most` bytes of well-formed UTF-8 with no control character. */
bool utf8_valid(const char *text, size_t most);

/* Length of the longest prefix of at most `most` bytes that cuts no UTF-8 character. */
size_t utf8_prefix(const char *text, size_t most);

/* Whether text has the form of an ISO 4217 currency: three capitals. */
bool currency_valid(const char *text);
