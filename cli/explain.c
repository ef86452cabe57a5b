/*
 * explain.c - checkoutctl explain: one order's past in one timeline, and what happens
 * next.
 *
 * Asks the orchestrator for the claim, its incidents, order and events, inventory for the
 * reservation, payment for the charge and for what the provider says of it; story.c makes
 * one row of it.
 */
#include <jansson.h>
#include <stdio.h>

#include "cli/catalogue.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/remote.h"
#include "cli/states.h"
#include "cli/story.h"

/* ---- asking ------------------------------------------------------------------- */

/* A service that has nothing under the id has nothing to tell: no failure. */
static struct outcome ask(const struct cli *cli, const char *service, const char *method,
                          const ProtobufCMessage *request,
                          const ProtobufCMessageDescriptor *reply_type,
                          const ProtobufCMessage **reply)
{
    struct outcome end =
        remote_call(cli, place_find(service), method, request, reply_type, reply);

    if (end.status == EXIT_RPC + (int)ERR_NOT_FOUND) {
        *reply = NULL;
        return done();
    }
    return end;
}

static struct outcome ask_inventory(struct story *story, char *id)
{
    Inventory__V1__GetReservationRequest request =
        INVENTORY__V1__GET_RESERVATION_REQUEST__INIT;
    const ProtobufCMessage *reply = NULL;

    request.reservation_id = id;
    struct outcome end =
        ask(story->cli, "inventory", "inventory.v1.Inventory/GetReservation",
            &request.base, &inventory__v1__get_reservation_reply__descriptor, &reply);
    story->reservation = (const Inventory__V1__GetReservationReply *)reply;
    return end;
}

static struct outcome ask_payment(struct story *story, char *id)
{
    Payment__V1__GetChargeRequest request = PAYMENT__V1__GET_CHARGE_REQUEST__INIT;
    const ProtobufCMessage *reply = NULL;

    request.charge_id = id;
    struct outcome end =
        ask(story->cli, "payment", "payment.v1.Payment/GetCharge", &request.base,
            &payment__v1__get_charge_reply__descriptor, &reply);
    story->charge = (const Payment__V1__GetChargeReply *)reply;
    return end;
}

static struct outcome ask_provider(struct story *story, char *id)
{
    Payment__V1__ListProviderChargesRequest request =
        PAYMENT__V1__LIST_PROVIDER_CHARGES_REQUEST__INIT;
    const ProtobufCMessage *reply = NULL;

    request.only_id = id;
    struct outcome end =
        ask(story->cli, "payment", "payment.v1.Payment/ListProviderCharges",
            &request.base, &payment__v1__list_provider_charges_reply__descriptor, &reply);
    const Payment__V1__ListProviderChargesReply *list =
        (const Payment__V1__ListProviderChargesReply *)reply;
    if (end.status == 0 && list != NULL && list->n_charges > 0)
        story->provider = list->charges[0];
    return end;
}

static struct outcome ask_all(struct story *story, char *id)
{
    Orders__V1__GetCheckoutRequest request = ORDERS__V1__GET_CHECKOUT_REQUEST__INIT;
    const ProtobufCMessage *reply = NULL;

    request.order_id = id;
    struct outcome end = remote_call(story->cli, place_find("orchestrator"),
                                     "orders.v1.Orders/GetCheckout", &request.base,
                                     &orders__v1__get_checkout_reply__descriptor, &reply);
    story->checkout = (const Orders__V1__GetCheckoutReply *)reply;
    if (end.status == 0 && story->checkout->checkout == NULL)
        end = remote(err_make(ERR_DATA_LOSS, "The reply holds no checkout."));
    if (end.status == 0)
        end = ask_inventory(story, id);
    if (end.status == 0)
        end = ask_payment(story, id);
    return end.status == 0 ? ask_provider(story, id) : end;
}

/* ---- telling ------------------------------------------------------------------ */

static void print_story(const struct story *story)
{
    const Orders__V1__Checkout *c = story->checkout->checkout;
    const char *money = story->checkout->money;
    FILE *out = story->cli->out;
    char time[TIME_SIZE];

    fprintf(out, "order %s, %s", c->order_id, checkout_state_text(c->state));
    if (*money != '\0') {
        fprintf(out, "; money: ");
        output_text(out, money);
    }
    fprintf(out, "\n\n");
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

static struct err json_story(const struct story *story)
{
    const Orders__V1__Checkout *c = story->checkout->checkout;
    json_t *moments = json_array();

    for (int i = 0; i < story->count; i++)
        json_array_append_new(moments, json_pack("{s:I, s:s, s:s}", "at_ms",
                                                 (json_int_t)story->moments[i].at_ms,
                                                 "service", story->moments[i].service,
                                                 "what", story->moments[i].text));
    json_t *all = json_pack("{s:s, s:s, s:s, s:o, s:s}", "order_id", c->order_id, "state",
                            checkout_state_text(c->state), "money",
                            story->checkout->money, "timeline", moments, "next",
                            story->next);
    if (all == NULL)
        return err_memory();
    int rc = json_dumpf(all, story->cli->out, JSON_COMPACT);
    json_decref(all);
    fputc('\n', story->cli->out);
    return rc == 0 ? ERR_NONE
                   : err_make(ERR_DATA_LOSS, "the output could not be written");
}

struct outcome command_explain(struct cli *cli)
{
    struct story *story = arena_alloc(cli->arena, sizeof *story);

    if (story == NULL)
        return local(err_memory());
    story->cli = cli;
    struct outcome end = ask_all(story, borrow(cli->words[0]));
    if (end.status != 0)
        return end;
    story_tell(story);
    if (cli->options[OPT_JSON] != NULL)
        return local(json_story(story));
    print_story(story);
    return done();
}
