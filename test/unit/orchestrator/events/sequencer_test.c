/* sequencer_test.c - the log of events: sequencer.c, feed.c and cursors.c of events/. */
#include "unit/db/database.h"
#include "unit/db/scoped.h"

#include <nng/nng.h>
#include <nng/protocol/pubsub0/sub.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "orchestrator/events/cursors.h"
#include "orchestrator/events/feed.h"
#include "orchestrator/events/sequencer.h"
#include "orchestrator/kinds.h"

/* nng gives connections back in a thread of its own, and the process's end may come first. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libnng";
}

enum { KEEP_MS = 3600000, TAKEOVER_MS = 1000, MANY = 20000, WRITERS = 4, EACH = 500 };

static struct db *the_db;
static struct feed *the_feed;

static int set_up(void **state)
{
    struct db_config config = {
        .url = database_url(),
        .name = "sequencer_test",
        .queue_max = 1024,
        .batch_max = 512,
        .readers = 2,
    };

    (void)state;
    sql("TRUNCATE orders.outbox, orders.cursors RESTART IDENTITY");
    sql("UPDATE orders.relay SET placed = 0, published = 0, pruned = 0, pruned_to = '-infinity'");
    orchestrator_configure(&config);
    assert_ok(db_open(&config, &the_db));
    assert_ok(feed_open(the_db, 5, 2, &the_feed));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    feed_stop(the_feed);
    db_close(the_db);
    feed_free(the_feed);
    return 0;
}

/* ---- doing ----------------------------------------------------------------------------- */

static struct sequencer *relay_with(struct sequencer_config config)
{
    struct sequencer *sequencer = NULL;

    config.database_url = database_url();
    if (config.every_ms == 0)
        config.every_ms = 2;
    config.takeover_ms = TAKEOVER_MS;
    config.prune_every_ms = 10;
    assert_ok(sequencer_start(&config, &sequencer));
    return sequencer;
}

static struct sequencer *relay_to(struct bus_local *local, const char *owner,
                                  int64_t keep_ms)
{
    return relay_with(
        (struct sequencer_config){.owner = owner, .keep_ms = keep_ms, .local = local});
}

static struct sequencer *relay(const char *owner, int64_t keep_ms)
{
    return relay_to(NULL, owner, keep_ms);
}

/* One event of a new order, or of several; the orders themselves are not needed here. */
static void add_events(PGconn *conn, const char *prefix, int count)
{
    char text[512];

    snprintf(text, sizeof text,
             "INSERT INTO orders.outbox (order_id, sequence, type, payload)"
             " SELECT '%s' || n, 1, 'order.created', '{\"n\": 1}'"
             " FROM generate_series(1, %d) AS n",
             prefix, count);
    sql_on(conn, text);
}

static void add_event(PGconn *conn, const char *order, int sequence)
{
    char text[256];

    snprintf(text, sizeof text,
             "INSERT INTO orders.outbox (order_id, sequence, type, payload)"
             " VALUES ('%s', %d, 'order.created', '{}')",
             order, sequence);
    sql_on(conn, text);
}

static int64_t position_of(const char *order, int sequence)
{
    return sql_number("SELECT coalesce(max(position), 0) FROM orders.outbox"
                      " WHERE order_id = '%s' AND sequence = %d",
                      order, sequence);
}

static void wait_placed(int64_t count)
{
    char query[96];

    snprintf(query, sizeof query, "SELECT (placed >= %" PRId64 ")::int FROM orders.relay",
             count);
    wait_sql(query);
}

static Events__V1__ReadReply *read_reply(struct call *call)
{
    call_wait(call);
    assert_ok(call->error);
    return (Events__V1__ReadReply *)call->reply;
}

static void start_read(struct call *call, int64_t after, const char *cursor, int wait_ms)
{
    static Events__V1__ReadRequest requests[4];
    static int turn;
    Events__V1__ReadRequest *request = &requests[turn++ % 4];

    events__v1__read_request__init(request);
    request->after = after;
    request->cursor = (char *)cursor;
    request->wait_ms = wait_ms;
    request->limit = 1000;
    feed_read(the_feed, call_begin(call, NULL), "tester", request);
}

static enum err_code commit(const char *cursor, int64_t position, int64_t *now_at)
{
    Events__V1__CommitRequest request = EVENTS__V1__COMMIT_REQUEST__INIT;
    struct call call;

    request.cursor = (char *)cursor;
    request.position = position;
    cursors_commit(the_db, call_begin(&call, NULL), "tester", &request);
    call_wait(&call);
    if (!failed(call.error) && now_at != NULL)
        *now_at = ((Events__V1__CommitReply *)call.reply)->position;
    return call_code(&call);
}

/* ---- the relay ------------------------------------------------------------------------- */

static void what_commits_later_comes_later_whatever_its_number(void **state)
{
    PGconn *early = admin_connect(), *late = admin_connect();
    struct sequencer *sequencer = relay("a", KEEP_MS);

    (void)state;
    sql_on(early, "BEGIN");
    add_event(early, "early", 1); /* has the smaller number, and commits last */
    add_event(late, "late", 1);
    wait_placed(1);
    sql_on(early, "COMMIT");
    wait_placed(2);
    assert_int_equal(position_of("late", 1), 1);
    assert_int_equal(position_of("early", 1), 2);
    sequencer_stop(sequencer);
    PQfinish(early);
    PQfinish(late);
}

static void of_one_order_none_overtakes_another(void **state)
{
    PGconn *conn = admin_connect();

    (void)state;
    /* In one transaction, the second first. */
    sql_on(conn, "BEGIN");
    add_event(conn, "order", 2);
    add_event(conn, "order", 1);
    add_event(conn, "order", 3);
    sql_on(conn, "COMMIT");
    struct sequencer *sequencer = relay("a", KEEP_MS);
    wait_placed(3);
    sequencer_stop(sequencer);
    assert_int_equal(position_of("order", 1), 1);
    assert_int_equal(position_of("order", 2), 2);
    assert_int_equal(position_of("order", 3), 3);
    PQfinish(conn);
}

struct writing {
    pthread_t thread;
    int number;
};

/* Transactions of random length, some rolled back: numbers and commits in wild order. */
static void *write_events(void *arg)
{
    struct writing *writing = arg;
    PGconn *conn = admin_connect();
    uint32_t seed = (uint32_t)writing->number * 7919 + 1;
    char order[32];

    for (int i = 0; i < EACH; i++) {
        sql_on(conn, "BEGIN");
        snprintf(order, sizeof order, "w%d-%d", writing->number, i);
        add_event(conn, order, 1);
        if (random_below(&seed, 4) == 0)
            breathe();
        sql_on(conn, random_below(&seed, 10) == 0 ? "ROLLBACK" : "COMMIT");
    }
    PQfinish(conn);
    return NULL;
}

/* Reads as a consumer does, and must never see a gap or a step back. */
static int64_t follow(int64_t seen, int64_t until)
{
    int64_t patience = in_ms(PATIENCE_MS);
    struct call call;

    while (seen < until) {
        start_read(&call, seen, "", 2000);
        Events__V1__ReadReply *reply = read_reply(&call);
        for (size_t i = 0; i < reply->n_events; i++)
            assert_int_equal(reply->events[i]->position, ++seen);
        call_end(&call);
        if (clock_monotonic_ms() > patience)
            fail_msg("only %" PRId64 " of %" PRId64 " can be read", seen, until);
    }
    return seen;
}

static void readers_see_no_gap_while_several_replicas_write_and_relays_die(void **state)
{
    struct writing writers[WRITERS];
    struct sequencer *first = relay("a", KEEP_MS), *second = relay("b", KEEP_MS);
    int64_t seen = 0;

    (void)state;
    for (int i = 0; i < WRITERS; i++) {
        writers[i].number = i;
        pthread_create(&writers[i].thread, NULL, write_events, &writers[i]);
    }
    for (int kill = 0; kill < 5; kill++) {
        seen = follow(seen, (kill + 1) * WRITERS * EACH / 8);
        wait_sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted");
        sql("SELECT pg_terminate_backend(pid) FROM pg_locks"
            " WHERE locktype = 'advisory' AND granted");
    }
    for (int i = 0; i < WRITERS; i++)
        pthread_join(writers[i].thread, NULL);
    wait_sql("SELECT (count(*) = 0)::int FROM orders.outbox WHERE position IS NULL");
    sequencer_stop(first);
    sequencer_stop(second);
    int64_t count = sql_number("SELECT count(*) FROM orders.outbox");
    assert_int_equal(follow(seen, count), count);
    assert_int_equal(sql_number("SELECT placed FROM orders.relay"), count);
    assert_int_equal(sql_number("SELECT max(position) FROM orders.outbox"), count);
}

static void a_relay_that_hangs_is_taken_over(void **state)
{
    PGconn *hung = admin_connect(), *conn = admin_connect();

    (void)state;
    /* As one that was stopped: it has the lock, and says nothing. */
    sql_on(hung, "SET idle_session_timeout = 500");
    sql_on(hung, "SELECT pg_advisory_lock(x'6f7574626f78'::bigint)");
    struct sequencer *sequencer = relay("b", KEEP_MS);
    add_event(conn, "order", 1);
    wait_placed(1);
    assert_sql_text("b", "SELECT holder FROM orders.relay");
    sequencer_stop(sequencer);
    PQfinish(hung);
    PQfinish(conn);
}

/* The server ends a session that is silent for takeover_ms. */
static void a_pause_that_is_longer_than_the_lease_does_not_lose_it(void **state)
{
    (void)state;
    struct sequencer *sequencer = relay_with((struct sequencer_config){
        .owner = "slow", .keep_ms = KEEP_MS, .every_ms = 100 * TAKEOVER_MS});
    wait_sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sequencer'"
             " AND state_change > backend_start + interval '3 s'");
    sequencer_stop(sequencer);
}

static void wait_gauge(struct metrics *metrics, const char *name, const char *labels,
                       int64_t least, int64_t most)
{
    struct gauge *gauge = metrics_gauge(metrics, name, labels);
    int64_t patience = in_ms(PATIENCE_MS), value;

    while ((value = atomic_load(&gauge->value)) < least || value > most) {
        if (clock_monotonic_ms() > patience)
            fail_msg("%s stays %" PRId64, name, value);
        breathe();
    }
}

static void the_lag_is_told_by_whoever_relays_and_by_nobody_else(void **state)
{
    PGconn *conn = admin_connect(), *other = admin_connect();
    struct metrics *metrics = metrics_new();
    struct sequencer *sequencer = relay_with(
        (struct sequencer_config){.owner = "a", .keep_ms = KEEP_MS, .metrics = metrics});

    (void)state;
    add_events(conn, "o", 5);
    wait_placed(5);
    sql("UPDATE orders.relay SET published = 2"); /* as if the bus had no more */
    wait_gauge(metrics, "events_lag_ms", "", 1, INT64_MAX);
    wait_gauge(metrics, "relay_active", "task=sequencer", 1, 1);
    /* Another is the next to lead. */
    assert_int_equal(
        PQsendQuery(other, "SELECT pg_advisory_lock(x'6f7574626f78'::bigint)"), 1);
    wait_sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted");
    sql("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted");
    wait_gauge(metrics, "relay_active", "task=sequencer", 0, 0);
    wait_gauge(metrics, "events_lag_ms", "", 0, 0);
    sequencer_stop(sequencer);
    metrics_free(metrics);
    PQfinish(other);
    PQfinish(conn);
}

static void a_backlog_is_placed_at_ten_thousand_a_second_and_more(void **state)
{
    PGconn *conn = admin_connect();

    (void)state;
    add_events(conn, "o", MANY);
    int64_t began = clock_monotonic_ms();
    struct sequencer *sequencer = relay("a", KEEP_MS);
    wait_placed(MANY);
    int64_t took = clock_monotonic_ms() - began;
    sequencer_stop(sequencer);
    PQfinish(conn);
    print_message("    %d events in %" PRId64 " ms: %" PRId64 " a second\n", MANY, took,
                  MANY * 1000 / (took > 0 ? took : 1));
    assert_int_equal(sql_number("SELECT count(DISTINCT position) FROM orders.outbox"),
                     MANY);
}

/* ---- pruning --------------------------------------------------------------------------- */

static void only_what_was_published_long_enough_ago_is_pruned(void **state)
{
    PGconn *conn = admin_connect();
    struct sequencer *sequencer = relay("a", KEEP_MS);

    (void)state;
    add_events(conn, "o", 10);
    wait_placed(10);
    /* 1 to 4 are old; 6 is too, but 5 before it is not; 10 is not published. */
    sql_on(conn, "UPDATE orders.relay SET published = 9");
    sql_on(conn, "UPDATE orders.outbox SET published_at = now() - interval '2 hours'"
                 " WHERE position IN (1, 2, 3, 4, 6, 10)");
    wait_sql("SELECT (pruned = 4)::int FROM orders.relay");
    sequencer_stop(sequencer);
    assert_sql_text("{5,6,7,8,9,10}",
                    "SELECT array_agg(position ORDER BY position) FROM orders.outbox");
    PQfinish(conn);
}

static void a_reader_is_told_when_what_it_wants_is_gone(void **state)
{
    struct call call;

    (void)state;
    sql("UPDATE orders.relay SET placed = 9, published = 9, pruned = 4");
    start_read(&call, 3, "", 0);
    assert_int_equal(call_code(&call), ERR_OUT_OF_RANGE);
    start_read(&call, 4, "", 0);
    assert_int_equal(call_code(&call), ERR_OK);
    start_read(&call, 0, "", 0); /* the oldest there is */
    assert_int_equal(read_reply(&call)->last, 4);
    call_end(&call);
    start_read(&call, 10, "", 0);
    assert_int_equal(call_code(&call), ERR_OUT_OF_RANGE);
}

/* ---- reading --------------------------------------------------------------------------- */

static void a_read_waits_for_the_next_event_and_no_longer(void **state)
{
    PGconn *conn = admin_connect();
    struct sequencer *sequencer = relay("a", KEEP_MS);
    struct call waiting, brief;

    (void)state;
    start_read(&waiting, 0, "", 40000);
    start_read(&brief, 0, "", 20);
    assert_int_equal(read_reply(&brief)->n_events, 0);
    call_end(&brief);
    assert_int_equal(waiting.answers, 0);
    add_event(conn, "order", 1);
    Events__V1__ReadReply *reply = read_reply(&waiting);
    assert_int_equal(reply->n_events, 1);
    assert_string_equal(reply->events[0]->id, "order.1");
    assert_int_equal(reply->last, 1);
    call_end(&waiting);
    sequencer_stop(sequencer);
    PQfinish(conn);
}

static void not_more_wait_than_may_and_none_after_the_stop(void **state)
{
    struct call waiting[2], refused;

    (void)state;
    for (int i = 0; i < 2; i++)
        start_read(&waiting[i], 0, "", 40000);
    /* Which of three is refused is a matter of timing; that one is, is not. */
    start_read(&refused, 0, "", 40000);
    while (waiting[0].answers + waiting[1].answers + refused.answers == 0)
        breathe();
    feed_stop(the_feed);
    int refusals = 0;
    struct call *all[] = {&waiting[0], &waiting[1], &refused};
    for (int i = 0; i < 3; i++)
        refusals += call_code(all[i]) == ERR_RESOURCE_EXHAUSTED;
    assert_int_equal(refusals, 1);
    start_read(&refused, 0, "", 40000);
    assert_int_equal(call_code(&refused), ERR_OK);
}

static void a_reply_holds_no_more_than_a_message_can(void **state)
{
    PGconn *conn = admin_connect();
    struct sequencer *sequencer = relay("a", KEEP_MS);
    struct call call;
    int64_t seen = 0;
    int replies = 0;

    (void)state;
    sql_on(conn, "INSERT INTO orders.outbox (order_id, sequence, type, payload)"
                 " SELECT 'o' || n, 1, 'order.created', to_jsonb(repeat('x', 12000))"
                 " FROM generate_series(1, 200) AS n");
    wait_placed(200);
    while (seen < 200) {
        Events__V1__ReadRequest request = EVENTS__V1__READ_REQUEST__INIT;
        struct request_context *scope = call_begin(&call, NULL);
        arena_free(scope->arena);
        scope->arena = arena_new(RPC_ARENA_MAX);
        request.after = seen;
        request.limit = 1000;
        feed_read(the_feed, scope, "tester", &request);
        Events__V1__ReadReply *reply = read_reply(&call);
        assert_true(protobuf_c_message_get_packed_size(&reply->base) < 1 << 20);
        assert_int_equal(reply->last, seen + (int64_t)reply->n_events);
        seen = reply->last;
        replies++;
        call_end(&call);
    }
    assert_int_equal(replies, 3);
    sequencer_stop(sequencer);
    PQfinish(conn);
}

/* ---- live listeners -------------------------------------------------------------------- */

static char pub_path[64], pub_url[80];

static nng_socket listen_live(const char *topic)
{
    nng_socket socket;

    assert_int_equal(nng_sub0_open(&socket), 0);
    assert_int_equal(nng_socket_set(socket, NNG_OPT_SUB_SUBSCRIBE, topic, strlen(topic)),
                     0);
    assert_int_equal(nng_socket_set_ms(socket, NNG_OPT_RECVTIMEO, 20), 0);
    assert_int_equal(nng_socket_set_ms(socket, NNG_OPT_RECONNMINT, 10), 0);
    assert_int_equal(nng_socket_set_ms(socket, NNG_OPT_RECONNMAXT, 50), 0);
    assert_int_equal(nng_dial(socket, pub_url, NULL, NNG_FLAG_NONBLOCK), 0);
    return socket;
}

/* Adds events until one of them is heard, as who is not connected yet misses some. */
static void hear(nng_socket socket, PGconn *conn, const char *prefix)
{
    int64_t until = in_ms(PATIENCE_MS);
    char order[48], wanted[96];
    nng_msg *message = NULL;

    for (int i = 0; nng_recvmsg(socket, &message, 0) != 0; i++) {
        if (clock_monotonic_ms() > until)
            fail_msg("nothing is heard");
        snprintf(order, sizeof order, "%s%d", prefix, i);
        add_event(conn, order, 1);
    }
    int64_t position =
        strtoll((char *)nng_msg_body(message) + strlen("order.created "), NULL, 10);
    snprintf(wanted, sizeof wanted,
             "order.created %" PRId64 "\n{\"specversion\":\"1.0\",", position);
    assert_memory_equal(nng_msg_body(message), wanted, strlen(wanted));
    assert_int_equal(((char *)nng_msg_body(message))[nng_msg_len(message) - 1], '}');
    assert_true(position >= 1);
    nng_msg_free(message);
}

static void name_pub(void)
{
    snprintf(pub_path, sizeof pub_path, "/tmp/sequencer_test-%d.sock", (int)getpid());
    snprintf(pub_url, sizeof pub_url, "ipc://%s", pub_path);
}

static void who_listens_hears_by_topic_from_whoever_relays(void **state)
{
    struct bus_local *one = NULL, *two = NULL;
    PGconn *conn = admin_connect();

    (void)state;
    name_pub();
    assert_ok(bus_local_open(pub_url, &one));
    assert_ok(bus_local_open(pub_url, &two));
    sql("UPDATE orders.relay SET holder = ''");
    struct sequencer *first = relay_to(one, "a", KEEP_MS);
    wait_sql("SELECT (holder = 'a')::int FROM orders.relay");
    struct sequencer *second = relay_to(two, "b", KEEP_MS);
    nng_socket wanted = listen_live("order.created "),
               unwanted = listen_live("order.cancelled ");
    hear(wanted, conn, "x");
    /* The other takes over, and the address with it. */
    sequencer_stop(first);
    nng_msg *message = NULL;
    while (nng_recvmsg(wanted, &message, 0) == 0) /* what was still under way */
        nng_msg_free(message);
    wait_sql("SELECT (holder = 'b')::int FROM orders.relay");
    hear(wanted, conn, "y");
    assert_int_equal(nng_recvmsg(unwanted, &message, 0), NNG_ETIMEDOUT);
    nng_close(wanted);
    nng_close(unwanted);
    sequencer_stop(second);
    bus_local_close(one);
    bus_local_close(two);
    PQfinish(conn);
}

/* nng 1.5.2 would let nobody in any more. */
static void one_that_hangs_up_at_once_shuts_nobody_out(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct bus_local *bus = NULL;
    PGconn *conn = admin_connect();

    (void)state;
    name_pub();
    assert_ok(bus_local_open(pub_url, &bus));
    struct sequencer *sequencer = relay_to(bus, "a", KEEP_MS);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", pub_path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0), tries = 0;
    while (connect(fd, (struct sockaddr *)&address, sizeof address) != 0 &&
           ++tries < 10000)
        breathe();
    close(fd);
    nng_socket late = listen_live("order.");
    hear(late, conn, "z");
    nng_close(late);
    sequencer_stop(sequencer);
    bus_local_close(bus);
    PQfinish(conn);
}

static void events_are_broadcast_on_this_machine_alone(void **state)
{
    struct bus_local *bus = NULL;

    (void)state;
    assert_int_equal(bus_local_open("tcp://127.0.0.1:0", &bus).code,
                     ERR_INVALID_ARGUMENT);
}

/* ---- cursors --------------------------------------------------------------------------- */

static void a_cursor_moves_forward_only_and_not_past_the_end(void **state)
{
    struct call call;
    int64_t at = 0;

    (void)state;
    sql("UPDATE orders.relay SET placed = 9, published = 9");
    assert_int_equal(commit("c", 5, &at), ERR_OK);
    assert_int_equal(at, 5);
    assert_int_equal(commit("c", 3, &at), ERR_OK);
    assert_int_equal(at, 5);
    assert_int_equal(commit("c", 10, NULL), ERR_OUT_OF_RANGE);
    start_read(&call, 0, "c", 0);
    assert_int_equal(read_reply(&call)->last, 5);
    call_end(&call);
    start_read(&call, 7, "c", 0);
    assert_int_equal(read_reply(&call)->last, 7);
    call_end(&call);
}

static void nobody_moves_the_cursor_of_another(void **state)
{
    Events__V1__ReadRequest request = EVENTS__V1__READ_REQUEST__INIT;
    struct call call;

    (void)state;
    sql("UPDATE orders.relay SET placed = 9, published = 9");
    assert_int_equal(commit("c", 5, NULL), ERR_OK);
    request.cursor = "c";
    feed_read(the_feed, call_begin(&call, NULL), "somebody else", &request);
    assert_int_equal(read_reply(&call)->last, 0);
    call_end(&call);
}

static void an_operator_moves_any_cursor_and_not_beyond_what_is_kept(void **state)
{
    Events__V1__ResetCursorRequest request = EVENTS__V1__RESET_CURSOR_REQUEST__INIT;
    static const struct {
        char *cursor;
        int64_t to;
        enum err_code code;
        int64_t at;
    } ROWS[] = {
        {"c", 4, ERR_OK, 4},           {"c", 8, ERR_OK, 8},
        {"c", 9, ERR_OK, 9},           {"c", 10, ERR_OUT_OF_RANGE, 9},
        {"c", 3, ERR_OUT_OF_RANGE, 9}, {"d", 5, ERR_NOT_FOUND, 9},
        {"c", 5, ERR_OK, 5},
    };

    (void)state;
    sql("UPDATE orders.relay SET placed = 9, published = 9, pruned = 4");
    assert_int_equal(commit("c", 6, NULL), ERR_OK);
    assert_int_equal(commit("other", 6, NULL), ERR_OK);
    request.caller = "tester";
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        struct call call;
        request.cursor = ROWS[i].cursor;
        request.position = ROWS[i].to;
        cursors_reset(the_db, call_begin(&call, NULL), &request);
        assert_int_equal(call_code(&call), ROWS[i].code);
        assert_int_equal(
            sql_number("SELECT position FROM orders.cursors WHERE name = 'c'"),
            ROWS[i].at);
    }
    assert_int_equal(
        sql_number("SELECT position FROM orders.cursors WHERE name = 'other'"), 6);
}

static void a_cursor_that_is_deleted_is_gone_and_no_other(void **state)
{
    Events__V1__DeleteCursorRequest request = EVENTS__V1__DELETE_CURSOR_REQUEST__INIT;

    (void)state;
    sql("UPDATE orders.relay SET placed = 9, published = 9");
    assert_int_equal(commit("c", 6, NULL), ERR_OK);
    assert_int_equal(commit("other", 6, NULL), ERR_OK);
    request.caller = "tester";
    request.cursor = "c";
    for (int i = 0; i < 2; i++) {
        struct call call;
        cursors_delete(the_db, call_begin(&call, NULL), &request);
        assert_int_equal(call_code(&call), ERR_OK);
        assert_sql_text("{other}", "SELECT array_agg(name) FROM orders.cursors");
    }
}

static void a_replay_moves_the_mark_back_and_not_beyond_what_is_kept(void **state)
{
    Events__V1__ReplayRequest request = EVENTS__V1__REPLAY_REQUEST__INIT;
    static const struct {
        int64_t from;
        enum err_code code;
        int64_t published;
    } ROWS[] = {
        {4, ERR_OUT_OF_RANGE, 9}, {10, ERR_OUT_OF_RANGE, 9},
        {7, ERR_OK, 6},           {8, ERR_OK, 6},
        {5, ERR_OK, 4},
    };

    (void)state;
    sql("UPDATE orders.relay SET placed = 9, published = 9, pruned = 4");
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        struct call call;
        request.from = ROWS[i].from;
        cursors_replay(the_db, call_begin(&call, NULL), &request);
        assert_int_equal(call_code(&call), ROWS[i].code);
        assert_int_equal(sql_number("SELECT published FROM orders.relay"),
                         ROWS[i].published);
    }
}

/* The reply, with the lag in it; to be ended. */
static const Events__V1__GetLagReply *ask_lag(struct call *call, bool has_bus)
{
    cursors_lag(the_db, call_begin(call, NULL), has_bus);
    call_wait(call);
    assert_ok(call->error);
    return (Events__V1__GetLagReply *)call->reply;
}

static void lag_tells_how_far_everybody_is(void **state)
{
    PGconn *conn = admin_connect();
    struct call call;

    (void)state;
    add_events(conn, "o", 3);
    sql("UPDATE orders.relay SET placed = 9, published = 7, pruned = 4, holder = 'me'");
    assert_int_equal(commit("c", 5, NULL), ERR_OK);
    const Events__V1__GetLagReply *lag = ask_lag(&call, true);
    assert_true(lag->bus);
    assert_int_equal(lag->placed, 9);
    assert_int_equal(lag->published, 7);
    assert_int_equal(lag->unpublished, 2);
    assert_int_equal(lag->unplaced, 3);
    assert_string_equal(lag->holder, "me");
    assert_int_equal(lag->n_cursors, 1);
    assert_int_equal(lag->cursors[0]->behind, 4);
    call_end(&call);
    PQfinish(conn);
}

static void without_a_bus_nothing_is_told_as_published(void **state)
{
    struct sequencer *sequencer = relay("only", KEEP_MS);
    PGconn *conn = admin_connect();
    struct call call;

    (void)state;
    add_events(conn, "o", 3);
    wait_placed(3);
    sequencer_stop(sequencer);
    assert_int_equal(sql_number("SELECT count(published_at) FROM orders.outbox"), 0);
    const Events__V1__GetLagReply *lag = ask_lag(&call, false);
    assert_false(lag->bus);
    assert_int_equal(lag->placed, 3);
    assert_int_equal(lag->published, 0);
    assert_int_equal(lag->unpublished, 0);
    call_end(&call);
    PQfinish(conn);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(what_commits_later_comes_later_whatever_its_number),
        TEST(of_one_order_none_overtakes_another),
        TEST(readers_see_no_gap_while_several_replicas_write_and_relays_die),
        TEST(a_relay_that_hangs_is_taken_over),
        TEST(a_pause_that_is_longer_than_the_lease_does_not_lose_it),
        TEST(the_lag_is_told_by_whoever_relays_and_by_nobody_else),
        TEST(a_backlog_is_placed_at_ten_thousand_a_second_and_more),
        TEST(only_what_was_published_long_enough_ago_is_pruned),
        TEST(a_reader_is_told_when_what_it_wants_is_gone),
        TEST(a_read_waits_for_the_next_event_and_no_longer),
        TEST(not_more_wait_than_may_and_none_after_the_stop),
        TEST(a_reply_holds_no_more_than_a_message_can),
        TEST(who_listens_hears_by_topic_from_whoever_relays),
        TEST(one_that_hangs_up_at_once_shuts_nobody_out),
        TEST(events_are_broadcast_on_this_machine_alone),
        TEST(a_cursor_moves_forward_only_and_not_past_the_end),
        TEST(nobody_moves_the_cursor_of_another),
        TEST(an_operator_moves_any_cursor_and_not_beyond_what_is_kept),
        TEST(a_cursor_that_is_deleted_is_gone_and_no_other),
        TEST(a_replay_moves_the_mark_back_and_not_beyond_what_is_kept),
        TEST(lag_tells_how_far_everybody_is),
        TEST(without_a_bus_nothing_is_told_as_published),
    };

    log_start("sequencer_test", LOG_WARN);
    migrate_all();
    return cmocka_run_group_tests_name("sequencer", tests, NULL, NULL);
}
