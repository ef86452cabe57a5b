/* find.c - see find.h. */
#include "cli/view/find.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/clock.h"
#include "base/contract/bounds.h"
#include "cli/output.h"
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

/* ---- asking ------------------------------------------------------------------------ */

/* The text may be any of these three: a key, a cart or the provider's charge. */
struct search {
    Orders__V1__ListCheckoutsRequest key, cart;
    Payment__V1__ListChargesRequest charge;
    struct question questions[3];
    size_t count;
};

static void add_question(struct search *s, const struct method *method,
                         const ProtobufCMessage *request)
{
    s->questions[s->count++] = (struct question){.method = method, .request = request};
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
        add_question(s, &LIST_CHECKOUTS, &s->key.base);
    if (name_valid(text))
        add_question(s, &LIST_CHECKOUTS, &s->cart.base);
    if (visible_ascii(text, 1, PROVIDER_ID_MAX))
        add_question(s, &LIST_CHARGES, &s->charge.base);
}

/* Adds the orders of a reply, and sets `before` to the start of its next page. */
static void take(const struct question *q, struct matches *matches, char *before,
                 size_t size)
{
    const char *next = "";

    if (q->reply == NULL) {
        next = "";
    } else if (q->method == &LIST_CHARGES) {
        const Payment__V1__ListChargesReply *r = q->reply;
        for (size_t i = 0; i < r->n_charges; i++)
            add(matches, r->charges[i]->charge_id);
        next = r->next_before_id;
    } else {
        const Orders__V1__ListCheckoutsReply *r = q->reply;
        for (size_t i = 0; i < r->n_checkouts; i++)
            add(matches, r->checkouts[i]->order_id);
        next = r->next_before_id;
    }
    snprintf(before, size, "%s", next);
}

/* Asks all, and leaves time for another round. */
static void ask(const struct cli *cli, struct search *s, int64_t deadline_ms)
{
    for (size_t i = 0; i < s->count; i++)
        s->questions[i].timeout_ms = several_share(deadline_ms, false);
    several_ask(cli, s->questions, s->count);
}

/* Reads one page of each; false when there are no more pages. */
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

/* ---- deciding ---------------------------------------------------------------------- */

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
    add_question(&s, &LIST_CHECKOUTS, &request.base);
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

/* ---- showing ----------------------------------------------------------------------- */

struct outcome find_and_show(const struct cli *cli, const struct method *method,
                             const ProtobufCMessage *request, char **id,
                             reply_printer *print)
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
        end = remote_show(cli, method, request, print);
    if (end.error.code != ERR_NOT_FOUND || *id == found)
        return end;
    /* Nothing has that id: perhaps it is a request's. */
    struct outcome of_request = find_of_request(cli, text, several_deadline(cli), found);
    *id = found;
    return of_request.status != 0 ? end : remote_show(cli, method, request, print);
}

/* ---- filters of lists -------------------------------------------------------------- */

/* "30s", "15m", "2h", "3d" before now; false when it is none. */
static bool read_ago(const char *text, int64_t *out)
{
    static const struct {
        char letter;
        int64_t ms;
    } UNITS[] = {{'s', 1000}, {'m', 60000}, {'h', 3600000}, {'d', 86400000}};
    size_t digits = strspn(text, "0123456789");

    if (digits == 0 || digits > 6 || text[digits] == '\0' || text[digits + 1] != '\0')
        return false;
    for (size_t i = 0; i < sizeof UNITS / sizeof *UNITS; i++)
        if (text[digits] == UNITS[i].letter) {
            *out = clock_wall_ms() - atoll(text) * UNITS[i].ms;
            return true;
        }
    return false;
}

/* A date, with or without a time of UTC. */
static bool read_date(const char *text, int64_t *out)
{
    static const char *const FORMS[] = {"%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%MZ",
                                        "%Y-%m-%d"};

    for (size_t i = 0; i < sizeof FORMS / sizeof *FORMS; i++) {
        struct tm utc = {.tm_mday = 1};
        const char *end = strptime(text, FORMS[i], &utc);
        if (end != NULL && *end == '\0') {
            *out = (int64_t)timegm(&utc) * 1000;
            return true;
        }
    }
    return false;
}

static struct err read_time(const struct cli *cli, enum option option, int64_t *out)
{
    const char *text = cli->options[option];

    *out = 0;
    if (text == NULL)
        return ERR_NONE;
    if ((read_ago(text, out) || read_date(text, out)) && *out > 0 && *out < ULID_MS_END)
        return ERR_NONE;
    return invalid(
        "--%s is \"%.60s\"; write how long ago, such as 30m, 2h or 3d, or a time of UTC "
        "such as 2026-01-31 or 2026-01-31T12:00:00Z",
        OPTIONS[option].name, text);
}

/* "running, aborting, completed or failed": all but the one of number 0. */
static void name_all(const ProtobufCEnumDescriptor *type, char *out, size_t size)
{
    size_t used = 0;

    for (unsigned i = 0; i < type->n_values && used < size; i++)
        if (type->values[i].value != 0)
            used += (size_t)snprintf(out + used, size - used, "%s%s",
                                     used > 0 ? ", " : "", type->values[i].name);
    for (char *c = out; *c != '\0'; c++)
        *c = (char)(*c >= 'A' && *c <= 'Z' ? *c - 'A' + 'a' : *c);
}

static struct err read_state(const struct cli *cli, const ProtobufCEnumDescriptor *type,
                             int *out)
{
    const char *text = cli->options[OPT_STATUS];
    char names[96];

    *out = 0;
    if (text == NULL)
        return ERR_NONE;
    for (unsigned i = 0; i < type->n_values; i++)
        if (type->values[i].value != 0 && strcasecmp(type->values[i].name, text) == 0) {
            *out = type->values[i].value;
            return ERR_NONE;
        }
    name_all(type, names, sizeof names);
    return invalid("--status is \"%.40s\"; it must be one of %s", text, names);
}

struct err filters_read(const struct cli *cli, const ProtobufCEnumDescriptor *states,
                        struct filters *out)
{
    int64_t limit = LIST_DEFAULT;
    struct err e = ERR_NONE;

    *out = (struct filters){.limit = 0};
    if (states != NULL)
        e = cli_option(cli, OPT_LIMIT, 1, ENTRIES_PAGE_MAX, &limit);
    out->limit = (int32_t)limit;
    if (!failed(e))
        e = read_time(cli, OPT_SINCE, &out->since_ms);
    if (!failed(e))
        e = read_time(cli, OPT_UNTIL, &out->until_ms);
    if (!failed(e) && states != NULL)
        e = read_state(cli, states, &out->state);
    return e;
}

void filters_print_more(const struct cli *cli, size_t count, const char *next)
{
    const char *limit = cli->options[OPT_LIMIT];
    size_t most = limit == NULL ? LIST_DEFAULT : (size_t)atoi(limit);

    if (*next == '\0')
        return;
    if (count < most)
        fprintf(cli->err, "Only the newest %d were looked at, up to %s.  ", PAGE_SCAN_MAX,
                next);
    fprintf(cli->err, "More: the same command with --after %s\n", next);
}
