/*
 * mapping.c - HTTP requests as they become calls, and answers as they become HTTP.
 *
 *   input:  METHOD TARGET | fields, NAME: VALUE | an empty line | body, NUL | answer
 *
 * Each but the body ends at a newline.  The answer is what the called service says: a
 * byte 'e' and an error (a code, then its subject), or a message (message.h).
 *
 * What is called is what the service may be asked, and goes over the wire unchanged.  What
 * is answered is JSON, whatever the service said; a final answer is remembered, and given
 * to the same request once more without a call.  Not here: heads (head.c), tokens (jwt.c).
 */
#include "base/ids.h"
#include "base/log.h"
#include "fuzz/cart.h"
#include "fuzz/message.h"
#include "gateway/admit.h"
#include "gateway/answers.h"
#include "gateway/buckets.h"
#include "gateway/conns.h"
#include "gateway/jwt.h"
#include "gateway/problem.h"
#include "proto/inventory.pb-c.h"
#include "proto/orders.pb-c.h"
#include "proto/rpc.pb-c.h"

#define USER "00000000-0000-4000-8000-00000000000a"

static struct {
    struct input answer;
    int calls;
    bool suspended;
} world;

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

bool buckets_take(struct buckets *buckets, const char *user, int64_t now_ms)
{
    (void)buckets, (void)now_ms;
    assert(strcmp(user, USER) == 0);
    return true;
}

void MHD_suspend_connection(struct MHD_Connection *connection)
{
    (void)connection;
    assert(!world.suspended);
    world.suspended = true;
}

void MHD_resume_connection(struct MHD_Connection *connection)
{
    (void)connection;
    assert(world.suspended);
    world.suspended = false;
}

const union MHD_ConnectionInfo *MHD_get_connection_info(struct MHD_Connection *connection,
                                                        enum MHD_ConnectionInfoType type,
                                                        ...)
{
    static const union MHD_ConnectionInfo NOTHING;

    (void)connection, (void)type;
    return &NOTHING;
}

void conn_call(struct conn *conn, struct channel *channel, channel_ticket ticket)
{
    (void)conn, (void)channel, (void)ticket;
}

void loop_wake(struct loop *loop)
{
    (void)loop;
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
    else
        assert(strcmp(method, "inventory.v1.Inventory/ListProducts") == 0 ||
               strcmp(method, "rpc.v1.Health/Check") == 0);
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

/* Any code, effect and subject; the subject is in the arena. */
static struct err error_of(struct input *in, struct arena *arena)
{
    unsigned code = input_byte(in), effect = input_byte(in);
    char *subject = input_text(in, '\n');
    struct err e =
        err_make((enum err_code)(1 + code % (ERR_CODES_COUNT - 1)), "%.99s", subject);

    e.effect = (enum err_effect)(effect % 3);
    e.retry_after_ms = effect * 100;
    if (subject[0] != '\0')
        e.subject = arena_strdup(arena, subject);
    free(subject);
    return e;
}

channel_ticket channel_call(struct channel *channel, const struct channel_call *call,
                            channel_done *done, void *arg)
{
    struct input in = world.answer;
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

/* ---- a request --------------------------------------------------------------------------- */

static void read_fields(struct input *in, struct request *r, char **lines, size_t count)
{
    for (size_t i = 0; i < count && in->left > 0; i++) {
        char *line = lines[i] = input_text(in, '\n'), *colon = strchr(line, ':');
        if (line[0] == '\0')
            return;
        if (colon == NULL)
            continue;
        *colon = '\0';
        head_add(&r->head, line, colon + 1 + strspn(colon + 1, " "));
    }
}

/* As http.c takes a request that has come whole. */
static void handle(struct request *r, const char *body, size_t size)
{
    struct err e = head_check(&r->head, r->method, "HTTP/1.1");

    if (!failed(e))
        e = admit(r);
    if (failed(e))
        r->error = e;
    bool taken = (size / 2 == 0 || request_take_body(r, body, size / 2)) &&
                 (size == 0 || request_take_body(r, body + size / 2, size - size / 2));
    if (!taken || failed(r->error))
        request_fail(r, r->error);
    else if (r->route == NULL)
        r->answer.status = 204; /* OPTIONS */
    else if (failed(e = r->route->handle(r)))
        request_fail(r, e);
    assert(!world.suspended);
}

static bool is_route(const struct route *route)
{
    for (size_t i = 0; i < routes_count(); i++)
        if (routes_at(i) == route)
            return true;
    return false;
}

static void check_answer(const struct request *r)
{
    const struct answer *a = &r->answer;

    assert(a->status >= 200 && a->status <= 599);
    assert(r->route == NULL || is_route(r->route));
    if (a->status != 204 && a->status != 304 && a->content_type == NULL) {
        json_t *json = json_loadb(a->body, a->size, JSON_ALLOW_NUL, NULL);
        assert(json_is_object(json));
        assert(a->status < 400 || json_is_string(json_object_get(json, "code")));
        json_decref(json);
    }
    assert(a->location == NULL || strncmp(a->location, "/v1/orders/", 11) == 0);
}

enum { FIELDS_MAX = 16 };

/* One request of the input, answered; it lives in the arena. */
static struct request *run(const struct gateway *gateway, struct input in,
                           struct arena *arena)
{
    char *lines[FIELDS_MAX] = {NULL}, *method = input_text(&in, ' ');
    char *target = input_text(&in, '\n');
    struct request *r = request_new(gateway, NULL, target, arena);

    assert(r != NULL);
    r->method = method;
    read_fields(&in, r, lines, FIELDS_MAX);
    if (r->head.host == NULL)
        head_add(&r->head, "Host", "shop.example");
    const uint8_t *end = in.left == 0 ? NULL : memchr(in.at, '\0', in.left);
    size_t size = end == NULL ? in.left : (size_t)(end - in.at);
    char *body = (char *)input_bytes(&in, size, &size);
    input_byte(&in);
    world.answer = in;
    handle(r, body, size);
    check_answer(r);
    free(body); /* of the request its answer is left, which is the arena's */
    for (size_t i = 0; i < FIELDS_MAX; i++)
        free(lines[i]);
    free(target);
    free(method);
    return r;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    log_start("fuzz", LOG_ERROR);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gateway gateway = {.session_cookie = "session", .cors_origins = ""};
    struct input in = {data, size};
    struct err e = answers_open(1, &gateway.answers);
    struct arena *arenas[] = {arena_new(REQUEST_ARENA_MAX), arena_new(REQUEST_ARENA_MAX)};

    assert(!failed(e));
    world.calls = 0;
    struct request *first = run(&gateway, in, arenas[0]);
    bool called = world.calls == 1;
    assert(world.calls <= 1);
    struct request *again = run(&gateway, in, arenas[1]);
    if (called && world.calls == 1) {
        assert(again->answer.replayed && again->answer.status == first->answer.status);
        assert(again->answer.size == first->answer.size);
        assert(memcmp(again->answer.body, first->answer.body, first->answer.size) == 0);
    }
    arena_free(arenas[1]);
    arena_free(arenas[0]);
    answers_close(gateway.answers);
    return 0;
}
