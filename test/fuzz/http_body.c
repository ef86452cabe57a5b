/*
 * http_body.c - a request's body, by Content-Length or in chunks, as its bytes come.
 *
 *   first byte   then
 *   l            the length in two bytes, and the body
 *   else         the body in chunks
 *
 * However it is cut, the data, the verdict and the end are the same.  A chunked body that
 * is taken is read once more, by a reader that has all of it.
 */
#include "fuzz/fuzz.h"
#include "http/body.h"

struct taken {
    uint8_t *data; /* as much as the input has */
    size_t size, used;
    enum http_reason reason;
};

/* In pieces of `step` bytes, each of a size of its own. */
static struct taken take(const struct http_head *head, struct input in, size_t step)
{
    struct http_body body = http_body_start(head);
    struct taken taken = {.data = malloc(in.left + 1), .reason = HTTP_MORE};

    assert(taken.data != NULL);
    do {
        size_t size, at = 0;
        char *piece = (char *)input_bytes(&in, step, &size);
        do {
            struct http_text data;
            size_t used;
            taken.reason = http_body_take(&body, piece + at, size - at, &used, &data);
            assert(used <= size - at && data.size <= used);
            memcpy(taken.data + taken.size, data.at, data.size);
            taken.size += data.size;
            at += used;
        } while (taken.reason == HTTP_MORE && at < size);
        taken.used += at;
        free(piece);
    } while (taken.reason == HTTP_MORE && in.left > 0);
    return taken;
}

/* ---- a reader of whole chunked bodies ---------------------------------------------------- */

/* Behind the line's CRLF. */
static const uint8_t *behind_line(const uint8_t *at, const uint8_t *end)
{
    const uint8_t *lf = memchr(at, '\n', (size_t)(end - at));

    assert(lf != NULL && lf > at && lf[-1] == '\r');
    return lf + 1;
}

static void check_chunks(const struct taken *taken, const uint8_t *at, const uint8_t *end)
{
    size_t size = 0, chunk;

    do {
        char *stop;
        chunk = strtoull((const char *)at, &stop, 16);
        assert((const uint8_t *)stop > at && memchr("\r; \t", *stop, 4) != NULL);
        at = behind_line(at, end);
        if (chunk == 0)
            break;
        assert((size_t)(end - at) >= chunk + 2 && size + chunk <= taken->size);
        assert(memcmp(taken->data + size, at, chunk) == 0);
        assert(memcmp(at + chunk, "\r\n", 2) == 0);
        size += chunk;
        at += chunk + 2;
    } while (true);
    while (memcmp(at, "\r\n", 2) != 0) {
        assert(memchr(at, ':', (size_t)(end - at)) != NULL);
        at = behind_line(at, end);
    }
    assert(size == taken->size && at + 2 == end);
}

/* ---- all of it --------------------------------------------------------------------------- */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t STEPS[] = {1, 2, 7};
    struct input in = {data, size};
    struct http_head head = {.length = -1};

    if (input_byte(&in) == 'l') {
        head.length = input_byte(&in) << 8;
        head.length |= input_byte(&in);
    } else {
        head.chunked = true;
    }
    struct taken whole = take(&head, in, in.left + 1);
    for (size_t i = 0; i < sizeof STEPS / sizeof STEPS[0]; i++) {
        struct taken cut = take(&head, in, STEPS[i]);
        assert(cut.reason == whole.reason && cut.used == whole.used);
        assert(cut.size == whole.size && memcmp(cut.data, whole.data, cut.size) == 0);
        free(cut.data);
    }
    if (whole.reason == HTTP_OK && head.chunked)
        check_chunks(&whole, in.at, in.at + whole.used);
    if (!head.chunked)
        assert(whole.reason == ((size_t)head.length <= in.left ? HTTP_OK : HTTP_MORE));
    free(whole.data);
    return 0;
}
