/* parse.c - see parse.h. */
#include "http/parse.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* ---- classes of bytes ---- */

enum {
    TOKEN = 1,   /* RFC 9110, 5.6.2 */
    PATH = 2,    /* pchar and '/', without '%' (RFC 3986, 3.3) */
    NAME = 4,    /* reg-name, without '%' (RFC 3986, 3.2.2) */
    DIGIT = 8,   /* 0 to 9 */
    HEX = 16,    /* 0 to 9, a to f, A to F */
    TARGET = 32, /* any target: PATH, '?', '%' and '*' */
    QUERY = 64,  /* what no URI may hold, but browsers send in a query */
};

#define ALPHA_UNRESERVED (TOKEN | PATH | NAME | TARGET)

/* clang-format off */
static const unsigned char CLASS[256] = {
    ['0' ... '9'] = ALPHA_UNRESERVED | DIGIT | HEX,
    ['A' ... 'F'] = ALPHA_UNRESERVED | HEX,  ['G' ... 'Z'] = ALPHA_UNRESERVED,
    ['a' ... 'f'] = ALPHA_UNRESERVED | HEX,  ['g' ... 'z'] = ALPHA_UNRESERVED,
    /* unreserved */
    ['-'] = ALPHA_UNRESERVED,  ['.'] = ALPHA_UNRESERVED,
    ['_'] = ALPHA_UNRESERVED,  ['~'] = ALPHA_UNRESERVED,
    /* sub-delims */
    ['!'] = ALPHA_UNRESERVED,  ['$'] = ALPHA_UNRESERVED,  ['&'] = ALPHA_UNRESERVED,
    ['\''] = ALPHA_UNRESERVED, ['*'] = ALPHA_UNRESERVED,  ['+'] = ALPHA_UNRESERVED,
    ['('] = PATH | NAME | TARGET,  [')'] = PATH | NAME | TARGET,
    [','] = PATH | NAME | TARGET,  [';'] = PATH | NAME | TARGET,
    ['='] = PATH | NAME | TARGET,
    /* the rest of a path or target */
    [':'] = PATH | TARGET,  ['@'] = PATH | TARGET,  ['/'] = PATH | TARGET,
    ['?'] = TARGET,         ['%'] = TOKEN | TARGET,
    /* the rest of a token */
    ['#'] = TOKEN,  ['^'] = TOKEN | QUERY,  ['`'] = TOKEN | QUERY,  ['|'] = TOKEN | QUERY,
    /* the rest of a query */
    ['['] = QUERY,  ['\\'] = QUERY,  [']'] = QUERY,  ['{'] = QUERY,  ['}'] = QUERY,
};
/* clang-format on */

static bool is(char byte, unsigned class)
{
    return (CLASS[(unsigned char)byte] & class) != 0;
}

bool http_token_byte(unsigned char byte)
{
    return (CLASS[byte] & TOKEN) != 0;
}

bool http_value_byte(unsigned char byte)
{
    return (byte >= 0x20 && byte != 0x7f) || byte == '\t';
}

/* How many bytes at `at` are of that class. */
static size_t span(const char *at, const char *end, unsigned class)
{
    const char *from = at;

    while (at < end && is(*at, class))
        at++;
    return (size_t)(at - from);
}

static bool all(struct http_text text, unsigned class)
{
    return span(text.at, text.at + text.size, class) == text.size;
}

/* Branch-free, so that compilers vectorize it. */
static bool has_control(const char *at, size_t size)
{
    unsigned found = 0;

    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)at[i];
        found |= (unsigned)(c < 0x20) & (unsigned)(c != '\t');
        found |= (unsigned)(c == 0x7f);
    }
    return found != 0;
}

/* ---- lines ---- */

struct lines {
    const char *at;  /* start of the next line */
    const char *end; /* of the bytes, or of the largest head */
    bool full;       /* a line must end before `end` */
};

/* The next line without its CRLF. */
static enum http_reason next_line(struct lines *lines, struct http_text *line)
{
    const char *lf = memchr(lines->at, '\n', (size_t)(lines->end - lines->at));

    if (lf == NULL)
        return lines->full ? HTTP_HEAD_TOO_LARGE : HTTP_MORE;
    if (lf == lines->at || lf[-1] != '\r')
        return HTTP_LINE_END;
    *line = (struct http_text){lines->at, (size_t)(lf - 1 - lines->at)};
    if (has_control(line->at, line->size))
        return memchr(line->at, '\r', line->size) != NULL ? HTTP_LINE_END : HTTP_CONTROL;
    lines->at = lf + 1;
    return HTTP_OK;
}

/* ---- hosts ---- */

/* "[" IPv6 or IPvFuture "]"; returns behind it, or NULL. */
static const char *after_literal(const char *at, const char *end)
{
    const char *close = memchr(at, ']', (size_t)(end - at));
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;
    size_t size = close == NULL ? 0 : (size_t)(close - at - 1);

    if (size == 0)
        return NULL;
    if ((at[1] | 0x20) == 'v') { /* "v" 1*HEXDIG "." 1*( unreserved / ... / ":" ) */
        const char *dot = at + 2 + span(at + 2, close, HEX), *rest = dot + 1;
        bool good = dot > at + 2 && dot < close && *dot == '.' && rest < close;
        while (good && rest < close && (is(*rest, NAME) || *rest == ':'))
            rest++;
        return good && rest == close ? close + 1 : NULL;
    }
    if (size >= sizeof text)
        return NULL;
    memcpy(text, at + 1, size);
    text[size] = '\0';
    return inet_pton(AF_INET6, text, &address) == 1 ? close + 1 : NULL;
}

static const char *after_name(const char *at, const char *end)
{
    const char *from = at;

    while (at < end) {
        if (is(*at, NAME))
            at++;
        else if (*at == '%' && end - at > 2 && is(at[1], HEX) && is(at[2], HEX))
            at += 3;
        else
            break;
    }
    return at > from ? at : NULL;
}

/* host [ ":" port ], without userinfo: uri-host of RFC 9110, 7.2. */
static bool host_good(struct http_text host)
{
    const char *end = host.at + host.size;
    const char *at = host.size > 0 && host.at[0] == '[' ? after_literal(host.at, end)
                                                        : after_name(host.at, end);

    if (at == NULL)
        return false;
    if (at == end)
        return true;
    unsigned long port = 0;
    size_t digits = span(at + 1, end, DIGIT);
    if (*at != ':' || at + 1 + digits != end || digits > 5)
        return false;
    for (size_t i = 1; i <= digits; i++)
        port = port * 10 + (unsigned long)(at[i] - '0');
    return port <= 65535;
}

/* ---- the request line ---- */

static enum http_reason check_encoding(struct http_text text)
{
    const char *end = text.at + text.size;

    for (const char *at = text.at; (at = memchr(at, '%', (size_t)(end - at))) != NULL;
         at += 3)
        if (end - at < 3 || !is(at[1], HEX) || !is(at[2], HEX))
            return HTTP_TARGET_ENCODING;
    return HTTP_OK;
}

/* path [ "?" query ]; nothing at all is "/", as in http://shop.example?x=y. */
static enum http_reason split_path(struct http_text rest, struct http_head *head)
{
    const char *mark = memchr(rest.at, '?', rest.size);
    size_t path = mark == NULL ? rest.size : (size_t)(mark - rest.at);

    head->path =
        path > 0 ? (struct http_text){rest.at, path} : (struct http_text){"/", 1};
    head->query = mark == NULL ? (struct http_text){"", 0}
                               : (struct http_text){mark + 1, rest.size - path - 1};
    if (head->path.at[0] != '/' || !all(head->path, TARGET) ||
        !all(head->query, TARGET | QUERY))
        return HTTP_TARGET;
    return check_encoding(rest);
}

static bool text_equals(struct http_text text, const char *string)
{
    return text.size == strlen(string) && memcmp(text.at, string, text.size) == 0;
}

/* About the server as a whole; only for OPTIONS. */
static enum http_reason read_asterisk(struct http_head *head)
{
    head->asterisk = true;
    head->path = head->query = (struct http_text){"", 0};
    return HTTP_OK;
}

/* scheme "://" authority path: the authority is the host (RFC 9112, 3.2.2).  For OPTIONS
 * no path and no query are "*" (3.2.4). */
static enum http_reason read_absolute(struct http_text target, struct http_head *head)
{
    const char *end = target.at + target.size, *at = NULL;

    if (target.size > 7 && strncasecmp(target.at, "http://", 7) == 0)
        at = target.at + 7;
    else if (target.size > 8 && strncasecmp(target.at, "https://", 8) == 0)
        at = target.at + 8;
    if (at == NULL)
        return HTTP_TARGET;
    const char *rest = at;
    while (rest < end && *rest != '/' && *rest != '?')
        rest++;
    head->host = (struct http_text){at, (size_t)(rest - at)};
    if (!host_good(head->host))
        return HTTP_TARGET;
    if (rest == end && text_equals(head->method, "OPTIONS"))
        return read_asterisk(head);
    return split_path((struct http_text){rest, (size_t)(end - rest)}, head);
}

static enum http_reason read_target(struct http_text target, struct http_head *head)
{
    head->host = (struct http_text){NULL, 0};
    if (text_equals(head->method, "CONNECT"))
        return HTTP_CONNECT;
    if (text_equals(target, "*") && text_equals(head->method, "OPTIONS"))
        return read_asterisk(head);
    if (target.at[0] == '/')
        return split_path(target, head);
    return read_absolute(target, head);
}

/* Whether the bytes are HTTP/DIGIT.DIGIT. */
static bool is_version(struct http_text text)
{
    return text.size == 8 && memcmp(text.at, "HTTP/", 5) == 0 && is(text.at[5], DIGIT) &&
           text.at[6] == '.' && is(text.at[7], DIGIT);
}

/* Kept even if the request is refused: an answer to HEAD has no body. */
static void read_method(const char *at, const char *end, struct http_head *head)
{
    size_t size = span(at, end, TOKEN);

    if (size > 0 && at + size < end && at[size] == ' ')
        head->method = (struct http_text){at, size};
}

/* method SP target SP version (RFC 9112, 3); the method was read. */
static enum http_reason read_request_line(struct http_text line, size_t target_max,
                                          struct http_head *head)
{
    const char *end = line.at + line.size;
    const char *target = line.at + head->method.size + 1;

    if (head->method.size == 0)
        return HTTP_REQUEST_LINE;
    const char *space = memchr(target, ' ', (size_t)(end - target));
    if (space == NULL || space == target)
        return HTTP_REQUEST_LINE;
    struct http_text version = {space + 1, (size_t)(end - space - 1)};
    if (!is_version(version))
        return HTTP_REQUEST_LINE;
    size_t size = (size_t)(space - target);
    if (version.at[5] != '1')
        return HTTP_VERSION;
    if (size > target_max)
        return HTTP_TARGET_TOO_LONG;
    enum http_reason reason = read_target((struct http_text){target, size}, head);
    if (reason == HTTP_OK)
        head->target = (struct http_text){target, size};
    head->http_1_0 = head->close = version.at[7] == '0';
    return reason;
}

/* ---- the fields that say which host is addressed and where the request ends ---- */

struct framing {
    struct http_text host;
    bool has_host, has_encoding;
    bool not_chunked; /* the codings so far do not end with chunked */
};

/* The next member of a comma-separated list; advances *at.  False at the end. */
static bool next_member(const char **at, const char *end, struct http_text *member)
{
    if (*at >= end)
        return false;
    const char *comma = memchr(*at, ',', (size_t)(end - *at));
    const char *stop = comma != NULL ? comma : end, *from = *at;
    while (from < stop && (*from == ' ' || *from == '\t'))
        from++;
    *at = comma != NULL ? comma + 1 : end;
    while (stop > from && (stop[-1] == ' ' || stop[-1] == '\t'))
        stop--;
    *member = (struct http_text){from, (size_t)(stop - from)};
    return true;
}

static enum http_reason on_host(struct http_text value, struct framing *f)
{
    if (f->has_host)
        return HTTP_HOST_TWICE;
    f->has_host = true;
    f->host = value;
    return host_good(value) ? HTTP_OK : HTTP_HOST;
}

static enum http_reason on_length(struct http_text value, struct http_head *head)
{
    enum { DIGITS_MAX = 18 }; /* what an int64_t always holds, behind zeros */
    size_t zeros = 0;

    if (head->length >= 0)
        return HTTP_LENGTH_TWICE;
    if (value.size == 0 || span(value.at, value.at + value.size, DIGIT) != value.size)
        return HTTP_LENGTH;
    while (zeros < value.size && value.at[zeros] == '0')
        zeros++;
    if (value.size - zeros > DIGITS_MAX) {
        head->length = INT64_MAX;
        return HTTP_OK;
    }
    head->length = 0;
    for (size_t i = 0; i < value.size; i++)
        head->length = head->length * 10 + (value.at[i] - '0');
    return HTTP_OK;
}

/* RFC 9112, 6.1 and 6.3: the last coding must be "chunked", or the body has no end. */
static enum http_reason on_encoding(struct http_text value, struct framing *f)
{
    const char *at = value.at, *end = value.at + value.size;
    struct http_text member = {"", 0};

    if (f->has_encoding)
        return HTTP_ENCODING_TWICE;
    f->has_encoding = true;
    if (http_text_is(value, "chunked"))
        return HTTP_OK;
    while (next_member(&at, end, &member))
        ;
    f->not_chunked = !http_text_is(member, "chunked");
    return f->not_chunked ? HTTP_OK : HTTP_ENCODING_UNKNOWN;
}

static void on_connection(struct http_text value, struct http_head *head)
{
    const char *at = value.at, *end = value.at + value.size;
    struct http_text member;

    while (next_member(&at, end, &member))
        head->close = head->close || http_text_is(member, "close");
}

static enum http_reason on_expect(struct http_text value, struct http_head *head)
{
    if (head->http_1_0) /* RFC 9110, 10.1.1: ignored there */
        return HTTP_OK;
    head->expects_continue = http_text_is(value, "100-continue");
    return head->expects_continue ? HTTP_OK : HTTP_EXPECTATION;
}

static enum http_reason look_at_field(const struct http_field *field, struct framing *f,
                                      struct http_head *head)
{
    if (http_text_is(field->name, "Host"))
        return on_host(field->value, f);
    if (http_text_is(field->name, "Expect"))
        return on_expect(field->value, head);
    if (http_text_is(field->name, "Connection"))
        on_connection(field->value, head);
    if (http_text_is(field->name, "Content-Length"))
        return on_length(field->value, head);
    if (http_text_is(field->name, "Transfer-Encoding"))
        return on_encoding(field->value, f);
    return HTTP_OK;
}

/* Rules over several fields. */
static enum http_reason check_together(const struct framing *f, struct http_head *head)
{
    if (!f->has_host && !head->http_1_0)
        return HTTP_HOST_MISSING;
    if (head->host.at == NULL)
        head->host = f->has_host ? f->host : (struct http_text){"", 0};
    if (f->not_chunked)
        return HTTP_ENCODING_NOT_LAST;
    if (f->has_encoding && head->length >= 0)
        return HTTP_LENGTH_AND_ENCODING;
    if (f->has_encoding && head->http_1_0)
        return HTTP_ENCODING_IN_1_0;
    head->chunked = f->has_encoding;
    return HTTP_OK;
}

/* ---- fields ---- */

static enum http_reason read_field(struct http_text line, struct http_field *field)
{
    const char *end = line.at + line.size;
    size_t name = span(line.at, end, TOKEN);
    const char *from = line.at + name + 1;

    if (line.at[0] == ' ' || line.at[0] == '\t')
        return HTTP_FOLDED;
    if (name == 0 || name == line.size || line.at[name] != ':')
        return HTTP_FIELD_NAME;
    while (from < end && (*from == ' ' || *from == '\t'))
        from++;
    while (end > from && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    field->name = (struct http_text){line.at, name};
    field->value = (struct http_text){from, (size_t)(end - from)};
    return HTTP_OK;
}

static enum http_reason read_fields(struct lines *lines, const struct http_limits *limits,
                                    struct http_head *head)
{
    size_t most = limits->fields < HTTP_FIELDS_MAX ? limits->fields : HTTP_FIELDS_MAX;
    struct framing f = {.has_host = false};
    struct http_text line;

    for (;;) {
        enum http_reason reason = next_line(lines, &line);
        if (reason != HTTP_OK)
            return reason;
        if (line.size == 0)
            return check_together(&f, head);
        if (head->count == most)
            return HTTP_TOO_MANY_FIELDS;
        struct http_field *field = &head->fields[head->count];
        reason = read_field(line, field);
        if (reason == HTTP_OK)
            reason = look_at_field(field, &f, head);
        if (reason != HTTP_OK)
            return reason;
        head->count++;
    }
}

/* Refuses what cannot become a request before its line is complete: a TLS client on the
 * wrong port would wait for ever. */
static bool begins_well(const char *at, const char *end)
{
    return at == end || is(*at, TOKEN) ||
           (*at == '\r' && (end - at == 1 || at[1] == '\n'));
}

enum http_reason http_parse(const char *bytes, size_t size,
                            const struct http_limits *limits, struct http_head *head)
{
    bool full = size >= limits->head;
    struct lines lines = {bytes, bytes + (full ? limits->head : size), full};
    struct http_text line;

    head->method = head->target = (struct http_text){"", 0};
    head->asterisk = head->expects_continue = head->chunked = false;
    head->length = -1;
    head->count = 0;
    /* RFC 9112, 2.2: some clients send an empty line after a body. */
    if (size >= 2 && bytes[0] == '\r' && bytes[1] == '\n')
        lines.at += 2;
    if (!begins_well(lines.at, lines.end))
        return HTTP_REQUEST_LINE;
    read_method(lines.at, lines.end, head);
    enum http_reason reason = next_line(&lines, &line);
    if (reason == HTTP_HEAD_TOO_LARGE) /* only the target may be that long */
        return head->method.size > 0 ? HTTP_TARGET_TOO_LONG : HTTP_REQUEST_LINE;
    if (reason == HTTP_OK)
        reason = read_request_line(line, limits->target, head);
    if (reason == HTTP_OK)
        reason = read_fields(&lines, limits, head);
    if (reason == HTTP_OK)
        head->size = (size_t)(lines.at - bytes);
    return reason;
}

/* ---- reasons ---- */

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

    /* The only directive in the table is %zu; a lone % is itself. */
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
