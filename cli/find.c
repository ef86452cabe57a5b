/* find.c - see find.h. */
#include "cli/find.h"

#include <stdio.h>
#include <string.h>

#include "base/contract/bounds.h"
#include "cli/output.h"
#include "cli/several.h"
#include "proto/orders.pb-c.h"
#include "proto/payment.pb-c.h"

enum { MATCHES_MAX = 20, PAGES_MAX = 10 };

struct matches {
    char ids[MATCHES_MAX][ULID_SIZE];
    size_t count;
};

/* Newest first, each once; past MATCHES_MAX the oldest are left out. */
static void add(struct matches *matches, const char *id)
{
    size_t at = 0;

    while (at < matches->count && strcmp(matches->ids[at], id) > 0)
        at++;
    if (at == MATCHES_MAX || (at < matches->count && strcmp(matches->ids[at], id) == 0) ||
        !ulid_valid(id))
        return;
    size_t moved = matches->count - at - (matches->count == MATCHES_MAX);
    memmove(matches->ids[at + 1], matches->ids[at], moved * ULID_SIZE);
    memcpy(matches->ids[at], id, ULID_SIZE);
    matches->count += matches->count < MATCHES_MAX;
}

/* ---- asking ---------------------------------------------------------------------- */

/* A name may be any of these three. */
struct search {
    Orders__V1__ListCheckoutsRequest key, cart;
    Payment__V1__ListChargesRequest charge;
    struct question questions[3];
    size_t count;
};

static void ask_orders(struct search *s, Orders__V1__ListCheckoutsRequest *request)
{
    s->questions[s->count++] =
        (struct question){.place = place_find("orchestrator"),
                          .method = "orders.v1.Orders/ListCheckouts",
                          .request = &request->base,
                          .reply_type = &orders__v1__list_checkouts_reply__descriptor};
}

static void prepare(struct search *s, const struct cli *cli, const char *text)
{
    const char *user = cli->options[OPT_USER];

    *s = (struct search){.key = ORDERS__V1__LIST_CHECKOUTS_REQUEST__INIT,
                         .cart = ORDERS__V1__LIST_CHECKOUTS_REQUEST__INIT,
                         .charge = PAYMENT__V1__LIST_CHARGES_REQUEST__INIT};
    s->key.newest_first = s->cart.newest_first = s->charge.newest_first = true;
    s->key.limit = s->cart.limit = s->charge.limit = MATCHES_MAX;
    s->key.user_id = s->cart.user_id = s->charge.user_id = borrow(user);
    s->key.idempotency_key = s->cart.cart_id = s->charge.provider_charge_id =
        borrow(text);
    if (user != NULL && visible_ascii(text, IDEMPOTENCY_KEY_MIN, IDEMPOTENCY_KEY_MAX))
        ask_orders(s, &s->key);
    if (name_valid(text))
        ask_orders(s, &s->cart);
    if (visible_ascii(text, 1, PROVIDER_ID_MAX))
        s->questions[s->count++] =
            (struct question){.place = place_find("payment"),
                              .method = "payment.v1.Payment/ListCharges",
                              .request = &s->charge.base,
                              .reply_type = &payment__v1__list_charges_reply__descriptor};
}

/* Takes what a reply names, and where the next page of it begins: into `before`. */
static void take(const struct question *q, struct matches *matches, char *before,
                 size_t size)
{
    const char *next = "";

    if (q->reply == NULL) {
        next = "";
    } else if (q->reply_type == &payment__v1__list_charges_reply__descriptor) {
        const Payment__V1__ListChargesReply *r =
            (const Payment__V1__ListChargesReply *)q->reply;
        for (size_t i = 0; i < r->n_charges; i++)
            add(matches, r->charges[i]->charge_id);
        next = r->next_before_id;
    } else {
        const Orders__V1__ListCheckoutsReply *r =
            (const Orders__V1__ListCheckoutsReply *)q->reply;
        for (size_t i = 0; i < r->n_checkouts; i++)
            add(matches, r->checkouts[i]->order_id);
        next = r->next_before_id;
    }
    snprintf(before, size, "%s", next);
}

/* Asks all; when they have answered, there is time left for another round. */
static void ask(const struct cli *cli, struct search *s, int64_t deadline_ms)
{
    for (size_t i = 0; i < s->count; i++)
        s->questions[i].timeout_ms = several_share(deadline_ms, false);
    several_ask(cli, s->questions, s->count);
}

/* One page of each; false when there is nothing further to look at. */
static bool look(const struct cli *cli, struct search *s, int64_t deadline_ms,
                 struct matches *matches, struct outcome *end,
                 char before[2][PAGE_AFTER_MAX + 1])
{
    char unused[PAGE_AFTER_MAX + 1];

    ask(cli, s, deadline_ms);
    before[0][0] = before[1][0] = '\0';
    for (size_t i = 0; i < s->count; i++) {
        const struct question *q = &s->questions[i];
        take(q, matches,
             q->request == &s->cart.base     ? before[0]
             : q->request == &s->charge.base ? before[1]
                                             : unused,
             sizeof unused);
    }
    *end = several_end(s->questions, s->count);
    several_close(s->questions, s->count);
    s->cart.before_id = before[0];
    s->charge.before_id = before[1];
    return before[0][0] != '\0' || before[1][0] != '\0';
}

/* Leaves out what has no further page. */
static void keep_unfinished(struct search *s)
{
    size_t kept = 0;

    for (size_t i = 0; i < s->count; i++)
        if ((s->questions[i].request == &s->cart.base && s->cart.before_id[0] != '\0') ||
            (s->questions[i].request == &s->charge.base &&
             s->charge.before_id[0] != '\0'))
            s->questions[kept++] = s->questions[i];
    s->count = kept;
}

/* ---- deciding -------------------------------------------------------------------- */

static struct outcome not_found(const struct cli *cli, const char *text, bool more)
{
    const char *user =
        cli->options[OPT_USER] == NULL ? "; for an idempotency key add --user" : "";

    if (more)
        return remote(err_make(ERR_NOT_FOUND,
                               "\"%.64s\" is no cart or provider's id of the newest %d "
                               "checkouts%s; there are older ones",
                               text, PAGES_MAX * PAGE_SCAN_MAX, user));
    return remote(err_make(ERR_NOT_FOUND,
                           "\"%.64s\" is the id of no order, request, cart or provider's "
                           "charge%s",
                           text, user));
}

static struct outcome choose(const struct cli *cli, const char *text,
                             const struct matches *matches, char out[ULID_SIZE])
{
    memcpy(out, matches->ids[0], ULID_SIZE);
    if (matches->count == 1)
        return done();
    fprintf(cli->err, "%zu%s checkouts have \"", matches->count,
            matches->count == MATCHES_MAX ? " or more" : "");
    output_text(cli->err, text);
    fprintf(cli->err, "\"; this is the newest.  The others:");
    for (size_t i = 1; i < matches->count; i++)
        fprintf(cli->err, " %s", matches->ids[i]);
    fputc('\n', cli->err);
    return done();
}

struct outcome find_order(const struct cli *cli, const char *text, int64_t deadline_ms,
                          char out[ULID_SIZE])
{
    char before[2][PAGE_AFTER_MAX + 1];
    struct matches matches = {.count = 0};
    struct outcome end = done();
    struct search s;
    bool more = true;

    prepare(&s, cli, text);
    for (int page = 0;
         page < PAGES_MAX && more && s.count > 0 && matches.count == 0 && end.status == 0;
         page++) {
        more = look(cli, &s, deadline_ms, &matches, &end, before);
        keep_unfinished(&s);
    }
    if (matches.count > 0)
        return choose(cli, text, &matches, out);
    return end.status != 0 ? end : not_found(cli, text, more && s.count > 0);
}

struct outcome find_of_request(const struct cli *cli, const char *request_id,
                               int64_t deadline_ms, char out[ULID_SIZE])
{
    Orders__V1__ListCheckoutsRequest request = ORDERS__V1__LIST_CHECKOUTS_REQUEST__INIT;
    char before[PAGE_AFTER_MAX + 1];
    struct matches matches = {.count = 0};
    struct search s = {.count = 0};

    request.newest_first = true;
    request.limit = 1;
    request.request_id = borrow(request_id);
    ask_orders(&s, &request);
    ask(cli, &s, deadline_ms);
    take(&s.questions[0], &matches, before, sizeof before);
    struct outcome end = several_end(s.questions, s.count);
    several_close(s.questions, s.count);
    if (matches.count > 0)
        return choose(cli, request_id, &matches, out);
    return end.status != 0
               ? end
               : remote(
                     err_make(ERR_NOT_FOUND,
                              "%s is the id of no order, and of no request that is known",
                              request_id));
}

/* ---- showing --------------------------------------------------------------------- */

struct outcome find_and_show(const struct cli *cli, const char *service,
                             const char *method, const ProtobufCMessage *request,
                             char **id, const ProtobufCMessageDescriptor *reply_type,
                             void (*print)(const struct cli *cli,
                                           const ProtobufCMessage *reply))
{
    const char *text = cli->words[0];
    char *found = arena_alloc(cli->arena, ULID_SIZE);
    struct outcome end = done();

    if (found == NULL)
        return local(err_memory());
    *id = borrow(text);
    if (!ulid_valid(text)) {
        end = find_order(cli, text, several_deadline(cli), found);
        *id = found;
    }
    if (end.status == 0)
        end = remote_show(cli, service, method, request, reply_type, print);
    if (end.error.code != ERR_NOT_FOUND || *id == found)
        return end;
    /* Nothing has that id: perhaps it is a request's. */
    struct outcome of_request = find_of_request(cli, text, several_deadline(cli), found);
    *id = found;
    return of_request.status != 0
               ? end
               : remote_show(cli, service, method, request, reply_type, print);
}
