/*
 * http_tool.c - reads requests as the gateway does, for http_requests.py.
 *
 *      http_tool [PIECE] < BYTES
 *
 * BYTES is what a client sent on one connection; with PIECE it comes in pieces of so many
 * bytes.  Texts are in hexadecimal.  Each request is told as
 *
 *      request METHOD TARGET
 *      field NAME VALUE        one line each
 *      body BYTES
 *
 * and the last line says why no other follows:
 *
 *      end                     all bytes are read
 *      more AT                 the request that begins at the byte AT is not complete
 *      close LEFT              the client said that it was the last; LEFT bytes follow it
 *      refused NAME STATUS AT  the request that begins at AT
 */
#include <stdio.h>
#include <stdlib.h>

#include "http/body.h"
#include "http/parse.h"

enum { BYTES_MAX = 1 << 20 };

/* The gateway's; see gateway/http/http.c. */
static const struct http_limits LIMITS = {
    .head = 32 << 10,
    .target = 8 << 10,
    .fields = HTTP_FIELDS_MAX,
    .body = 64 << 10,
};

static const char *const NAMES[HTTP_REASONS_COUNT] = {
#define X(name, status, ends, sentence, limit) [HTTP_##name] = #name,
    HTTP_REASONS(X)
#undef X
};

struct input {
    const char *bytes;
    size_t size;
    size_t come; /* of size */
    size_t at;   /* what is before it is read */
    size_t piece;
};

/* False: nothing more comes. */
static bool next_piece(struct input *in)
{
    const size_t left = in->size - in->come;

    in->come += left < in->piece ? left : in->piece;
    return left > 0;
}

static void print_hex(struct http_text text)
{
    for (size_t i = 0; i < text.size; i++)
        printf("%02x", (unsigned char)text.at[i]);
}

static void print_pair(const char *what, struct http_text first, struct http_text second)
{
    printf("%s ", what);
    print_hex(first);
    printf(" ");
    print_hex(second);
    printf("\n");
}

static enum http_reason read_head(struct input *in, struct http_head *head)
{
    enum http_reason reason;

    do
        reason = http_parse(in->bytes + in->at, in->come - in->at, &LIMITS, head);
    while (reason == HTTP_MORE && next_piece(in));
    if (reason != HTTP_OK)
        return reason;
    in->at += head->size;
    print_pair("request", head->method, head->target);
    for (size_t i = 0; i < head->count; i++)
        print_pair("field", head->fields[i].name, head->fields[i].value);
    return HTTP_OK;
}

static enum http_reason read_body(struct input *in, const struct http_head *head)
{
    struct http_body body = http_body_start(head);
    struct http_text data;
    enum http_reason reason;
    size_t used, whole = 0;

    if (head->length > (int64_t)LIMITS.body)
        return HTTP_BODY_TOO_LARGE;
    printf("body ");
    do {
        reason =
            http_body_take(&body, in->bytes + in->at, in->come - in->at, &used, &data);
        in->at += used;
        whole += data.size;
        print_hex(data);
        if (whole > LIMITS.body)
            reason = HTTP_BODY_TOO_LARGE;
    } while (reason == HTTP_MORE && (in->at < in->come || next_piece(in)));
    printf("\n");
    return reason;
}

static void read_requests(struct input *in)
{
    struct http_head head;

    while (in->at < in->size) {
        const size_t from = in->at;
        enum http_reason reason = read_head(in, &head);

        if (reason == HTTP_OK)
            reason = read_body(in, &head);
        if (reason == HTTP_MORE) {
            printf("more %zu\n", from);
            return;
        }
        if (reason != HTTP_OK) {
            printf("refused %s %u %zu\n", NAMES[reason], http_reason_status(reason),
                   from);
            return;
        }
        if (head.close) {
            printf("close %zu\n", in->size - in->at);
            return;
        }
    }
    printf("end\n");
}

int main(int argc, char **argv)
{
    static char buffer[BYTES_MAX];
    struct input in = {.size = fread(buffer, 1, sizeof buffer, stdin)};

    in.piece = argc == 2 ? strtoul(argv[1], NULL, 10) : sizeof buffer;
    if (argc > 2 || in.piece == 0 || in.size == sizeof buffer) {
        fprintf(stderr, "usage: http_tool [PIECE] < BYTES   (less than %d)\n", BYTES_MAX);
        return 2;
    }
    in.bytes = buffer;
    read_requests(&in);
    return 0;
}
