/*
 * explain.c - checkoutctl explain: one order's past in one timeline, and what happens
 * next.
 *
 * First finds the order, when the id may be another's.  Then asks the orchestrator for the
 * claim, its incidents, order and events, inventory for the reservation, payment for the
 * charge and for what the provider says of it; story.c makes one row of it.
 */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "cli/catalogue.h"
#include "cli/commands.h"
#include "cli/find.h"
#include "cli/output.h"
#include "cli/remote.h"
#include "cli/several.h"
#include "cli/states.h"
#include "cli/story.h"

/* ---- asking ------------------------------------------------------------------- */

enum asked {
    ASKED_CHECKOUT,
    ASKED_RESERVATION,
    ASKED_CHARGE,
    ASKED_PROVIDER,
    ASKED_COUNT
};

struct requests {
    Orders__V1__GetCheckoutRequest checkout;
    Inventory__V1__GetReservationRequest reservation;
    Payment__V1__GetChargeRequest charge;
    Payment__V1__ListProviderChargesRequest provider;
};

static struct question question(const char *place, const char *method,
                                const ProtobufCMessage *request,
                                const ProtobufCMessageDescriptor *reply_type)
{
    return (struct question){.place = place_find(place),
                             .method = method,
                             .request = request,
                             .reply_type = reply_type};
}

/* All at once; a service that has nothing under the id has nothing to tell. */
static void ask_all(const struct cli *cli, char *id, int64_t deadline_ms,
                    struct question *q)
{
    struct requests r = {ORDERS__V1__GET_CHECKOUT_REQUEST__INIT,
                         INVENTORY__V1__GET_RESERVATION_REQUEST__INIT,
                         PAYMENT__V1__GET_CHARGE_REQUEST__INIT,
                         PAYMENT__V1__LIST_PROVIDER_CHARGES_REQUEST__INIT};

    r.checkout.order_id = r.reservation.reservation_id = id;
    r.charge.charge_id = r.provider.only_id = id;
    q[ASKED_CHECKOUT] =
        question("orchestrator", "orders.v1.Orders/GetCheckout", &r.checkout.base,
                 &orders__v1__get_checkout_reply__descriptor);
    q[ASKED_RESERVATION] =
        question("inventory", "inventory.v1.Inventory/GetReservation",
                 &r.reservation.base, &inventory__v1__get_reservation_reply__descriptor);
    q[ASKED_CHARGE] = question("payment", "payment.v1.Payment/GetCharge", &r.charge.base,
                               &payment__v1__get_charge_reply__descriptor);
    q[ASKED_PROVIDER] =
        question("payment", "payment.v1.Payment/ListProviderCharges", &r.provider.base,
                 &payment__v1__list_provider_charges_reply__descriptor);
    for (int i = 0; i < ASKED_COUNT; i++)
        q[i].timeout_ms = several_share(deadline_ms, true);
    several_ask(cli, q, ASKED_COUNT);
}

/* Whether anybody has something under the id, which then is an order's. */
static bool has_answers(const struct story *story)
{
    return story->checkout != NULL || story->reservation != NULL ||
           story->charge != NULL || story->provider != NULL;
}

static struct outcome take_answers(struct story *story, const struct question *q)
{
    const Payment__V1__ListProviderChargesReply *provider =
        (const Payment__V1__ListProviderChargesReply *)q[ASKED_PROVIDER].reply;

    story->checkout = (const Orders__V1__GetCheckoutReply *)q[ASKED_CHECKOUT].reply;
    story->reservation =
        (const Inventory__V1__GetReservationReply *)q[ASKED_RESERVATION].reply;
    story->charge = (const Payment__V1__GetChargeReply *)q[ASKED_CHARGE].reply;
    if (provider != NULL && provider->n_charges > 0)
        story->provider = provider->charges[0];
    story->orders_missing = question_missing(&q[ASKED_CHECKOUT]);
    story->effects_missing = question_missing(&q[ASKED_RESERVATION]) ||
                             question_missing(&q[ASKED_CHARGE]) ||
                             question_missing(&q[ASKED_PROVIDER]);
    if (story->checkout != NULL && story->checkout->checkout == NULL)
        return remote(err_make(ERR_DATA_LOSS, "The reply holds no checkout."));
    return !has_answers(story) && !story->orders_missing ? q[ASKED_CHECKOUT].end : done();
}

/* ---- telling ------------------------------------------------------------------ */

static const char *state_of(const struct story *story)
{
    return story->checkout != NULL ? checkout_state_text(story->checkout->checkout->state)
           : story->orders_missing ? "state not known"
                                   : "no checkout";
}

static const char *money_of(const struct story *story)
{
    return story->checkout != NULL ? story->checkout->money : "";
}

/* Of a request's id only the orchestrator knows that it is one. */
static void print_head(const struct story *story, const char *id)
{
    const char *money = money_of(story);
    FILE *out = story->cli->out;

    if (has_answers(story))
        fprintf(out, "order %s, %s", id, state_of(story));
    else
        fprintf(out, "%s, an order's id or a request's: that is not known now", id);
    if (*money != '\0') {
        fprintf(out, "; money: ");
        output_text(out, money);
    }
    fprintf(out, "\n\n");
}

static void print_story(const struct story *story, const char *id)
{
    FILE *out = story->cli->out;
    char time[TIME_SIZE];

    print_head(story, id);
    for (int i = 0; i < story->count; i++) {
        const struct moment *m = &story->moments[i];
        int64_t since = m->at_ms - story->moments[0].at_ms;
        /* "2026-01-31 12:00:00 UTC": the milliseconds go before the zone. */
        fprintf(out, "  %.19s.%03d  %+9.3f s  %-12s ", time_text(m->at_ms, time),
                (int)(m->at_ms % 1000), (double)since / 1000, m->service);
        output_text(out, m->text);
        fputc('\n', out);
    }
    fprintf(out, "\nNext: %s\n", story->next);
}

static struct err json_story(const struct story *story, const char *id,
                             const struct question *questions)
{
    json_t *moments = json_array();

    for (int i = 0; i < story->count; i++)
        json_array_append_new(moments, json_pack("{s:I, s:s, s:s}", "at_ms",
                                                 (json_int_t)story->moments[i].at_ms,
                                                 "service", story->moments[i].service,
                                                 "what", story->moments[i].text));
    json_t *all =
        json_pack("{s:s, s:s?, s:s, s:s, s:o, s:s, s:o}", "id", story->cli->words[0],
                  "order_id", has_answers(story) ? id : NULL, "state", state_of(story),
                  "money", money_of(story), "timeline", moments, "next", story->next,
                  "missing", several_missing_json(questions, ASKED_COUNT));
    if (all == NULL)
        return err_memory();
    int rc = json_dumpf(all, story->cli->out, JSON_COMPACT);
    json_decref(all);
    fputc('\n', story->cli->out);
    return rc == 0 ? ERR_NONE
                   : err_make(ERR_DATA_LOSS, "the output could not be written");
}

static struct outcome tell(struct story *story, const char *id,
                           const struct question *questions)
{
    story_tell(story);
    if (story->cli->options[OPT_JSON] == NULL)
        print_story(story, id);
    struct outcome end =
        local(story->cli->options[OPT_JSON] == NULL ? ERR_NONE
                                                    : json_story(story, id, questions));
    if (end.status != 0)
        return end;
    several_name_others(story->cli, questions, ASKED_COUNT);
    return several_end(questions, ASKED_COUNT);
}

/* ---- all of it ---------------------------------------------------------------- */

static struct outcome explain(struct story *story, const char *id, int64_t deadline_ms)
{
    struct question questions[ASKED_COUNT];

    ask_all(story->cli, borrow(id), deadline_ms, questions);
    struct outcome end = take_answers(story, questions);
    if (end.status == 0)
        end = tell(story, id, questions);
    end.error.subject = NULL; /* lives in a question's memory */
    several_close(questions, ASKED_COUNT);
    return end;
}

/* A ULID that is not known as a request's, also because the orchestrator does not say, may
 * be an order's. */
static struct outcome find(const struct cli *cli, int64_t deadline_ms, char id[ULID_SIZE])
{
    const char *text = cli->words[0];

    if (!ulid_valid(text))
        return find_order(cli, text, deadline_ms, id);
    if (find_of_request(cli, text, deadline_ms, id).status != 0)
        memcpy(id, text, ULID_SIZE);
    return done();
}

struct outcome command_explain(struct cli *cli)
{
    struct story *story = arena_alloc(cli->arena, sizeof *story);
    int64_t deadline_ms = several_deadline(cli);
    char id[ULID_SIZE];

    if (story == NULL)
        return local(err_memory());
    story->cli = cli;
    struct outcome end = find(cli, deadline_ms, id);
    return end.status != 0 ? end : explain(story, id, deadline_ms);
}
