/* json_numbers.c - see json_numbers.h. */
#include "cli/schema/json_numbers.h"

#include <string.h>

/* Before a number's text, and behind it. */
static const char MARK[] = "\"\\u0000", END[] = "\"";

/* ---- the grammar of a number ------------------------------------------------------- */

static size_t digits(const char *text, size_t size)
{
    size_t count = 0;

    while (count < size && text[count] >= '0' && text[count] <= '9')
        count++;
    return count;
}

bool json_number_valid_of(const char *text, size_t size)
{
    size_t at = size > 0 && *text == '-', run = digits(text + at, size - at);

    if (run == 0 || (run > 1 && text[at] == '0'))
        return false;
    at += run;
    if (at < size && text[at] == '.') {
        at++;
        run = digits(text + at, size - at);
        if (run == 0)
            return false;
        at += run;
    }
    if (at < size && (text[at] == 'e' || text[at] == 'E')) {
        at++;
        at += at < size && (text[at] == '+' || text[at] == '-');
        run = digits(text + at, size - at);
        if (run == 0)
            return false;
        at += run;
    }
    return at == size;
}

bool json_number_valid(const char *text)
{
    return json_number_valid_of(text, strlen(text));
}

/* ---- marking ----------------------------------------------------------------------- */

/* A text that is walked once to count, and once more to write. */
struct marking {
    char *out; /* NULL: only counted */
    size_t size;
    bool malformed;
    const char *zero; /* where a text holds a zero character; or NULL */
};

static void put(struct marking *m, const char *bytes, size_t size)
{
    if (m->out != NULL)
        memcpy(m->out + m->size, bytes, size);
    m->size += size;
}

/* Past a string's closing quote, or at the end of a text that has none. */
static const char *end_of_string(struct marking *m, const char *at, const char *end)
{
    for (at++; at < end && *at != '"'; at++) {
        if (*at != '\\')
            continue;
        if (end - at >= 6 && memcmp(at, "\\u0000", 6) == 0)
            m->zero = at;
        at++;
    }
    return at < end ? at + 1 : end;
}

static const char *end_of_number(struct marking *m, const char *begin, const char *end)
{
    const char *at = begin;

    while (at < end && *at != '\0' && strchr("+-.0123456789Ee", *at) != NULL)
        at++;
    m->malformed |= !json_number_valid_of(begin, (size_t)(at - begin));
    return at;
}

static void mark(struct marking *m, const char *text, size_t size)
{
    const char *end = text + size;

    m->size = 0;
    for (const char *at = text, *next; at < end; at = next) {
        bool number = *at == '-' || (*at >= '0' && *at <= '9');
        next = number       ? end_of_number(m, at, end)
               : *at == '"' ? end_of_string(m, at, end)
                            : at + 1;
        if (number)
            put(m, MARK, sizeof MARK - 1);
        put(m, at, (size_t)(next - at));
        if (number)
            put(m, END, sizeof END - 1);
    }
}

/* ---- reading ----------------------------------------------------------------------- */

/* The line and column of a place, from 1. */
static struct err zero_at(const char *text, const char *place)
{
    int line = 1, column = 1;

    for (; text < place; text++) {
        column = *text == '\n' ? 1 : column + 1;
        line += *text == '\n';
    }
    return err_make(ERR_INVALID_ARGUMENT,
                    "line %d, column %d: a zero character, which no text can hold here",
                    line, column);
}

/* What jansson has against it as it is, by its own lines and columns. */
static struct err malformed(const char *text, size_t size)
{
    json_error_t error = {.line = 1, .column = 1, .text = "a number is malformed"};

    json_decref(
        json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &error));
    return err_make(ERR_INVALID_ARGUMENT, "not JSON at line %d, column %d: %s",
                    error.line, error.column, error.text);
}

struct err json_read_numbers(const char *text, size_t size, struct arena *arena,
                             json_t **out)
{
    const char *zero = memchr(text, '\0', size);
    struct marking m = {.zero = NULL};

    *out = NULL;
    mark(&m, text, size);
    if (zero != NULL || m.zero != NULL)
        return zero_at(text, zero != NULL ? zero : m.zero);
    if (m.malformed)
        return malformed(text, size);
    m.out = arena_alloc(arena, m.size + 1);
    if (m.out == NULL)
        return err_memory();
    mark(&m, text, size);
    *out = json_loadb(m.out, m.size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    return *out == NULL ? malformed(text, size) : ERR_NONE;
}

const char *json_number_text(const json_t *json)
{
    const char *text = json_string_value(json);

    return text != NULL && text[0] == '\0' && json_string_length(json) > 0 ? text + 1
                                                                           : NULL;
}

bool json_is_text(const json_t *json)
{
    return json_is_string(json) && json_number_text(json) == NULL;
}
