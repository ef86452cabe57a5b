/* body.c - see body.h. */
#include "http/body.h"

#include "base/text.h"

/* In wire order; chunked bodies begin at SIZE, others at DATA_ALONE. */
enum state {
    DATA_ALONE,
    SIZE,
    EXT_NEXT,    /* blanks, then ';' */
    EXT_NAME,    /* blanks, then a token */
    EXT_NAMED,   /* in the token */
    EXT_EQUALS,  /* blanks behind it, then '=' or ';' */
    EXT_VALUE,   /* blanks, then a token or a quoted string */
    EXT_TOKEN,   /* in the token */
    EXT_QUOTED,  /* in the quoted string */
    EXT_ESCAPED, /* behind a backslash in it */
    EXT_DONE,    /* behind its closing quote */
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER, /* at the start of a line */
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    LAST_LF,
    END,
};

enum { DIGITS_MAX = 15 }; /* of a size: less than 2^60 */

struct http_body http_body_start(const struct http_head *head)
{
    struct http_body body = {.state = DATA_ALONE};

    if (head->chunked)
        body.state = SIZE;
    else if (head->length > 0)
        body.left = head->length;
    else
        body.state = END;
    return body;
}

static bool blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Behind the CR of a size line: data follows, or the trailer after the last chunk. */
static enum http_reason end_size_line(struct http_body *b, char c)
{
    if (c != '\n')
        return HTTP_CHUNK_SIZE;
    b->state = b->left > 0 ? DATA : TRAILER;
    return HTTP_MORE;
}

static enum http_reason take_size(struct http_body *b, char c)
{
    int value = hex_digit(c);

    if (value >= 0 && b->digits < DIGITS_MAX) {
        b->left = b->left * 16 + value;
        b->digits++;
        return HTTP_MORE;
    }
    if (b->digits == 0 || value >= 0)
        return HTTP_CHUNK_SIZE;
    if (c != '\r' && c != ';' && !blank(c))
        return HTTP_CHUNK_SIZE;
    b->state = c == '\r' ? SIZE_LF : c == ';' ? EXT_NAME : EXT_NEXT;
    return HTTP_MORE;
}

/* Behind a name or a value.  Blanks are only allowed before '=' and ';', so they lead to
 * another state. */
static enum http_reason end_part(struct http_body *b, char c, bool name)
{
    if (c == '=' && name)
        b->state = EXT_VALUE;
    else if (c == ';')
        b->state = EXT_NAME;
    else if (c == '\r')
        b->state = SIZE_LF;
    else if (blank(c))
        b->state = name ? EXT_EQUALS : EXT_NEXT;
    else
        return HTTP_CHUNK_EXTENSION;
    return HTTP_MORE;
}

/* Goes to the next state, or refuses a byte that is not allowed. */
static enum http_reason stay_or(struct http_body *b, bool allowed, enum state next)
{
    if (!allowed)
        return HTTP_CHUNK_EXTENSION;
    b->state = next;
    return HTTP_MORE;
}

/* chunk-ext = *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] ) */
static enum http_reason take_extension(struct http_body *b, char c)
{
    const bool token = http_token_byte((unsigned char)c);
    const bool value = http_value_byte((unsigned char)c);

    if (++b->extensions > HTTP_EXTENSIONS_MAX)
        return HTTP_CHUNK_EXTENSION;
    switch ((enum state)b->state) {
    case EXT_NEXT:
        return stay_or(b, blank(c) || c == ';', c == ';' ? EXT_NAME : EXT_NEXT);
    case EXT_NAME:
        return stay_or(b, blank(c) || token, token ? EXT_NAMED : EXT_NAME);
    case EXT_NAMED:
        return token ? HTTP_MORE : end_part(b, c, true);
    case EXT_EQUALS:
        return c == '\r' ? HTTP_CHUNK_EXTENSION : end_part(b, c, true);
    case EXT_VALUE:
        return stay_or(b, blank(c) || token || c == '"',
                       token      ? EXT_TOKEN
                       : c == '"' ? EXT_QUOTED
                                  : EXT_VALUE);
    case EXT_TOKEN:
        return token ? HTTP_MORE : end_part(b, c, false);
    case EXT_QUOTED:
        return stay_or(b, value,
                       c == '\\'  ? EXT_ESCAPED
                       : c == '"' ? EXT_DONE
                                  : EXT_QUOTED);
    case EXT_ESCAPED:
        return stay_or(b, value, EXT_QUOTED);
    default: /* EXT_DONE */
        return end_part(b, c, false);
    }
}

/* *( field-line CRLF ) CRLF */
static enum http_reason take_trailer(struct http_body *b, char c)
{
    if (++b->trailer > HTTP_TRAILER_MAX)
        return HTTP_TRAILER;
    switch ((enum state)b->state) {
    case TRAILER:
        if (c != '\r' && !http_token_byte((unsigned char)c))
            return HTTP_TRAILER;
        b->state = c == '\r' ? LAST_LF : TRAILER_NAME;
        return HTTP_MORE;
    case TRAILER_NAME:
        if (c != ':' && !http_token_byte((unsigned char)c))
            return HTTP_TRAILER;
        b->state = c == ':' ? TRAILER_VALUE : TRAILER_NAME;
        return HTTP_MORE;
    case TRAILER_VALUE:
        if (c != '\r' && !http_value_byte((unsigned char)c))
            return HTTP_TRAILER;
        b->state = c == '\r' ? TRAILER_LF : TRAILER_VALUE;
        return HTTP_MORE;
    case TRAILER_LF:
        if (c != '\n')
            return HTTP_TRAILER;
        b->state = TRAILER;
        return HTTP_MORE;
    default: /* LAST_LF */
        if (c != '\n')
            return HTTP_TRAILER;
        b->state = END;
        return HTTP_OK;
    }
}

/* One byte of framing. */
static enum http_reason take_framing(struct http_body *b, char c)
{
    switch ((enum state)b->state) {
    case SIZE:
        return take_size(b, c);
    case SIZE_LF:
        return end_size_line(b, c);
    case DATA_CR:
        b->state = DATA_LF;
        return c == '\r' ? HTTP_MORE : HTTP_CHUNK_END;
    case DATA_LF:
        b->state = SIZE;
        b->digits = 0;
        return c == '\n' ? HTTP_MORE : HTTP_CHUNK_END;
    case TRAILER:
    case TRAILER_NAME:
    case TRAILER_VALUE:
    case TRAILER_LF:
    case LAST_LF:
        return take_trailer(b, c);
    default:
        return take_extension(b, c);
    }
}

enum http_reason http_body_take(struct http_body *b, const char *bytes, size_t size,
                                size_t *used, struct http_text *data)
{
    enum http_reason reason = b->state == END ? HTTP_OK : HTTP_MORE;
    size_t at = 0;

    *data = (struct http_text){bytes, 0};
    while (reason == HTTP_MORE && at < size) {
        if (b->state != DATA && b->state != DATA_ALONE) {
            reason = take_framing(b, bytes[at++]);
            continue;
        }
        size_t most = size - at;
        size_t piece = (uint64_t)b->left < most ? (size_t)b->left : most;
        *data = (struct http_text){bytes + at, piece};
        b->left -= (int64_t)piece;
        at += piece;
        if (b->left == 0) {
            reason = b->state == DATA_ALONE ? HTTP_OK : HTTP_MORE;
            b->state = b->state == DATA_ALONE ? END : DATA_CR;
        }
        break; /* one piece per call */
    }
    *used = at;
    return reason;
}
