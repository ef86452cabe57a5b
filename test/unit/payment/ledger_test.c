/*
 * ledger_test.c - the promises of payment/ledger.h, with the sandbox as the card provider.
 *
 * After each test the sandbox's own ledger, which is what really happened to the card, is
 * compared with payment's books.
 */
#include "unit/db/scoped.h"

#include "payment/ledger.h"
#include "payment/sandbox.h"

static const char USER[] = "11111111-1111-4111-8111-111111111111";
static const char OTHER[] = "22222222-2222-4222-8222-222222222222";

static struct db *the_db; /* of the test under way */
static struct provider *the_sandbox;

static int set_up(void **state)
{
    struct db_config config = {
        .url = database_url(),
        .name = "ledger_test",
        .queue_max = 8192,
        .batch_max = 512,
        .readers = 2,
    };

    (void)state;
    sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()");
    sql("TRUNCATE payment.charges, payment.methods, sandbox.charges, sandbox.attempts");
    ledger_configure(&config);
    assert_ok(db_open(&config, &the_db));
    assert_ok(sandbox_open(database_url(), &the_sandbox));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    db_close(the_db);
    sandbox_close(the_sandbox);
    int64_t wrong = sql_number(
        "SELECT count(*) FROM payment.charges c"
        " FULL JOIN sandbox.charges s ON s.idempotency_key = 'chg_' || c.id "
        "WHERE c.id IS NULL" /* charged unknown to us */
        "   OR c.state = 'captured' AND (s.status IS DISTINCT FROM 'captured'"
        "                                OR s.amount_cents <> c.amount_cents)"
        "   OR c.state = 'refunded' AND s.status = 'captured'"
        "   OR c.state = 'refunded' AND coalesce(s.refunded_cents, 0) <> c.refunded_cents"
        "   OR c.state = 'declined' AND s.status = 'captured'");
    if (wrong != 0)
        print_error("%lld charges differ from what the card saw\n", (long long)wrong);
    return wrong == 0 ? 0 : -1;
}

/* ---- doing ----------------------------------------------------------------------------- */

struct charge {
    struct call call;
    char id[ULID_SIZE];
    Payment__V1__ChargeRequest in;
    Payment__V1__RefundRequest refund;
};

static void charge_new(struct charge *c, const char *method, int64_t cents)
{
    memset(c, 0, sizeof *c);
    ulid_make(c->id);
    payment__v1__charge_request__init(&c->in);
    c->in.charge_id = c->id;
    c->in.user_id = (char *)USER;
    c->in.payment_method_id = (char *)method;
    c->in.amount_cents = cents;
    c->in.currency = (char *)"EUR";
    payment__v1__refund_request__init(&c->refund);
    c->refund.charge_id = c->id;
}

static void start_charge(struct charge *c, struct latch *latch)
{
    ledger_charge(the_db, the_sandbox, call_begin(&c->call, latch), &c->in);
}

static enum err_code charge(struct charge *c)
{
    start_charge(c, NULL);
    return call_code(&c->call);
}

static void start_refund(struct charge *c, struct latch *latch)
{
    ledger_refund(the_db, the_sandbox, call_begin(&c->call, latch), &c->refund);
}

/* The cents given back. */
static int64_t refund(struct charge *c)
{
    start_refund(c, NULL);
    call_wait(&c->call);
    assert_ok(c->call.error);
    int64_t cents =
        ((const Payment__V1__RefundReply *)(void *)c->call.reply)->refunded_cents;
    call_end(&c->call);
    return cents;
}

static enum err_code add_method(const char *user, const char *id, const char *token)
{
    struct call call;
    Payment__V1__AddPaymentMethodRequest in =
        PAYMENT__V1__ADD_PAYMENT_METHOD_REQUEST__INIT;

    in.user_id = (char *)user;
    in.payment_method_id = (char *)id;
    in.provider_token = (char *)token;
    in.label = (char *)"my card";
    ledger_add_method(the_db, call_begin(&call, NULL), &in);
    return call_code(&call);
}

#define assert_sandbox(charge, expected)                                                 \
    do {                                                                                 \
        char assert_query_[256];                                                         \
        snprintf(assert_query_, sizeof assert_query_,                                    \
                 "SELECT coalesce((SELECT status || ' ' || amount_cents || ' ' ||"       \
                 " refunded_cents FROM sandbox.charges WHERE idempotency_key ="          \
                 " 'chg_%s'), 'nothing')",                                               \
                 (charge)->id);                                                          \
        assert_sql_text(expected, assert_query_);                                        \
    } while (0)

/* ---- charge ---------------------------------------------------------------------------- */

static void a_charge_is_made_once_however_often_it_is_asked_for(void **state)
{
    struct charge c;
    char provider_id[64] = "";

    (void)state;
    charge_new(&c, "pm_card_visa", 1200);
    for (int again = 0; again < 3; again++) {
        start_charge(&c, NULL);
        call_wait(&c.call);
        assert_ok(c.call.error);
        const Payment__V1__ChargeReply *reply = (void *)c.call.reply;
        assert_string_equal(reply->charge_id, c.id);
        if (again == 0)
            snprintf(provider_id, sizeof provider_id, "%s", reply->provider_charge_id);
        assert_string_equal(reply->provider_charge_id, provider_id);
        call_end(&c.call);
    }
    assert_int_equal(sql_number("SELECT count(*) FROM sandbox.charges"), 1);
    assert_sandbox(&c, "captured 1200 0");
}

static void concurrent_calls_of_one_id_are_one_charge(void **state)
{
    enum { CALLS = 50 };
    static struct charge calls[CALLS];
    struct latch latch;

    (void)state;
    latch_set(&latch, CALLS);
    charge_new(&calls[0], "pm_card_visa", 700);
    for (int i = 0; i < CALLS; i++) {
        calls[i] = calls[0];
        calls[i].in.charge_id = calls[0].id;
    }
    for (int i = 0; i < CALLS; i++)
        start_charge(&calls[i], &latch);
    latch_wait(&latch, 0);
    for (int i = 0; i < CALLS; i++) {
        assert_ok(calls[i].call.error);
        assert_string_equal(
            ((const Payment__V1__ChargeReply *)(void *)calls[i].call.reply)
                ->provider_charge_id,
            ((const Payment__V1__ChargeReply *)(void *)calls[CALLS - 1].call.reply)
                ->provider_charge_id);
        if (i < CALLS - 1)
            call_end(&calls[i].call);
    }
    call_end(&calls[CALLS - 1].call);
    assert_sandbox(&calls[0], "captured 700 0");
}

static void a_decline_is_remembered_with_its_reason(void **state)
{
    struct charge c;

    (void)state;
    charge_new(&c, "pm_card_insufficientFunds", 5);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(charge(&c), ERR_PAYMENT_DECLINED);
        assert_non_null(strstr(c.call.error.message, "insufficient_funds"));
    }
    assert_string_equal(c.call.subject, "insufficient_funds,another_payment_method");
    charge_new(&c, "pm_card_processingError", 5);
    assert_int_equal(charge(&c), ERR_PAYMENT_DECLINED);
    assert_string_equal(c.call.subject, "processing_error,try_again_later");
    charge_new(&c, "pm_card_chargeDeclined", 5);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(charge(&c), ERR_PAYMENT_DECLINED);
        assert_non_null(strstr(c.call.error.message, "card_declined"));
    }
    assert_int_equal(refund(&c), 0);
    assert_int_equal(charge(&c), ERR_PAYMENT_DECLINED);
    assert_int_equal(sql_number("SELECT count(*) FROM sandbox.charges"
                                " WHERE status = 'captured'"),
                     0);
}

/* Whoever holds the card does not learn that it is known to be stolen; the ledger knows. */
static void a_suspicion_is_told_as_a_generic_decline(void **state)
{
    struct charge c;

    (void)state;
    charge_new(&c, "pm_card_stolenCard", 5);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(charge(&c), ERR_PAYMENT_DECLINED);
        assert_string_equal(c.call.subject, "generic_decline,another_payment_method");
        assert_null(strstr(c.call.error.message, "stolen"));
    }
    assert_sql_text("stolen_card", "SELECT decline_code FROM payment.charges");
}

static void something_else_under_the_same_id_is_refused(void **state)
{
    struct charge c, other;

    (void)state;
    charge_new(&c, "pm_card_visa", 100);
    assert_int_equal(charge(&c), ERR_OK);
    for (int what = 0; what < 4; what++) {
        charge_new(&other, what == 0 ? "pm_card_late" : "pm_card_visa",
                   what == 1 ? 101 : 100);
        memcpy(other.id, c.id, ULID_SIZE);
        if (what == 2)
            other.in.currency = (char *)"USD";
        if (what == 3)
            other.in.user_id = (char *)OTHER;
        assert_int_equal(charge(&other), ERR_ALREADY_EXISTS);
    }
    assert_sandbox(&c, "captured 100 0");
}

/* ---- refund ---------------------------------------------------------------------------- */

static void a_refund_gives_all_of_it_back_once(void **state)
{
    struct charge c;

    (void)state;
    charge_new(&c, "pm_card_visa", 900);
    assert_int_equal(charge(&c), ERR_OK);
    assert_int_equal(refund(&c), 900);
    assert_int_equal(refund(&c), 900);
    assert_sandbox(&c, "refunded 900 900");
    assert_int_equal(charge(&c), ERR_ABORTED);
    assert_sandbox(&c, "refunded 900 900");
}

static void refunding_an_unknown_id_bars_it_and_the_provider_is_never_asked(void **state)
{
    struct charge c;

    (void)state;
    charge_new(&c, "pm_card_visa", 900);
    assert_int_equal(refund(&c), 0);
    assert_int_equal(refund(&c), 0);
    assert_int_equal(charge(&c), ERR_ABORTED);
    assert_sandbox(&c, "nothing");
}

static void a_refund_while_the_charge_is_in_flight_wins(void **state)
{
    struct charge c, undo;

    (void)state;
    charge_new(&c, "pm_card_late", 300);
    charge_new(&undo, "pm_card_late", 300);
    memcpy(undo.id, c.id, ULID_SIZE);
    start_charge(&c, NULL);
    wait_sql("SELECT count(*) FROM sandbox.charges"); /* charged, and not yet told */
    assert_int_equal(refund(&undo), 300);
    assert_int_equal(c.call.answers, 0);
    assert_int_equal(call_code(&c.call), ERR_ABORTED);
    assert_sandbox(&c, "refunded 300 300");
    assert_int_equal(charge(&c), ERR_ABORTED);
}

static void refunds_that_race_their_charges_leave_no_money_behind(void **state)
{
    enum { PAIRS = 200 };
    static struct charge charges[PAIRS], refunds[PAIRS];
    struct latch latch;

    (void)state;
    latch_set(&latch, 2 * PAIRS);
    for (int i = 0; i < PAIRS; i++) {
        charge_new(&charges[i], "pm_card_visa", 10);
        charge_new(&refunds[i], "pm_card_visa", 10);
        memcpy(refunds[i].id, charges[i].id, ULID_SIZE);
    }
    for (int i = 0; i < PAIRS; i++) {
        start_charge(&charges[i], &latch);
        if (i >= 3) /* some refunds come a little later */
            start_refund(&refunds[i - 3], &latch);
    }
    for (int i = PAIRS - 3; i < PAIRS; i++)
        start_refund(&refunds[i], &latch);
    latch_wait(&latch, 0);
    for (int i = 0; i < PAIRS; i++) {
        assert_ok(refunds[i].call.error);
        assert_true(charges[i].call.error.code == ERR_OK ||
                    charges[i].call.error.code == ERR_ABORTED);
        call_end(&charges[i].call);
        call_end(&refunds[i].call);
    }
    assert_int_equal(sql_number("SELECT count(*) FROM payment.charges"
                                " WHERE state <> 'refunded'"),
                     0);
    assert_int_equal(sql_number("SELECT count(*) FROM sandbox.charges"
                                " WHERE status = 'captured'"),
                     0);
}

/* ---- providers that misbehave ---------------------------------------------------------- */

static void a_lost_answer_is_unknown_and_asking_again_finds_the_charge(void **state)
{
    struct charge c;

    (void)state;
    charge_new(&c, "pm_card_timeout", 400);
    assert_int_equal(charge(&c), ERR_DEADLINE_EXCEEDED);
    assert_int_equal(c.call.error.effect, EFFECT_UNKNOWN);
    assert_sandbox(&c, "captured 400 0");
    assert_sql_text("intent", "SELECT state FROM payment.charges");
    assert_int_equal(charge(&c), ERR_OK);
    assert_sandbox(&c, "captured 400 0");
}

static void a_charge_of_unknown_outcome_is_refunded_in_full(void **state)
{
    struct charge c;

    (void)state;
    charge_new(&c, "pm_card_timeout", 400);
    assert_int_equal(charge(&c), ERR_DEADLINE_EXCEEDED);
    assert_int_equal(refund(&c), 400);
    assert_int_equal(charge(&c), ERR_ABORTED);
    assert_sandbox(&c, "refunded 400 400");
}

static void a_provider_that_fails_once_charges_when_asked_again(void **state)
{
    struct charge c;

    (void)state;
    charge_new(&c, "pm_card_failOnce", 400);
    assert_int_equal(charge(&c), ERR_UNAVAILABLE);
    assert_sandbox(&c, "nothing");
    assert_int_equal(charge(&c), ERR_OK);
    assert_sandbox(&c, "captured 400 0");
}

static void a_provider_that_never_answers_has_charged_nothing_that_stays(void **state)
{
    struct charge c;

    (void)state;
    charge_new(&c, "pm_card_unreachable", 400);
    assert_int_equal(charge(&c), ERR_DEADLINE_EXCEEDED);
    assert_int_equal(c.call.error.effect, EFFECT_UNKNOWN);
    assert_int_equal(refund(&c), 0);
    assert_sandbox(&c, "voided 0 0");
    assert_int_equal(charge(&c), ERR_ABORTED);
}

/* ---- methods --------------------------------------------------------------------------- */

static void a_user_charges_only_methods_of_his_own(void **state)
{
    struct charge c;

    (void)state;
    assert_int_equal(add_method(USER, "card", "pm_card_visa"), ERR_OK);
    assert_int_equal(add_method(USER, "card", "pm_card_visa"), ERR_OK);
    assert_int_equal(add_method(USER, "card", "pm_card_late"), ERR_ALREADY_EXISTS);
    assert_int_equal(add_method(OTHER, "card", "pm_card_chargeDeclined"), ERR_OK);
    assert_int_equal(add_method(OTHER, "theirs", "pm_card_visa"), ERR_OK);
    charge_new(&c, "card", 100);
    assert_int_equal(charge(&c), ERR_OK);
    assert_sandbox(&c, "captured 100 0");
    charge_new(&c, "card", 100);
    c.in.user_id = (char *)OTHER;
    assert_int_equal(charge(&c), ERR_PAYMENT_DECLINED);
    for (int again = 0; again < 2; again++) {
        charge_new(&c, "theirs", 100);
        assert_int_equal(charge(&c), ERR_PAYMENT_DECLINED);
        assert_non_null(strstr(c.call.error.message, "not one of yours"));
        assert_sandbox(&c, "nothing");
    }
    /* Answered as the first time, though the method has come to be the user's. */
    assert_int_equal(add_method(USER, "theirs", "pm_card_visa"), ERR_OK);
    assert_int_equal(charge(&c), ERR_PAYMENT_DECLINED);
    assert_sandbox(&c, "nothing");
}

static void methods_are_listed_without_their_tokens_oldest_first(void **state)
{
    struct call call;
    Payment__V1__ListPaymentMethodsRequest in =
        PAYMENT__V1__LIST_PAYMENT_METHODS_REQUEST__INIT;

    (void)state;
    assert_int_equal(add_method(USER, "z-first", "pm_card_visa"), ERR_OK);
    assert_int_equal(add_method(USER, "a-second", "pm_card_visa"), ERR_OK);
    assert_int_equal(add_method(OTHER, "other", "pm_card_visa"), ERR_OK);
    in.user_id = (char *)USER;
    ledger_list_methods(the_db, call_begin(&call, NULL), &in);
    call_wait(&call);
    assert_ok(call.error);
    const Payment__V1__ListPaymentMethodsReply *reply = (void *)call.reply;
    assert_int_equal(reply->n_methods, 2);
    assert_string_equal(reply->methods[0]->payment_method_id, "z-first");
    assert_string_equal(reply->methods[1]->payment_method_id, "a-second");
    call_end(&call);
}

static void a_charge_reads_as_it_is(void **state)
{
    struct charge c;
    struct call call;
    Payment__V1__GetChargeRequest in = PAYMENT__V1__GET_CHARGE_REQUEST__INIT;

    (void)state;
    charge_new(&c, "pm_card_visa", 900);
    in.charge_id = c.id;
    ledger_get(the_db, call_begin(&call, NULL), &in);
    assert_int_equal(call_code(&call), ERR_NOT_FOUND);
    assert_int_equal(charge(&c), ERR_OK);
    assert_int_equal(refund(&c), 900);
    ledger_get(the_db, call_begin(&call, NULL), &in);
    call_wait(&call);
    assert_ok(call.error);
    const Payment__V1__GetChargeReply *reply = (void *)call.reply;
    assert_int_equal(reply->state, PAYMENT__V1__CHARGE_STATE__REFUNDED);
    assert_string_equal(reply->user_id, USER);
    assert_int_equal(reply->amount_cents, 900);
    assert_int_equal(reply->refunded_cents, 900);
    call_end(&call);
}

static int migrate_first(void **state)
{
    (void)state;
    migrate_all();
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_charge_is_made_once_however_often_it_is_asked_for),
        TEST(concurrent_calls_of_one_id_are_one_charge),
        TEST(a_decline_is_remembered_with_its_reason),
        TEST(a_suspicion_is_told_as_a_generic_decline),
        TEST(something_else_under_the_same_id_is_refused),
        TEST(a_refund_gives_all_of_it_back_once),
        TEST(refunding_an_unknown_id_bars_it_and_the_provider_is_never_asked),
        TEST(a_refund_while_the_charge_is_in_flight_wins),
        TEST(refunds_that_race_their_charges_leave_no_money_behind),
        TEST(a_lost_answer_is_unknown_and_asking_again_finds_the_charge),
        TEST(a_charge_of_unknown_outcome_is_refunded_in_full),
        TEST(a_provider_that_fails_once_charges_when_asked_again),
        TEST(a_provider_that_never_answers_has_charged_nothing_that_stays),
        TEST(a_user_charges_only_methods_of_his_own),
        TEST(methods_are_listed_without_their_tokens_oldest_first),
        TEST(a_charge_reads_as_it_is),
    };

    return cmocka_run_group_tests_name("ledger", tests, migrate_first, NULL);
}
