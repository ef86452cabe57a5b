/*
 * server_test.c - what a server runs, what it refuses, and that nothing sent to it makes
 * it stop.  Frames are made by hand here where a channel would not make them.
 */
#include "unit/rpc/fixture.h"

#include "rpc/wire/batch.h"
#include "rpc/wire/envelope.h"
#include "rpc/wire/seal.h"

/* A server of the small shop on a socket of its own, and a channel to it. */
struct scene {
    struct world w;
    struct shop shop;
    const char *url;
    struct rpc_server *server;
    struct channel *channel;
};

static void scene_make(struct scene *s, size_t in_flight_max)
{
    world_make(&s->w);
    shop_make(&s->shop);
    s->url = in(&s->w.folder, "ipc://", "shop.sock");
    s->server = serve_shop(&s->w, &s->shop, s->url, in_flight_max);
    s->channel = open_channel(&s->w, s->url, 600);
}

static void scene_end(struct scene *s)
{
    channel_close(s->channel);
    rpc_server_stop(s->server, 1000);
    world_end(&s->w);
}

static void call_method(struct scene *s, const char *method, struct answer *a)
{
    Inventory__V1__GetStockRequest request = INVENTORY__V1__GET_STOCK_REQUEST__INIT;

    answer_make(a);
    struct channel_call call = {.method = method,
                                .request = &request.base,
                                .reply_type = &inventory__v1__get_stock_reply__descriptor,
                                .arena = a->arena,
                                .deadline_ms = clock_monotonic_ms() + 10000};
    channel_call(s->channel, &call, on_answer, a);
    answer_wait(a);
}

/* ------------------------------------------------------------------------- answers */

static void a_handler_answers_at_once_or_later_from_another_thread(void **state)
{
    static const char *const skus[] = {"now", "later"};
    struct scene s;

    (void)state;
    scene_make(&s, 4);
    for (int round = 0; round < 50; round++) {
        struct answer a;
        ask(s.channel, skus[round % 2], 10000, &a);
        answer_wait(&a);
        assert_ok(a.error);
        assert_string_equal(a.stock->sku, skus[round % 2]);
        assert_int_equal(a.stock->available, 42);
        assert_false(a.replayed);
        answer_end(&a);
    }
    scene_end(&s);
}

static void the_handler_knows_who_calls(void **state)
{
    struct scene s;
    struct answer a;

    (void)state;
    scene_make(&s, 4);
    ask(s.channel, "caller", 10000, &a);
    answer_wait(&a);
    assert_string_equal(a.stock->sku, "client");
    answer_end(&a);
    scene_end(&s);
}

static void an_error_comes_with_its_name_subject_and_effect(void **state)
{
    struct scene s;
    struct answer a;

    (void)state;
    scene_make(&s, 4);
    ask(s.channel, "short", 10000, &a);
    answer_wait(&a);
    assert_int_equal(a.error.code, ERR_OUT_OF_STOCK);
    assert_int_equal(a.error.effect, EFFECT_NONE);
    assert_string_equal(a.error.subject, "A,B");
    assert_string_equal(a.error.message, "not enough of A and B");
    assert_null(a.reply);
    answer_end(&a);
    struct err e = ask_error(s.channel, "applied", 10000);
    assert_int_equal(e.code, ERR_ALREADY_EXISTS);
    assert_int_equal(e.effect, EFFECT_APPLIED);
    scene_end(&s);
}

static void a_repeated_answer_says_that_it_is_one(void **state)
{
    struct scene s;
    struct answer a;

    (void)state;
    scene_make(&s, 4);
    ask(s.channel, "replayed", 10000, &a);
    answer_wait(&a);
    assert_ok(a.error);
    assert_true(a.replayed);
    answer_end(&a);
    assert_ok(ask_error(s.channel, "now", 10000));
    scene_end(&s);
}

static void an_error_says_when_to_retry(void **state)
{
    struct scene s;

    (void)state;
    scene_make(&s, 4);
    assert_int_equal(ask_error(s.channel, "hint", 10000).retry_after_ms, 1234);
    assert_true(ask_error(s.channel, "busy", 10000).retry_after_ms > 0);
    assert_int_equal(ask_error(s.channel, "applied", 10000).retry_after_ms, 0);
    scene_end(&s);
}

static void ask_with(struct scene *s, const char *sku,
                     const struct rpc_metadata *metadata, size_t count, struct answer *a)
{
    Inventory__V1__GetStockRequest request = INVENTORY__V1__GET_STOCK_REQUEST__INIT;

    answer_make(a);
    request.sku = (char *)sku;
    channel_call(
        s->channel,
        &(struct channel_call){.method = GET_STOCK,
                               .request = &request.base,
                               .reply_type = &inventory__v1__get_stock_reply__descriptor,
                               .arena = a->arena,
                               .deadline_ms = clock_monotonic_ms() + 10000,
                               .metadata = metadata,
                               .metadata_count = count},
        on_answer, a);
    answer_wait(a);
}

static void metadata_reaches_the_handler_of_its_own_call(void **state)
{
    const struct rpc_metadata some[] = {{"tenant", "Łódź 7"}, {"x-empty", ""}};
    static const struct {
        const char *sku, *told;
        size_t count;
    } cases[] = {{"metadata:tenant", "Łódź 7", 2},
                 {"metadata:x-empty", "", 2},
                 {"metadata:other", "(none)", 2},
                 {"metadata:tenant", "(none)", 0}};
    struct scene s;

    (void)state;
    scene_make(&s, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct answer a;
        ask_with(&s, cases[i].sku, some, cases[i].count, &a);
        assert_ok(a.error);
        assert_string_equal(a.stock->sku, cases[i].told);
        answer_end(&a);
    }
    scene_end(&s);
}

static void metadata_out_of_bounds_is_refused_before_it_is_sent(void **state)
{
    static char large[600];
    struct rpc_metadata many[17];
    const struct rpc_metadata bad[][2] = {
        {{"", "x"}, {"ok", ""}},        {{"Upper", "x"}, {"ok", ""}},
        {{"a b", "x"}, {"ok", ""}},     {{"a", "x\n"}, {"ok", ""}},
        {{"a", "\xff"}, {"ok", ""}},    {{"a", large}, {"ok", ""}},
        {{"same", "1"}, {"same", "2"}},
    };
    struct scene s;
    struct answer a;

    (void)state;
    memset(large, 'x', sizeof large - 1);
    scene_make(&s, 1);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ask_with(&s, "now", bad[i], 2, &a);
        assert_code(a.error, ERR_INVALID_ARGUMENT);
        answer_end(&a);
    }
    for (int i = 0; i < 17; i++)
        many[i] = (struct rpc_metadata){"k", "v"};
    ask_with(&s, "now", many, 17, &a);
    assert_code(a.error, ERR_INVALID_ARGUMENT);
    answer_end(&a);
    assert_int_equal(s.shop.asked, 0);
    scene_end(&s);
}

static void details_of_internal_errors_are_not_sent_to_callers(void **state)
{
    struct scene s;

    (void)state;
    scene_make(&s, 4);
    struct err e = ask_error(s.channel, "secret", 10000);
    assert_int_equal(e.code, ERR_INTERNAL);
    assert_null(strstr(e.message, "SELECT"));
    scene_end(&s);
}

static void an_unknown_method_is_unimplemented_and_a_forbidden_one_denied(void **state)
{
    static const struct {
        const char *method;
        enum err_code code;
    } cases[] = {
        {"inventory.v1.Inventory/GetNothing", ERR_UNIMPLEMENTED},
        {"none.v1.None/Nothing", ERR_UNIMPLEMENTED},
        {"inventory.v1.Inventory/AdjustStock", ERR_PERMISSION_DENIED},
        {"inventory.v1.Inventory", ERR_PERMISSION_DENIED},
        {"rpc.v1.Health/Checked", ERR_PERMISSION_DENIED},
    };
    struct scene s;

    (void)state;
    scene_make(&s, 4);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct answer a;
        call_method(&s, cases[i].method, &a);
        assert_code(a.error, cases[i].code);
        assert_int_equal(a.error.effect, EFFECT_NONE);
        answer_end(&a);
    }
    assert_int_equal(s.shop.asked, 0);
    scene_end(&s);
}

static void an_unknown_caller_is_unauthenticated_and_nothing_runs(void **state)
{
    struct scene s;
    struct channel *channel;

    (void)state;
    scene_make(&s, 4);
    struct channel_config config = {.service = "server",
                                    .addresses = s.url,
                                    .key = s.w.stranger,
                                    .services = s.w.stranger_services,
                                    .in_flight_max = 4};
    assert_ok(channel_open(&config, &channel));
    assert_code(ask_error(channel, "now", 10000), ERR_UNAUTHENTICATED);
    assert_int_equal(s.shop.asked, 0);
    channel_close(channel);
    scene_end(&s);
}

static void an_answer_too_large_to_send_is_an_error_that_says_it_happened(void **state)
{
    struct scene s;
    struct answer a;

    (void)state;
    scene_make(&s, 4);
    call_method(&s, "inventory.v1.Inventory/ListProducts", &a);
    assert_int_equal(a.error.code, ERR_OUT_OF_RANGE);
    assert_int_equal(a.error.effect, EFFECT_APPLIED);
    answer_end(&a);
    assert_ok(ask_error(s.channel, "now", 10000));
    scene_end(&s);
}

static struct err not_well(void *arg)
{
    return err_make(ERR_UNAVAILABLE, "%s is away", (const char *)arg);
}

static void health_is_served_to_every_caller_and_says_what_is_missing(void **state)
{
    struct scene s;
    struct answer a;
    Rpc__V1__HealthCheckRequest request = RPC__V1__HEALTH_CHECK_REQUEST__INIT;
    struct channel_call call = {.method = "rpc.v1.Health/Check",
                                .request = &request.base,
                                .reply_type = &rpc__v1__health_check_reply__descriptor};

    (void)state;
    scene_make(&s, 4);
    for (int sick = 0; sick < 2; sick++) {
        struct rpc_server_config config = {.url =
                                               in(&s.w.folder, "ipc://", "health.sock"),
                                           .callers = s.w.callers,
                                           .in_flight_max = 2,
                                           .health = sick ? not_well : NULL,
                                           .health_arg = "the database"};
        struct rpc_server *server;
        assert_ok(rpc_server_start(&config, &server));
        struct channel *channel = open_channel(&s.w, config.url, 1);
        answer_make(&a);
        call.arena = a.arena;
        call.deadline_ms = clock_monotonic_ms() + 10000;
        channel_call(channel, &call, on_answer, &a);
        answer_wait(&a);
        assert_ok(a.error);
        const Rpc__V1__HealthCheckReply *reply = (const void *)a.reply;
        assert_int_equal(reply->status,
                         sick ? RPC__V1__HEALTH_CHECK_REPLY__STATUS__NOT_SERVING
                              : RPC__V1__HEALTH_CHECK_REPLY__STATUS__SERVING);
        assert_string_equal(reply->detail, sick ? "the database is away" : "");
        answer_end(&a);
        channel_close(channel);
        rpc_server_stop(server, 1000);
    }
    scene_end(&s);
}

/* ------------------------------------------------------------------------- raw frames */

/* One nng request socket without a channel around it. */
struct raw {
    nng_socket socket;
    struct seal_session session;
    const struct principal *server;
    uint8_t nonce[SEAL_NONCE_SIZE];
};

static void raw_make(struct raw *r, struct scene *s)
{
    r->server = principals_find(s->w.services, "server", 6);
    seal_session_start(&r->session, key_public(s->w.client), r->server->public_key);
    assert_int_equal(nng_req0_open(&r->socket), 0);
    nng_socket_set_ms(r->socket, NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE);
    nng_socket_set_ms(r->socket, NNG_OPT_RECVTIMEO, 10000);
    nng_socket_set_ms(r->socket, NNG_OPT_SENDTIMEO, 10000);
    nng_socket_set_ms(r->socket, NNG_OPT_RECONNMINT, 5);
    assert_int_equal(nng_dial(r->socket, s->url, NULL, 0), 0);
}

static nng_msg *raw_send(struct raw *r, const void *frame, size_t size)
{
    nng_msg *message;

    assert_int_equal(nng_msg_alloc(&message, 0), 0);
    assert_int_equal(nng_msg_append(message, frame, size), 0);
    assert_int_equal(nng_sendmsg(r->socket, message, 0), 0);
    int rv = nng_recvmsg(r->socket, &message, 0);
    assert_true(rv == 0 || rv == NNG_ECONNRESET);
    return rv == 0 ? message : NULL;
}

static nng_msg *raw_seal(struct raw *r, const Rpc__V1__Request *request)
{
    nng_msg *frame = envelope_pack(&request->base, seal_request_overhead("client"));

    seal_session_next(&r->session, r->nonce);
    seal_request(nng_msg_body(frame), nng_msg_len(frame), "client", r->nonce,
                 r->server->shared);
    return frame;
}

static void raw_request(Rpc__V1__Request *request)
{
    static uint8_t packed[16];
    Inventory__V1__GetStockRequest stock = INVENTORY__V1__GET_STOCK_REQUEST__INIT;

    *request = (Rpc__V1__Request)RPC__V1__REQUEST__INIT;
    stock.sku = "now";
    request->method = GET_STOCK;
    request->id = "raw-call";
    request->timeout_ms = 10000;
    request->sent_at_ms = clock_wall_ms() + 1; /* the server may have started just now */
    request->payload.data = packed;
    request->payload.len = inventory__v1__get_stock_request__pack(&stock, packed);
}

/* The status in the sealed answer, or 1000 + the reason of a refusal. */
static int raw_status(struct raw *r, nng_msg *frame)
{
    uint8_t *body, *text;
    size_t size;
    struct err e;
    int status;

    assert_non_null(frame);
    body = nng_msg_body(frame);
    if (seal_is_refusal(body, nng_msg_len(frame), &e)) {
        status = 1000 + body[1];
    } else {
        assert_true(seal_open_response(body, nng_msg_len(frame), r->nonce,
                                       r->server->shared, &text, &size));
        Rpc__V1__Response *response = rpc__v1__response__unpack(NULL, size, text);
        assert_non_null(response);
        status = (int)response->status;
        rpc__v1__response__free_unpacked(response, NULL);
    }
    nng_msg_free(frame);
    return status;
}

static int raw_call(struct raw *r, const Rpc__V1__Request *request)
{
    nng_msg *frame = raw_seal(r, request);
    nng_msg *answer = raw_send(r, nng_msg_body(frame), nng_msg_len(frame));

    nng_msg_free(frame);
    return raw_status(r, answer);
}

static void an_envelope_out_of_bounds_is_refused_and_nothing_runs(void **state)
{
    struct scene s;
    struct raw r;
    Rpc__V1__Metadata upper = RPC__V1__METADATA__INIT, *one[] = {&upper}, *many[17];
    Rpc__V1__Request ok, bad[13];
    char long_text[200], long_state[TRACESTATE_MAX + 2];

    (void)state;
    scene_make(&s, 4);
    raw_make(&r, &s);
    raw_request(&ok);
    memset(long_text, 'a', sizeof long_text);
    long_text[199] = '\0';
    memset(long_state, 'a', sizeof long_state);
    long_state[TRACESTATE_MAX + 1] = '\0';
    for (int i = 0; i < 13; i++)
        bad[i] = ok;
    upper.key = "Upper";
    for (int i = 0; i < 17; i++)
        many[i] = &upper;
    bad[9].metadata = one;
    bad[9].n_metadata = 1;
    bad[10].metadata = many;
    bad[10].n_metadata = 17;
    bad[0].method = "";
    bad[1].method = long_text;
    bad[2].id = "";
    bad[3].id = long_text;
    bad[4].id = "a\nb";
    bad[5].timeout_ms = 0;
    bad[6].timeout_ms = RPC_TIMEOUT_MAX_MS + 1;
    bad[7].traceparent = long_text;
    bad[8].payload.data = (uint8_t *)"\x0a\xff";
    bad[8].payload.len = 2;
    bad[11].tracestate = long_state;
    bad[12].tracestate = "a=\n";
    for (int i = 0; i < 13; i++)
        assert_int_equal(raw_call(&r, &bad[i]), ERR_INVALID_ARGUMENT);
    assert_int_equal(s.shop.asked, 0);
    long_state[TRACESTATE_MAX] = '\0';
    ok.tracestate = long_state;
    assert_int_equal(raw_call(&r, &ok), 0);
    assert_int_equal(s.shop.asked, 1);
    nng_close(r.socket);
    scene_end(&s);
}

static void a_request_past_its_deadline_is_not_run(void **state)
{
    struct scene s;
    struct raw r;
    Rpc__V1__Request request;

    (void)state;
    scene_make(&s, 4);
    raw_make(&r, &s);
    raw_request(&request);
    assert_int_equal(raw_call(&r, &request), 0); /* the session is known from here on */
    request.sent_at_ms = clock_wall_ms() - 5000;
    request.timeout_ms = 5000;
    assert_int_equal(raw_call(&r, &request), ERR_DEADLINE_EXCEEDED);
    assert_int_equal(s.shop.asked, 1);
    nng_close(r.socket);
    scene_end(&s);
}

static void a_request_from_another_time_is_not_run(void **state)
{
    struct scene s;
    struct raw r;
    Rpc__V1__Request request;

    (void)state;
    scene_make(&s, 4);
    raw_make(&r, &s);
    raw_request(&request);
    request.sent_at_ms -= 10000; /* before the server's start */
    request.timeout_ms = 60000;
    assert_int_equal(raw_call(&r, &request), 1000 + SEAL_TOO_EARLY);
    request.sent_at_ms -= 30000;
    assert_int_equal(raw_call(&r, &request), 1000 + SEAL_OUTSIDE_TIME);
    request.sent_at_ms += 80000;
    assert_int_equal(raw_call(&r, &request), 1000 + SEAL_OUTSIDE_TIME);
    assert_int_equal(s.shop.asked, 0);
    nng_close(r.socket);
    scene_end(&s);
}

static void a_frame_sent_again_is_not_run_again(void **state)
{
    struct scene s;
    struct raw r;
    Rpc__V1__Request request;

    (void)state;
    scene_make(&s, 4);
    raw_make(&r, &s);
    raw_request(&request);
    nng_msg *frame = raw_seal(&r, &request);
    assert_int_equal(
        raw_status(&r, raw_send(&r, nng_msg_body(frame), nng_msg_len(frame))), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(
            raw_status(&r, raw_send(&r, nng_msg_body(frame), nng_msg_len(frame))),
            1000 + SEAL_REPEATED);
    assert_int_equal(s.shop.asked, 1);
    nng_msg_free(frame);
    nng_close(r.socket);
    scene_end(&s);
}

static void garbage_is_refused_and_disturbs_nobody(void **state)
{
    struct scene s;
    struct raw r;
    uint8_t garbage[300];
    uint32_t seed = 1;

    (void)state;
    scene_make(&s, 2);
    raw_make(&r, &s);
    for (size_t size = 0; size < sizeof garbage; size++) {
        for (size_t i = 0; i < size; i++)
            garbage[i] = (uint8_t)((seed = seed * 1103515245 + 12345) >> 16);
        if (size > 0 && size % 2 == 0)
            garbage[0] = 1;
        if (size > 8 && size % 4 == 0)
            memcpy(garbage + 1, "\6client", 7);
        assert_int_equal(raw_status(&r, raw_send(&r, garbage, size)),
                         1000 + SEAL_NOT_OPENED);
    }
    assert_ok(ask_error(s.channel, "now", 10000));
    assert_int_equal(s.shop.asked, 1);
    nng_close(r.socket);
    scene_end(&s);
}

/* ------------------------------------------------------------------------- batches */

/* A sealed request for the SKU as a frame of the batch, under the call's number; its nonce
 * is kept there. */
static void raw_batch(struct raw *r, struct rpc_batch *batch, const char *sku,
                      uint32_t id, uint8_t nonce[SEAL_NONCE_SIZE])
{
    uint8_t packed[64];
    Rpc__V1__Request request;
    Inventory__V1__GetStockRequest stock = INVENTORY__V1__GET_STOCK_REQUEST__INIT;

    raw_request(&request);
    stock.sku = (char *)sku;
    request.payload.data = packed;
    request.payload.len = inventory__v1__get_stock_request__pack(&stock, packed);
    nng_msg *frame = raw_seal(r, &request);
    memcpy(nonce, r->nonce, SEAL_NONCE_SIZE);
    assert_true(rpc_batch_add(batch, id, nng_msg_body(frame), nng_msg_len(frame)));
    nng_msg_free(frame);
}

static nng_msg *raw_send_batch(struct raw *r, struct rpc_batch *batch)
{
    nng_msg *message = rpc_batch_take(batch);
    nng_msg *answer = raw_send(r, nng_msg_body(message), nng_msg_len(message));

    nng_msg_free(message);
    rpc_batch_free(batch);
    assert_non_null(answer);
    return answer;
}

/* The only frame of the answer is under the number, and has the status. */
static void assert_one(struct raw *r, nng_msg *answer, uint32_t id,
                       const uint8_t nonce[SEAL_NONCE_SIZE], int status)
{
    uint8_t *body = nng_msg_body(answer), *frame;
    size_t size;
    uint32_t got;
    nng_msg *alone;

    assert_true(rpc_batch_valid(body, nng_msg_len(answer), 1));
    struct rpc_batch_reader reader = rpc_batch_read(body, nng_msg_len(answer));
    assert_true(rpc_batch_next(&reader, &got, &frame, &size));
    assert_int_equal(got, id);
    assert_int_equal(nng_msg_alloc(&alone, 0), 0);
    assert_int_equal(nng_msg_append(alone, frame, size), 0);
    memcpy(r->nonce, nonce, SEAL_NONCE_SIZE);
    assert_int_equal(raw_status(r, alone), status);
    nng_msg_free(answer);
}

static void an_answer_does_not_wait_for_a_slower_one_of_its_batch(void **state)
{
    struct scene s;
    struct raw r;
    struct rpc_batch batch = {0};
    uint8_t slow[SEAL_NONCE_SIZE], quick[SEAL_NONCE_SIZE], second[SEAL_NONCE_SIZE];

    (void)state;
    scene_make(&s, 4);
    raw_make(&r, &s);
    raw_batch(&r, &batch, "park", 1, slow);
    raw_batch(&r, &batch, "now", 2, quick);
    assert_one(&r, raw_send_batch(&r, &batch), 2, quick, 0);
    raw_batch(&r, &batch, "now", 3, second);
    assert_one(&r, raw_send_batch(&r, &batch), 3, second, 0);
    shop_answer_parked(&s.shop, 1);
    assert_one(&r, raw_send_batch(&r, &batch), 1, slow, 0); /* an empty one brings it */
    nng_close(r.socket);
    scene_end(&s);
}

static void a_frame_that_does_not_open_is_refused_alone(void **state)
{
    struct scene s;
    struct raw r;
    struct rpc_batch batch = {0};
    uint8_t nonce[SEAL_NONCE_SIZE], *frame;
    struct err e;
    size_t size;
    uint32_t id;

    (void)state;
    scene_make(&s, 4);
    raw_make(&r, &s);
    assert_true(rpc_batch_add(&batch, 5, (const uint8_t *)"nonsense", 8));
    raw_batch(&r, &batch, "now", 6, nonce);
    assert_true(rpc_batch_add(&batch, 7, (const uint8_t *)"", 0));
    nng_msg *answer = raw_send_batch(&r, &batch);
    assert_true(rpc_batch_valid(nng_msg_body(answer), nng_msg_len(answer), 3));
    struct rpc_batch_reader reader =
        rpc_batch_read(nng_msg_body(answer), nng_msg_len(answer));
    for (uint32_t expected = 5; expected <= 7; expected++) {
        assert_true(rpc_batch_next(&reader, &id, &frame, &size));
        assert_int_equal(id, expected);
        assert_int_equal(seal_is_refusal(frame, size, &e), expected != 6);
    }
    nng_msg_free(answer);
    assert_int_equal(s.shop.asked, 1);
    nng_close(r.socket);
    scene_end(&s);
}

static void more_frames_than_a_batch_may_have_are_refused_whole(void **state)
{
    struct scene s;
    struct raw r;
    struct rpc_batch batch = {0};

    (void)state;
    scene_make(&s, 4);
    raw_make(&r, &s);
    for (uint32_t i = 0; i < 257; i++)
        assert_true(rpc_batch_add(&batch, i, (const uint8_t *)"frame", 5));
    assert_int_equal(raw_status(&r, raw_send_batch(&r, &batch)), 1000 + SEAL_NOT_OPENED);
    nng_close(r.socket);
    scene_end(&s);
}

/* More than there are exchanges, each with its connection: all are given back at once. */
static void empty_bundles_of_a_stranger_hold_no_slots(void **state)
{
    enum { CONNECTIONS = 80 };
    static struct raw r[CONNECTIONS];
    struct scene s;
    struct rpc_batch batch = {0};

    (void)state;
    scene_make(&s, 2);
    for (int i = 0; i < CONNECTIONS; i++) {
        raw_make(&r[i], &s);
        nng_msg *answer = raw_send_batch(&r[i], &batch);
        assert_int_equal(nng_msg_len(answer), 1);
        nng_msg_free(answer);
    }
    assert_ok(ask_error(s.channel, "now", 10000));
    for (int i = 0; i < CONNECTIONS; i++)
        nng_close(r[i].socket);
    scene_end(&s);
}

/* A caller made of a plain socket: nng 1.5.2's own would now and then hang for good when its
 * connection ends while it is sending (lib/rpc/nng_defects). */
static int plain_caller(const char *url)
{
    static const uint8_t hello[8] = {0, 'S', 'P', 0, 0, 0x30};
    const struct timeval patience = {.tv_sec = 10};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    uint8_t greeting[8];
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s", url + strlen("ipc://"));
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience),
                     0);
    assert_int_equal(write(fd, hello, sizeof hello), sizeof hello);
    assert_int_equal(recv(fd, greeting, sizeof greeting, MSG_WAITALL), sizeof greeting);
    return fd;
}

static void an_oversized_message_ends_its_own_connection_only(void **state)
{
    static const uint8_t four_mebibytes[9] = {1, 0, 0, 0, 0, 0, 0x40};
    struct scene s;
    uint8_t byte;

    (void)state;
    scene_make(&s, 2);
    int fd = plain_caller(s.url);
    assert_int_equal(write(fd, four_mebibytes, sizeof four_mebibytes),
                     sizeof four_mebibytes);
    assert_int_equal(read(fd, &byte, 1), 0);
    close(fd);
    assert_ok(ask_error(s.channel, "now", 10000));
    scene_end(&s);
}

/* ------------------------------------------------------------------------- stopping */

static void *stop_patiently(void *arg)
{
    return rpc_server_stop(arg, 20000) ? arg : NULL;
}

static void a_stopping_server_lets_its_calls_end(void **state)
{
    struct scene s;
    struct answer a;
    pthread_t stopper;
    void *whole;

    (void)state;
    scene_make(&s, 4);
    ask(s.channel, "park", 20000, &a);
    shop_wait_asked(&s.shop, 1);
    assert_int_equal(pthread_create(&stopper, NULL, stop_patiently, s.server), 0);
    shop_answer_parked(&s.shop, 1);
    answer_wait(&a);
    assert_ok(a.error);
    assert_string_equal(a.stock->sku, "parked");
    answer_end(&a);
    pthread_join(stopper, &whole);
    assert_non_null(whole);
    s.server = NULL;
    scene_end(&s);
}

static void a_handler_may_answer_after_an_impatient_stop(void **state)
{
    struct scene s;
    struct answer a;

    (void)state;
    scene_make(&s, 4);
    ask(s.channel, "park", 300, &a);
    shop_wait_asked(&s.shop, 1);
    assert_false(rpc_server_stop(s.server, 0)); /* says that it cut a call off */
    s.server = NULL;
    answer_wait(&a);
    assert_int_equal(a.error.effect, EFFECT_UNKNOWN);
    shop_answer_parked(&s.shop, 1);
    answer_end(&a);
    scene_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_handler_answers_at_once_or_later_from_another_thread),
        cmocka_unit_test(the_handler_knows_who_calls),
        cmocka_unit_test(an_error_comes_with_its_name_subject_and_effect),
        cmocka_unit_test(a_repeated_answer_says_that_it_is_one),
        cmocka_unit_test(an_error_says_when_to_retry),
        cmocka_unit_test(metadata_reaches_the_handler_of_its_own_call),
        cmocka_unit_test(metadata_out_of_bounds_is_refused_before_it_is_sent),
        cmocka_unit_test(details_of_internal_errors_are_not_sent_to_callers),
        cmocka_unit_test(an_unknown_method_is_unimplemented_and_a_forbidden_one_denied),
        cmocka_unit_test(an_unknown_caller_is_unauthenticated_and_nothing_runs),
        cmocka_unit_test(an_answer_too_large_to_send_is_an_error_that_says_it_happened),
        cmocka_unit_test(health_is_served_to_every_caller_and_says_what_is_missing),
        cmocka_unit_test(an_envelope_out_of_bounds_is_refused_and_nothing_runs),
        cmocka_unit_test(a_request_past_its_deadline_is_not_run),
        cmocka_unit_test(a_request_from_another_time_is_not_run),
        cmocka_unit_test(a_frame_sent_again_is_not_run_again),
        cmocka_unit_test(garbage_is_refused_and_disturbs_nobody),
        cmocka_unit_test(an_answer_does_not_wait_for_a_slower_one_of_its_batch),
        cmocka_unit_test(a_frame_that_does_not_open_is_refused_alone),
        cmocka_unit_test(more_frames_than_a_batch_may_have_are_refused_whole),
        cmocka_unit_test(empty_bundles_of_a_stranger_hold_no_slots),
        cmocka_unit_test(an_oversized_message_ends_its_own_connection_only),
        cmocka_unit_test(a_stopping_server_lets_its_calls_end),
        cmocka_unit_test(a_handler_may_answer_after_an_impatient_stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
