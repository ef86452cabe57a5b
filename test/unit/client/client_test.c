/*
 * client_test.c - libcheckout-client against a service that answers what is wanted: both
 * forms, from many threads, and what is told of a failure.  The library is linked as
 * other programs link it; the fixture's own RPC code is not its.
 */
#include "unit/rpc/fixture.h"

#include "checkout/client.h"
#include "proto/orders.pb-c.h"

/* Place's answer depends on the cart: "ok", "short", "park". */
struct orders {
    Orders__V1__Orders_Service service; /* first */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int placed;
    struct rpc_call *parked;
    uint8_t fingerprint[32];
};

static void answer_placed(const Orders__V1__PlaceRequest *request,
                          Orders__V1__PlaceReply_Closure closure, void *data)
{
    Orders__V1__PlaceReply reply = ORDERS__V1__PLACE_REPLY__INIT;
    Orders__V1__Order order = ORDERS__V1__ORDER__INIT;
    Orders__V1__OrderLine line = ORDERS__V1__ORDER_LINE__INIT, *lines[] = {&line, &line};

    line.sku = "mug";
    line.quantity = 3;
    line.unit_price_cents = 250;
    order.order_id = request->idempotency_key;
    order.user_id = request->user_id;
    order.cart_id = request->cart_id;
    order.status = "created";
    order.currency = "EUR";
    order.total_cents = 1500;
    order.lines = lines;
    order.n_lines = 2;
    reply.order = &order;
    closure(&reply, data);
}

static void place(Orders__V1__Orders_Service *service,
                  const Orders__V1__PlaceRequest *request,
                  Orders__V1__PlaceReply_Closure closure, void *data)
{
    struct orders *orders = (struct orders *)(void *)service;
    bool park = strcmp(request->cart_id, "park") == 0;

    pthread_mutex_lock(&orders->lock);
    orders->placed++;
    memcpy(orders->fingerprint, request->fingerprint.data, 32);
    if (park)
        orders->parked = data;
    pthread_cond_broadcast(&orders->changed);
    pthread_mutex_unlock(&orders->lock);
    if (park)
        return;
    if (strcmp(request->cart_id, "short") == 0) {
        struct err e = err_make(ERR_OUT_OF_STOCK, "not enough of mug and teapot");
        e.subject = "mug,teapot";
        e.money = MONEY_REFUND_PENDING;
        rpc_call_fail(data, e);
        return;
    }
    if (strcmp(request->cart_id, "changed") == 0) {
        Orders__V1__PlaceReply reply = ORDERS__V1__PLACE_REPLY__INIT;
        Orders__V1__Cart cart = ORDERS__V1__CART__INIT;
        cart.version = request->expected_cart_version[0] == 'v' ? "v2" : "";
        reply.changed_cart = &cart;
        closure(&reply, data);
        return;
    }
    if (strcmp(request->cart_id, "nothing") == 0) {
        closure(&(Orders__V1__PlaceReply)ORDERS__V1__PLACE_REPLY__INIT, data);
        return;
    }
    if (strcmp(request->cart_id, "again") == 0)
        rpc_call_replayed(data);
    answer_placed(request, closure, data);
}

static void put_cart(Orders__V1__Orders_Service *service,
                     const Orders__V1__PutCartRequest *request,
                     Orders__V1__PutCartReply_Closure closure, void *data)
{
    Orders__V1__PutCartReply reply = ORDERS__V1__PUT_CART_REPLY__INIT;

    (void)service;
    reply.cart = request->cart;
    reply.cart->version = "v1";
    reply.created = !request->create_only;
    reply.changed = request->create_only;
    if (request->n_if_versions == 1 && strcmp(request->if_versions[0], "v0") == 0) {
        reply.changed = true;
        reply.cart = NULL;
    }
    closure(&reply, data);
}

struct scene {
    struct folder folder;
    struct key *client_key, *server_key;
    struct principals *callers;
    struct orders orders;
    struct rpc_server *server;
    checkout_client *client;
};

static struct checkout_client_config config_of(struct scene *s)
{
    return (struct checkout_client_config){
        .size = sizeof(struct checkout_client_config),
        .key_file = in(&s->folder, "", "client"),
        .services_file = in(&s->folder, "", "services"),
        .orchestrator_addresses = in(&s->folder, "ipc://", "orders.sock"),
        .timeout_ms = 20000,
    };
}

static void scene_make(struct scene *s)
{
    memset(s, 0, sizeof *s);
    folder_make(&s->folder);
    s->client_key = make_key(&s->folder, "client");
    s->server_key = make_key(&s->folder, "orchestrator");
    const char *callers = in(&s->folder, "", "callers");
    assert_ok(principals_allow(callers, "client", key_public(s->client_key), "*"));
    assert_ok(principals_allow(in(&s->folder, "", "services"), "orchestrator",
                               key_public(s->server_key), NULL));
    assert_ok(principals_read(callers, true, s->server_key, &s->callers));
    s->orders.service.base.descriptor = &orders__v1__orders__descriptor;
    s->orders.service.base.invoke = protobuf_c_service_invoke_internal;
    s->orders.service.place = place;
    s->orders.service.put_cart = put_cart;
    pthread_mutex_init(&s->orders.lock, NULL);
    pthread_cond_init(&s->orders.changed, NULL);
    ProtobufCService *services[] = {&s->orders.service.base};
    s->server =
        serve(&(struct rpc_server_config){.url = in(&s->folder, "ipc://", "orders.sock"),
                                          .callers = s->callers,
                                          .services = services,
                                          .service_count = 1,
                                          .in_flight_max = 64});
    struct checkout_client_config config = config_of(s);
    assert_int_equal(checkout_client_open(&config, &s->client, NULL), CHECKOUT_OK);
}

static void scene_end(struct scene *s)
{
    checkout_client_close(s->client);
    rpc_server_stop(s->server, 1000);
    principals_free(s->callers);
    key_free(s->client_key);
    key_free(s->server_key);
    folder_remove(&s->folder);
}

static struct checkout_place_order order_of(const char *cart)
{
    return (struct checkout_place_order){.user_id = "user",
                                         .cart_id = cart,
                                         .payment_method_id = "pm",
                                         .idempotency_key = "key-12345"};
}

static void the_blocking_form_gives_the_order(void **state)
{
    struct scene s;
    struct checkout_error error;
    struct checkout_placed *placed;
    struct checkout_place_order request = order_of("ok");

    (void)state;
    scene_make(&s);
    assert_int_equal(checkout_place_order(s.client, &request, NULL, &placed, &error),
                     CHECKOUT_OK);
    assert_int_equal(error.status, CHECKOUT_OK);
    assert_string_equal(placed->order.order_id, "key-12345");
    assert_string_equal(placed->order.currency, "EUR");
    assert_int_equal(placed->order.total_cents, 1500);
    assert_int_equal(placed->order.line_count, 2);
    assert_string_equal(placed->order.lines[1].sku, "mug");
    assert_int_equal(placed->order.lines[1].quantity, 3);
    assert_false(placed->replayed);
    checkout_free(placed);
    request.cart_id = "again";
    assert_int_equal(checkout_place_order(s.client, &request, NULL, &placed, NULL),
                     CHECKOUT_OK);
    assert_true(placed->replayed);
    checkout_free(placed);
    assert_int_equal(checkout_place_order(s.client, &request, NULL, NULL, NULL),
                     CHECKOUT_OK);
    scene_end(&s);
}

static void an_error_says_what_went_wrong_and_what_it_did(void **state)
{
    struct scene s;
    struct checkout_error error;
    struct checkout_placed *placed = NULL;
    struct checkout_place_order request = order_of("short");

    (void)state;
    scene_make(&s);
    assert_int_equal(checkout_place_order(s.client, &request, NULL, &placed, &error),
                     CHECKOUT_FAILED_PRECONDITION);
    assert_null(placed);
    assert_string_equal(error.reason, "out_of_stock");
    assert_string_equal(error.subject, "mug,teapot");
    assert_string_equal(error.money, "refund_pending");
    assert_int_equal(error.effect, CHECKOUT_EFFECT_NONE);
    assert_false(error.retryable);
    struct checkout_stock *stock = NULL;
    assert_int_equal(checkout_get_stock(s.client,
                                        &(struct checkout_get_stock){.sku = "mug"}, NULL,
                                        &stock, &error),
                     CHECKOUT_INVALID_ARGUMENT);
    assert_null(stock);
    assert_string_equal(error.money, ""); /* no order was refused */
    scene_end(&s);
}

static void a_cart_that_changed_is_an_error_with_the_version_it_has(void **state)
{
    struct scene s;
    struct checkout_error error;
    struct checkout_cart *cart = NULL;
    struct checkout_place_order request = order_of("changed");
    struct checkout_put_cart put = {.user_id = "user", .cart_id = "cart"};

    (void)state;
    scene_make(&s);
    request.expected_cart_version = "v1";
    assert_int_equal(checkout_place_order(s.client, &request, NULL, NULL, &error),
                     CHECKOUT_FAILED_PRECONDITION);
    assert_string_equal(error.reason, "cart_changed");
    assert_string_equal(error.subject, "v2");
    assert_int_equal(error.effect, CHECKOUT_EFFECT_NONE);
    assert_int_equal(checkout_put_cart(s.client, &put, NULL, &cart, &error), CHECKOUT_OK);
    assert_string_equal(cart->version, "v1");
    checkout_free(cart);
    put.create_only = true;
    assert_int_equal(checkout_put_cart(s.client, &put, NULL, NULL, &error),
                     CHECKOUT_FAILED_PRECONDITION);
    assert_string_equal(error.subject, "v1");
    put.create_only = false;
    put.if_version = "v0"; /* and there is no cart */
    assert_int_equal(checkout_put_cart(s.client, &put, NULL, NULL, &error),
                     CHECKOUT_FAILED_PRECONDITION);
    assert_string_equal(error.subject, "");
    scene_end(&s);
}

static void a_call_without_an_answer_ends_at_its_time_and_is_unknown(void **state)
{
    struct scene s;
    struct checkout_error error;
    struct checkout_place_order request = order_of("park");

    (void)state;
    scene_make(&s);
    assert_int_equal(checkout_place_order(s.client, &request,
                                          &(struct checkout_options){.timeout_ms = 300},
                                          NULL, &error),
                     CHECKOUT_DEADLINE_EXCEEDED);
    assert_int_equal(error.effect, CHECKOUT_EFFECT_UNKNOWN);
    assert_true(error.retryable);
    rpc_call_fail(s.orders.parked, err_make(ERR_ABORTED, "late"));
    scene_end(&s);
}

/* ---- callbacks
 * ------------------------------------------------------------------------- */

struct seen {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int done, ok, cancelled, wrong;
};

static void on_placed(void *arg, const struct checkout_error *error,
                      const struct checkout_placed *reply)
{
    struct seen *seen = arg;

    pthread_mutex_lock(&seen->lock);
    seen->done++;
    if (error == NULL)
        seen->ok += reply->order.total_cents == 1500;
    else if (error->status == CHECKOUT_CANCELLED)
        seen->cancelled++;
    seen->wrong += (error == NULL) != (reply != NULL);
    pthread_cond_broadcast(&seen->changed);
    pthread_mutex_unlock(&seen->lock);
}

static void seen_wait(struct seen *seen, int done)
{
    pthread_mutex_lock(&seen->lock);
    while (seen->done < done)
        pthread_cond_wait(&seen->changed, &seen->lock);
    pthread_mutex_unlock(&seen->lock);
}

static void wait_parked(struct orders *orders)
{
    pthread_mutex_lock(&orders->lock);
    while (orders->parked == NULL)
        pthread_cond_wait(&orders->changed, &orders->lock);
    pthread_mutex_unlock(&orders->lock);
}

static void a_started_call_can_be_cancelled(void **state)
{
    struct scene s;
    struct seen seen = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, 0, 0};
    struct checkout_place_order request = order_of("park");

    (void)state;
    scene_make(&s);
    checkout_call call =
        checkout_place_order_start(s.client, &request, NULL, on_placed, &seen);
    wait_parked(&s.orders);
    checkout_cancel(s.client, call);
    seen_wait(&seen, 1);
    assert_int_equal(seen.cancelled, 1);
    checkout_cancel(s.client, call);
    rpc_call_fail(s.orders.parked, err_make(ERR_CANCELLED, "nobody waits"));
    scene_end(&s);
}

static void cancelling_an_unknown_call_does_nothing(void **state)
{
    static const checkout_call NONE[] = {
        0, 1, 2, 3, 1U << 20, 0xabcdef0123, UINT64_MAX, UINT64_MAX - 1};
    struct checkout_place_order request = order_of("ok");
    struct scene s;

    (void)state;
    scene_make(&s);
    for (size_t i = 0; i < sizeof NONE / sizeof *NONE; i++)
        checkout_cancel(s.client, NONE[i]);
    assert_int_equal(checkout_place_order(s.client, &request, NULL, NULL, NULL),
                     CHECKOUT_OK);
    for (size_t i = 0; i < sizeof NONE / sizeof *NONE; i++)
        checkout_cancel(s.client, NONE[i]);
    scene_end(&s);
}

static void a_reply_without_its_order_is_data_loss(void **state)
{
    struct checkout_place_order request = order_of("nothing");
    struct checkout_error error;
    struct scene s;

    (void)state;
    scene_make(&s);
    assert_int_equal(checkout_place_order(s.client, &request, NULL, NULL, &error),
                     CHECKOUT_DATA_LOSS);
    assert_int_equal(error.effect, CHECKOUT_EFFECT_APPLIED);
    scene_end(&s);
}

static void closing_ends_what_was_started(void **state)
{
    struct scene s;
    struct seen seen = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, 0, 0};
    struct checkout_place_order request = order_of("park");

    (void)state;
    scene_make(&s);
    checkout_place_order_start(s.client, &request, NULL, on_placed, &seen);
    wait_parked(&s.orders);
    checkout_client_close(s.client);
    s.client = NULL;
    assert_int_equal(seen.done, 1);
    assert_int_equal(seen.cancelled, 1);
    rpc_call_fail(s.orders.parked, err_make(ERR_CANCELLED, "nobody waits"));
    scene_end(&s);
}

enum { THREADS = 8, EACH = 50 };

struct worker_of {
    struct scene *scene;
    struct seen seen;
    int ok;
};

/* Both forms at once, from each thread. */
static void *work(void *arg)
{
    struct worker_of *w = arg;
    struct checkout_place_order request = order_of("ok");
    const struct checkout_cart_line lines[] = {{"mug", 1}, {"teapot", 2}};
    const struct checkout_put_cart put = {
        .user_id = "user", .cart_id = "cart", .line_count = 2, .lines = lines};

    for (int i = 0; i < EACH; i++) {
        struct checkout_cart *cart = NULL;
        checkout_place_order_start(w->scene->client, &request, NULL, on_placed, &w->seen);
        if (checkout_put_cart(w->scene->client, &put, NULL, &cart, NULL) == CHECKOUT_OK)
            w->ok +=
                cart->created && cart->line_count == 2 && cart->lines[1].quantity == 2;
        checkout_free(cart);
    }
    seen_wait(&w->seen, EACH);
    return NULL;
}

static void many_threads_share_one_client(void **state)
{
    struct scene s;
    static struct worker_of workers[THREADS];
    pthread_t threads[THREADS];

    (void)state;
    scene_make(&s);
    for (int i = 0; i < THREADS; i++) {
        memset(&workers[i], 0, sizeof workers[i]);
        workers[i].scene = &s;
        pthread_mutex_init(&workers[i].seen.lock, NULL);
        pthread_cond_init(&workers[i].seen.changed, NULL);
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(workers[i].ok, EACH);
        assert_int_equal(workers[i].seen.ok, EACH);
        assert_int_equal(workers[i].seen.wrong, 0);
    }
    assert_int_equal(s.orders.placed, THREADS * EACH);
    scene_end(&s);
}

static void an_error_names_what_is_wrong_with_a_configuration(void **state)
{
    struct scene s;
    struct checkout_error error;
    checkout_client *client = NULL;

    (void)state;
    scene_make(&s);
    struct checkout_client_config config = config_of(&s);
    config.key_file = "/nowhere/key";
    assert_int_equal(checkout_client_open(&config, &client, &error),
                     CHECKOUT_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "/nowhere/key"));
    assert_null(client);
    config = config_of(&s);
    config.orchestrator_addresses = NULL;
    assert_int_equal(checkout_client_open(&config, &client, &error),
                     CHECKOUT_INVALID_ARGUMENT);
    config = config_of(&s);
    config.inventory_addresses = "ipc:///tmp/x"; /* not among the known services */
    assert_int_equal(checkout_client_open(&config, &client, &error),
                     CHECKOUT_INVALID_ARGUMENT);
    /* A program built with a header that had no field after these. */
    config.size = offsetof(struct checkout_client_config, inventory_addresses);
    assert_int_equal(checkout_client_open(&config, &client, &error), CHECKOUT_OK);
    checkout_client_close(client);
    scene_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_blocking_form_gives_the_order),
        cmocka_unit_test(an_error_says_what_went_wrong_and_what_it_did),
        cmocka_unit_test(a_cart_that_changed_is_an_error_with_the_version_it_has),
        cmocka_unit_test(a_call_without_an_answer_ends_at_its_time_and_is_unknown),
        cmocka_unit_test(a_started_call_can_be_cancelled),
        cmocka_unit_test(cancelling_an_unknown_call_does_nothing),
        cmocka_unit_test(a_reply_without_its_order_is_data_loss),
        cmocka_unit_test(closing_ends_what_was_started),
        cmocka_unit_test(many_threads_share_one_client),
        cmocka_unit_test(an_error_names_what_is_wrong_with_a_configuration),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
