/*
 * mapping.c - HTTP requests as they become calls, and answers as they become HTTP.
 *
 *   input:  METHOD TARGET | fields, NAME: VALUE | an empty line | body, NUL | answer
 *
 * Each but the body ends at a newline.  A body that its head does not tell of gets a
 * Content-Length, and a request without Host gets one.  The answer is what the called
 * service says: a byte 'e' and an error (a code, then its subject), or a message
 * (message.h).  After one that is JSON and a NUL comes what is said to the next call; else
 * all are told the same.
 *
 * All of gateway/http/http.c runs, on a server that is here.  What is called is what the service
 * may be asked, and goes over the wire unchanged.  A request is answered once, with fields
 * that are fields, and JSON, whatever the service said; a final answer is remembered, and
 * given to the same request once more without a call.  Not here: heads (parse.c), bodies in
 * chunks (http_body.c), tokens (jwt.c).
 */
#include <strings.h>

#include "base/contract/buckets.h"
#include "base/contract/ids.h"
#include "base/log.h"
#include "fuzz/cart.h"
#include "fuzz/message.h"
#include "gateway/auth/jwt.h"
#include "gateway/auth/key_source.h"
#include "gateway/http/admission.h"
#include "gateway/http/http.h"
#include "gateway/http/request.h"
#include "proto/inventory.pb-c.h"
#include "proto/orders.pb-c.h"
#include "proto/rpc.pb-c.h"

#define USER "00000000-0000-4000-8000-00000000000a"

enum { BODY_MAX = 1000, PER_ADDRESS_MAX = 8 };

/* One request, as the server has it. */
struct http_exchange {
    struct arena *arena;
    void *user;
    struct http_answer answer;
    int answered;
};

static struct {
    struct input answer;
    int calls;
    const struct http_handler *handler;
    void *arg;
} world;

static const struct http_limits LIMITS = {
    .head = 8192, .target = 4096, .fields = 32, .body = BODY_MAX, .discard = BODY_MAX};

/* ---- in place of what is around ---------------------------------------------------------- */

struct err jwt_verify(struct jwt *jwt, const char *token, size_t size, int64_t now_s,
                      char user[UUID_LENGTH + 1])
{
    (void)jwt, (void)now_s;
    if (size != strlen("good") || memcmp(token, "good", size) != 0)
        return err_make(ERR_UNAUTHENTICATED, "no good token");
    memcpy(user, USER, sizeof USER);
    return ERR_NONE;
}

bool key_source_stale(const struct key_source *source)
{
    (void)source;
    return false;
}

bool buckets_take(struct buckets *buckets, const char *user, int64_t now_ms)
{
    (void)buckets, (void)now_ms;
    assert(strcmp(user, USER) == 0);
    return true;
}

/* ---- the server -------------------------------------------------------------------------- */

struct err http_server_open(const struct http_server_config *config,
                            struct http_server **out)
{
    world.handler = config->handler;
    world.arg = config->arg;
    *out = NULL;
    return ERR_NONE;
}

uint16_t http_server_port(const struct http_server *server)
{
    (void)server;
    return 0;
}

void http_server_quiesce(struct http_server *server)
{
    (void)server;
}

bool http_server_wait_idle(struct http_server *server, int64_t limit_ms)
{
    (void)server, (void)limit_ms;
    return true;
}

void http_server_close(struct http_server *server)
{
    (void)server;
}

char *http_text_copy(struct arena *arena, struct http_text text)
{
    char *made = arena_alloc(arena, text.size + 1);

    if (made != NULL)
        memcpy(made, text.at, text.size);
    return made;
}

struct arena *http_exchange_arena(struct http_exchange *x)
{
    return x->arena;
}

void http_exchange_set(struct http_exchange *x, void *user)
{
    x->user = user;
}

void *http_exchange_get(const struct http_exchange *x)
{
    return x->user;
}

const struct http_limits *http_exchange_limits(const struct http_exchange *x)
{
    (void)x;
    return &LIMITS;
}

bool http_exchange_reserve(struct http_exchange *x, const struct http_answer *answer)
{
    (void)x, (void)answer;
    return true;
}

void http_exchange_answer(struct http_exchange *x, const struct http_answer *answer)
{
    x->answer = *answer;
    x->answered++;
}

/* ---- what is called ---------------------------------------------------------------------- */

static void check_place(const Orders__V1__PlaceRequest *in)
{
    assert(strcmp(in->user_id, USER) == 0 && name_valid(in->cart_id));
    assert(name_valid(in->payment_method_id));
    assert(visible_ascii(in->idempotency_key, IDEMPOTENCY_KEY_MIN, IDEMPOTENCY_KEY_MAX));
    assert(in->fingerprint.len == FINGERPRINT_SIZE);
    assert(in->expected_total == NULL || (in->expected_total->cents >= 0 &&
                                          in->expected_total->cents <= TOTAL_CENTS_MAX));
    assert(*in->expected_currency == '\0' || currency_valid(in->expected_currency));
    assert(*in->expected_cart_version == '\0' ||
           cart_version_valid(in->expected_cart_version));
}

static void check_cart(const Orders__V1__PutCartRequest *in)
{
    assert(strcmp(in->user_id, USER) == 0 && name_valid(in->cart->cart_id));
    assert_lines(in->cart);
    assert_versions(in);
}

static void check_list(const Orders__V1__ListOrdersRequest *in)
{
    assert(strcmp(in->user_id, USER) == 0);
    assert(in->limit >= 0 && in->limit <= ORDERS_PAGE_MAX);
    assert(*in->idempotency_key == '\0' ||
           visible_ascii(in->idempotency_key, IDEMPOTENCY_KEY_MIN, IDEMPOTENCY_KEY_MAX));
}

static void check_order(const Orders__V1__GetOrderRequest *in)
{
    assert(strcmp(in->user_id, USER) == 0 && ulid_valid(in->order_id));
}

static void check_products(const Inventory__V1__ListProductsRequest *in)
{
    assert(in->limit >= 0 && in->limit <= PRODUCTS_PAGE_MAX && in->n_skus <= SKUS_MAX);
    assert(utf8_valid(in->q, SEARCH_SIZE_MAX) && utf8_valid(in->cursor, SIZE_MAX - 1));
    for (size_t i = 0; i < in->n_skus; i++)
        assert(world.calls > 1 ||
               sku_valid(in->skus[i])); /* a cart's are its service's */
}

static void check_request(const char *method, const ProtobufCMessage *in)
{
    if (strcmp(method, "orders.v1.Orders/Place") == 0)
        check_place((const Orders__V1__PlaceRequest *)in);
    else if (strcmp(method, "orders.v1.Orders/PutCart") == 0)
        check_cart((const Orders__V1__PutCartRequest *)in);
    else if (strcmp(method, "orders.v1.Orders/ListOrders") == 0)
        check_list((const Orders__V1__ListOrdersRequest *)in);
    else if (strcmp(method, "orders.v1.Orders/GetOrder") == 0)
        check_order((const Orders__V1__GetOrderRequest *)in);
    else if (strcmp(method, "orders.v1.Orders/GetCart") == 0)
        assert(name_valid(((const Orders__V1__GetCartRequest *)in)->cart_id));
    else if (strcmp(method, "inventory.v1.Inventory/ListProducts") == 0)
        check_products((const Inventory__V1__ListProductsRequest *)in);
    else
        assert(strcmp(method, "rpc.v1.Health/Check") == 0);
}

/* The service unpacks what was packed. */
static void check_wire(const ProtobufCMessage *message, struct arena *arena)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = message_memory(arena, 2 * size + 1);

    protobuf_c_message_pack(message, bytes);
    ProtobufCMessage *again = protobuf_c_message_unpack(
        message->descriptor, arena_protobuf(arena), size, bytes);
    assert(again != NULL && protobuf_c_message_get_packed_size(again) == size);
    protobuf_c_message_pack(again, bytes + size);
    assert(memcmp(bytes, bytes + size, size) == 0);
}

/* ---- what it says ------------------------------------------------------------------------ */

/* Any code, effect, money and subject; the subject is in the arena. */
static struct err error_of(struct input *in, struct arena *arena)
{
    unsigned code = input_byte(in), effect = input_byte(in);
    char *subject = input_text(in, '\n');
    struct err e =
        err_make((enum err_code)(1 + code % (ERR_CODES_COUNT - 1)), "%.99s", subject);

    e.effect = (enum err_effect)(effect % 3);
    e.money = (enum err_money)(effect / 3 % 4);
    e.retry_after_ms = effect * 100;
    if (subject[0] != '\0')
        e.subject = arena_strdup(arena, subject);
    free(subject);
    return e;
}

/* What the call at hand is answered with; see above. */
static struct input next_answer(void)
{
    struct input in = world.answer;
    const uint8_t *end =
        in.left > 0 && in.at[0] == 'j' ? memchr(in.at, '\0', in.left) : NULL;

    if (end != NULL) {
        world.answer = (struct input){end + 1, in.left - (size_t)(end + 1 - in.at)};
        in.left = (size_t)(end - in.at);
    }
    return in;
}

channel_ticket channel_call(struct channel *channel, const struct channel_call *call,
                            channel_done *done, void *arg)
{
    struct input in = next_answer();
    struct err e = ERR_NONE;
    ProtobufCMessage *reply = NULL;
    bool replayed = false;

    (void)channel;
    world.calls++;
    check_request(call->method, call->request);
    check_wire(call->request, call->arena);
    if (in.left > 0 && in.at[0] == 'e') {
        input_byte(&in);
        e = error_of(&in, call->arena);
        replayed = input_byte(&in) & 1;
    } else if ((reply = message_of(&in, call->arena, call->reply_type)) == NULL) {
        e = err_unknown(ERR_DATA_LOSS, "the answer does not unpack");
    }
    done(arg, e, reply, replayed);
    return 1;
}

void channel_cancel(struct channel *channel, channel_ticket ticket)
{
    (void)channel, (void)ticket;
    assert(false); /* nobody leaves */
}

/* ---- a request --------------------------------------------------------------------------- */

/* A head grows in here; what does not fit makes it one that is too large. */
struct head_bytes {
    char bytes[2 * 8192];
    size_t size;
};

static void add_line(struct head_bytes *out, const char *line, const char *more)
{
    size_t room = sizeof out->bytes - out->size;
    int size = snprintf(out->bytes + out->size, room, "%s%s\r\n", line, more);

    out->size += size < 0 ? 0 : (size_t)size < room ? (size_t)size : room - 1;
}

/* Without the line that ends it.  Whether it tells of a body. */
static bool write_head(struct input *in, struct head_bytes *out)
{
    bool has_host = false, has_body = false, last = false;
    char *line = input_text(in, '\n');

    add_line(out, line, " HTTP/1.1");
    free(line);
    while (!last && in->left > 0) {
        line = input_text(in, '\n');
        last = line[0] == '\0';
        has_host = has_host || strncasecmp(line, "Host:", 5) == 0;
        has_body = has_body || strncasecmp(line, "Content-Length:", 15) == 0 ||
                   strncasecmp(line, "Transfer-Encoding:", 18) == 0;
        if (!last)
            add_line(out, line, "");
        free(line);
    }
    if (!has_host)
        add_line(out, "Host: shop.example", "");
    return has_body;
}

static void refuse(struct http_exchange *x, const struct http_head *head,
                   enum http_reason reason)
{
    x->answer = (struct http_answer){.status = http_reason_status(reason)};
    world.handler->on_refusal(world.arg, x, head, reason, &x->answer);
    assert(x->answer.status == http_reason_status(reason));
    x->answered++;
}

/* As the server takes a request whose bytes are all there. */
static void serve(struct http_exchange *x, const struct http_head *head, char *body,
                  size_t size)
{
    bool whole = head->chunked || (head->length < 0 ? 0 : head->length) == (int64_t)size;

    world.handler->on_head(world.arg, x, head);
    if (x->answered > 0)
        return;
    if (head->length > BODY_MAX || size > BODY_MAX)
        refuse(x, NULL, HTTP_BODY_TOO_LARGE);
    else if (!whole)
        refuse(x, NULL, HTTP_INCOMPLETE);
    else
        world.handler->on_body(world.arg, x, body, size);
}

static bool is_route(const struct route *route)
{
    for (size_t i = 0; i < ROUTES.count; i++)
        if (&ROUTES.rows[i] == route)
            return true;
    return false;
}

/* Lines of a name that is a token, and a value. */
static void check_fields(struct http_text fields)
{
    const char *at = fields.at, *end = fields.at + fields.size;

    while (at < end) {
        const char *colon = memchr(at, ':', (size_t)(end - at));
        const char *stop = memmem(at, (size_t)(end - at), "\r\n", 2);
        assert(colon != NULL && stop != NULL && colon > at && colon < stop);
        for (; at < colon; at++)
            assert(http_token_byte((unsigned char)*at));
        for (; at < stop; at++)
            assert(http_value_byte((unsigned char)*at));
        at = stop + 2;
    }
}

static void check_answer(const struct http_exchange *x)
{
    const struct request *r = x->user;
    const struct answer *a = &r->answer;

    assert(x->answered == 1);
    assert(a->status >= 200 && a->status <= 599 && a->status == x->answer.status);
    assert(a->size == x->answer.body.size);
    check_fields(x->answer.fields);
    assert(r->route == NULL || is_route(r->route));
    if (a->status != 204 && a->status != 304 && a->content_type == NULL) {
        json_t *json = json_loadb(a->body, a->size, JSON_ALLOW_NUL, NULL);
        assert(json_is_object(json));
        assert(a->status < 400 || json_is_string(json_object_get(json, "code")));
        json_decref(json);
    }
    assert(a->location == NULL || (strncmp(a->location, "/v1/orders/", 11) == 0 &&
                                   visible_ascii(a->location, 12, 64)));
}

/* One request of the input, answered; the answer lives in the arena. */
static struct answer run(struct input in, struct arena *arena)
{
    static struct head_bytes bytes;
    static struct http_head head;
    struct http_exchange x = {.arena = arena};
    char length[64];

    bytes.size = 0;
    bool has_body = write_head(&in, &bytes);
    const uint8_t *end = in.left == 0 ? NULL : memchr(in.at, '\0', in.left);
    size_t size = end == NULL ? in.left : (size_t)(end - in.at);
    char *body = input_text(&in, '\0');
    world.answer = in;
    snprintf(length, sizeof length, "Content-Length: %zu", size);
    if (size > 0 && !has_body)
        add_line(&bytes, length, "");
    add_line(&bytes, "", "");
    enum http_reason reason = http_parse(bytes.bytes, bytes.size, &LIMITS, &head);
    assert(reason != HTTP_MORE || bytes.size < LIMITS.head);
    if (reason == HTTP_OK)
        serve(&x, &head, body, size);
    else
        refuse(&x, &head, reason == HTTP_MORE ? HTTP_INCOMPLETE : reason);
    check_answer(&x);
    world.handler->on_end(world.arg, &x);
    free(body); /* of the request its answer is left, which is the arena's */
    return ((struct request *)x.user)->answer;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    log_start("fuzz", LOG_ERROR);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct channel *channel = (struct channel *)(void *)&world; /* never looked into */
    struct gateway gateway = {.routes = &ROUTES,
                              .session_cookie = "session",
                              .cors_origins = "https://shop.example",
                              .orchestrator = channel,
                              .inventory = channel};
    struct http_config config = {.per_address_max = PER_ADDRESS_MAX};
    struct input in = {data, size};
    struct err e = response_cache_open(1, &gateway.response_cache);
    struct arena *arenas[] = {arena_new(REQUEST_ARENA_MAX), arena_new(REQUEST_ARENA_MAX)};
    struct http *http = NULL;

    if (!failed(e))
        e = http_start(&config, &gateway, &http);
    assert(!failed(e));
    world.calls = 0;
    struct answer first = run(in, arenas[0]);
    bool called = world.calls == 1;
    assert(world.calls <= 2); /* a cart, and its products */
    struct answer again = run(in, arenas[1]);
    if (called && world.calls == 1) {
        assert(again.replayed && again.status == first.status);
        assert(again.size == first.size);
        assert(memcmp(again.body, first.body, first.size) == 0);
    }
    http_stop(http);
    arena_free(arenas[1]);
    arena_free(arenas[0]);
    response_cache_close(gateway.response_cache);
    return 0;
}
