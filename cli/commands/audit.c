/*
 * audit.c - checkoutctl audit: checks that all books agree, on a live system, by reading
 * only.
 *
 *      four books, merged by id --> rules --> fine: counted
 *                                        \--> suspect --> [grace] --> looked at again
 *                                                        --> still so: a violation
 *
 * The books are read at different times, so one difference proves nothing.  A suspect is
 * therefore read again on its own after the grace period: its checkout, its reservation,
 * its charge and the provider's entry, then its checkout again.  If the checkout is final
 * and did not change meanwhile, what was read in between is final too, and the difference
 * is real.  The same holds for an unfinished checkout whose lease expired more than the
 * grace period ago.  A checkout in progress is counted as under way and not judged;
 * neither is an entry without checkout that is younger than a lease.
 *
 * Stock is judged immediately: a product's figures, and the rows they are computed from,
 * come from one snapshot.
 *
 * A service that does not answer at the start is left out, with every check that needs
 * it.  If one stops answering later, the findings so far are printed.  Either way the
 * exit status is not 0.
 *
 * Memory is bounded: two pages a book, SUSPECTS_MAX ids, FINDINGS_LISTED_MAX violations.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/contract/bounds.h"
#include "base/contract/ids.h"
#include "cli/commands/commands.h"
#include "cli/output.h"
#include "cli/view/books.h"
#include "proto/events.pb-c.h"
#include "proto/rpc.pb-c.h"

/* ---- findings ---------------------------------------------------------------------- */

enum { FINDINGS_LISTED_MAX = 1000 }; /* more are counted, not listed */

struct finding {
    enum check check;
    const char *id;
    const char *what;
    const char *todo;
};

struct findings {
    struct arena *arena; /* of the texts */
    int64_t looked_at[CHECK_COUNT];
    int64_t violations[CHECK_COUNT];
    int64_t total;     /* violations in all */
    int64_t under_way; /* ids that were not judged */
    uint32_t possible; /* checks that were made; the others lacked a service */
    bool cut_short;    /* not everything was looked at */
    struct finding list[FINDINGS_LISTED_MAX];
    size_t listed;
};

/* The check's advice, with every %s of it the id. */
static char *advice(struct arena *arena, const char *todo, const char *id)
{
    size_t room = strlen(todo) + 1;

    for (const char *at = todo; (at = strstr(at, "%s")) != NULL; at += 2)
        room += strlen(id);
    char *text = arena_alloc(arena, room), *end = text;
    if (text == NULL)
        return NULL;
    for (; *todo != '\0'; todo++) {
        if (strncmp(todo, "%s", 2) != 0) {
            *end++ = *todo;
            continue;
        }
        end = stpcpy(end, id);
        todo++;
    }
    return text;
}

/* Counts a violation and, while there is room, keeps its words.  `what` is a sentence. */
static struct err findings_add(struct findings *findings, enum check check,
                               const char *id, const char *what)
{
    findings->violations[check]++;
    findings->total++;
    if (findings->listed == FINDINGS_LISTED_MAX)
        return ERR_NONE;
    struct finding *f = &findings->list[findings->listed];
    *f = (struct finding){check, arena_strdup(findings->arena, id),
                          arena_strdup(findings->arena, what),
                          advice(findings->arena, CHECKS[check].todo, id)};
    if (f->id == NULL || f->what == NULL || f->todo == NULL)
        return err_memory();
    findings->listed++;
    return ERR_NONE;
}

static bool is_checked(const struct findings *f, int check)
{
    return (f->possible >> check & 1) != 0;
}

/* Whether every check was made, of everything. */
static bool is_complete(const struct findings *f)
{
    return f->possible == checks_possible(~0U) && !f->cut_short;
}

static void print_finding(const struct finding *f, FILE *out)
{
    fprintf(out, "\n%s ", CHECKS[f->check].name);
    output_text(out, f->id);
    fprintf(out, "\n  ");
    output_text(out, f->what);
    fprintf(out, "\n  What to do: ");
    output_text(out, f->todo);
    fprintf(out, "\n");
}

static void print_row(const struct findings *f, int check, FILE *out)
{
    const struct check_row *row = &CHECKS[check];

    if (!is_checked(f, check))
        fprintf(out, "%-18s %-53s %20s\n", row->name, row->holds, "not checked");
    else
        fprintf(out, "%-18s %-53s %9" PRId64 " %10" PRId64 "\n", row->name, row->holds,
                f->looked_at[check], f->violations[check]);
}

static void findings_print(const struct findings *findings, FILE *out)
{
    fprintf(out, "%-18s %-53s %9s %10s\n", "check", "what must hold", "looked at",
            "violations");
    for (int c = 0; c < CHECK_COUNT; c++)
        print_row(findings, c, out);
    if (findings->under_way > 0)
        fprintf(out, "\n%" PRId64 " under way, and not judged.\n", findings->under_way);
    for (size_t i = 0; i < findings->listed; i++)
        print_finding(&findings->list[i], out);
    if (findings->total > (int64_t)findings->listed)
        fprintf(out, "\nand %" PRId64 " more.\n",
                findings->total - (int64_t)findings->listed);
    if (findings->total == 0)
        fprintf(
            out,
            is_complete(findings)
                ? "\nAll of it holds.\n"
                : "\nAll checks that were made passed, but some could not be made.\n");
}

static struct err findings_json(const struct cli *cli, const struct findings *findings)
{
    json_t *checks = json_array(), *violations = json_array();

    for (int c = 0; c < CHECK_COUNT; c++)
        json_array_append_new(checks,
                              json_pack("{s:s, s:s, s:b, s:I, s:I}", "check",
                                        CHECKS[c].name, "holds", CHECKS[c].holds,
                                        "checked", is_checked(findings, c), "looked_at",
                                        (json_int_t)findings->looked_at[c], "violations",
                                        (json_int_t)findings->violations[c]));
    for (size_t i = 0; i < findings->listed; i++) {
        const struct finding *f = &findings->list[i];
        json_array_append_new(violations, json_pack("{s:s, s:s, s:s, s:s}", "check",
                                                    CHECKS[f->check].name, "id", f->id,
                                                    "what", f->what, "todo", f->todo));
    }
    return output_json(
        cli,
        json_pack("{s:b, s:b, s:I, s:I, s:o, s:o}", "holds",
                  findings->total == 0 && is_complete(findings), "whole",
                  is_complete(findings), "under_way", (json_int_t)findings->under_way,
                  "not_listed", (json_int_t)(findings->total - (int64_t)findings->listed),
                  "checks", checks, "violations", violations));
}

/* ---- the audit --------------------------------------------------------------------- */

enum {
    CALL_MS = 60000, /* a call of a page, unless --max-time says otherwise */
    SUSPECTS_MAX = 4096,
    LOOKS = 5, /* at one that keeps changing */
    LOOK_EVERY_MS = 200,
    LOOK_MEMORY_MAX = 1 << 20,
    PAGE_MEMORY_MAX = 16 << 20,
    AFTER_SIZE = 65, /* a SKU */
};

struct suspect {
    char id[ULID_SIZE];
    int64_t seen_ms; /* clock_monotonic_ms */
};

struct audit {
    struct cli *cli;
    int64_t grace_ms;
    int64_t timeout_ms;
    unsigned have; /* the services that answer, as bits of NEEDS_... */
    struct books *books;
    struct suspect suspects[SUSPECTS_MAX];
    size_t suspect_count;
    struct arena *scratch; /* of one look */
    struct findings findings;
};

static void sleep_ms(int64_t ms)
{
    const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

    if (ms > 0)
        nanosleep(&time, NULL);
}

/* ---- suspects ---------------------------------------------------------------------- */

static struct outcome report(struct audit *audit, const struct view *view, uint32_t mask)
{
    char what[FINDING_SIZE];
    struct err e = ERR_NONE;

    for (enum check c = 0; c < CHECK_COUNT && !failed(e); c++) {
        if ((mask >> c & 1) == 0)
            continue;
        view_describe(view, c, what);
        e = findings_add(&audit->findings, c, view->id, what);
    }
    return local(e);
}

/* Reads until the checkout does not change; one that always changes is in progress. */
static struct outcome look_again(struct audit *audit, const struct suspect *suspect)
{
    for (int look = 0; look < LOOKS; look++) {
        struct view view;
        bool moved = false;
        sleep_ms(look == 0 ? suspect->seen_ms + audit->grace_ms - clock_monotonic_ms()
                           : LOOK_EVERY_MS);
        arena_reset(audit->scratch);
        struct outcome end =
            books_look(audit->books, suspect->id, audit->scratch, &view, &moved);
        if (end.status != 0)
            return end;
        enum standing standing = view_standing(&view, audit->grace_ms);
        if (!moved && standing != STANDING_UNDER_WAY)
            return report(audit, &view,
                          view_violates(&view, standing) & audit->findings.possible);
    }
    audit->findings.under_way++;
    return done();
}

static struct outcome look_at_suspects(struct audit *audit)
{
    struct outcome end = done();

    for (size_t i = 0; i < audit->suspect_count && end.status == 0; i++)
        end = look_again(audit, &audit->suspects[i]);
    audit->suspect_count = 0;
    return end;
}

static struct outcome suspect(struct audit *audit, const char *id)
{
    struct outcome end =
        audit->suspect_count == SUSPECTS_MAX ? look_at_suspects(audit) : done();
    struct suspect *s = &audit->suspects[audit->suspect_count++];

    memcpy(s->id, id, ULID_SIZE);
    s->seen_ms = clock_monotonic_ms();
    return end;
}

/* ---- the four books ---------------------------------------------------------------- */

static void count(struct findings *findings, uint32_t mask)
{
    for (int c = 0; c < CHECK_COUNT; c++)
        findings->looked_at[c] += mask >> c & 1;
}

static struct outcome judge(struct audit *audit, const struct view *view)
{
    enum standing standing = view_standing(view, 0);
    uint32_t mask = view_violates(view, standing) & audit->findings.possible;

    count(&audit->findings, view_applies(view) & audit->findings.possible);
    if (standing == STANDING_UNDER_WAY)
        audit->findings.under_way++;
    if (mask == 0)
        return done();
    /* No service accepts an id that none of them made. */
    return ulid_valid(view->id) ? suspect(audit, view->id) : report(audit, view, mask);
}

static struct outcome audit_books(struct audit *audit)
{
    struct outcome end =
        books_open(audit->cli, audit->have, audit->timeout_ms, &audit->books);
    struct view view;

    while (end.status == 0) {
        end = books_next(audit->books, &view);
        if (end.status != 0 || view.id == NULL)
            break;
        end = judge(audit, &view);
    }
    return end.status != 0 ? end : look_at_suspects(audit);
}

/* ---- stock ------------------------------------------------------------------------- */

static struct outcome judge_stock(struct audit *audit,
                                  const Inventory__V1__StockEntry *stock)
{
    uint32_t mask = stock_violates(stock);
    char what[FINDING_SIZE];
    struct err e = ERR_NONE;

    count(&audit->findings, CHECK(STOCK_CONSERVED) | CHECK(STOCK_BOOKED) |
                                CHECK(STOCK_HELD) | CHECK(STOCK_SOLD));
    for (enum check c = 0; c < CHECK_COUNT && !failed(e); c++) {
        if ((mask >> c & 1) == 0)
            continue;
        stock_describe(stock, c, what);
        e = findings_add(&audit->findings, c, stock->sku, what);
    }
    return local(e);
}

/* ---- pages of a list --------------------------------------------------------------- */

/* Judges one page; `*more` unless it was the last.  `server` and `arena` are the
 * list's. */
typedef struct outcome page_judge(struct audit *audit, struct remote *server,
                                  struct arena *arena, void *position, bool *more);

/* Connects to a service and judges its list page by page; `position` is where it is. */
static struct outcome audit_pages(struct audit *audit, const char *place,
                                  page_judge *judge_page, void *position)
{
    struct arena *arena = arena_new(PAGE_MEMORY_MAX);
    struct remote *server = NULL;
    bool more = true;
    struct outcome end = arena == NULL
                             ? local(err_memory())
                             : remote_open(audit->cli, place_find(place), &server);

    while (more && end.status == 0) {
        arena_reset(arena);
        end = judge_page(audit, server, arena, position, &more);
    }
    remote_close(server);
    arena_free(arena);
    return end;
}

static struct outcome audit_stock_page(struct audit *audit, struct remote *server,
                                       struct arena *arena, void *position, bool *more)
{
    Inventory__V1__ListStockRequest request = INVENTORY__V1__LIST_STOCK_REQUEST__INIT;
    const ProtobufCMessage *message = NULL;
    struct pending_call call;
    char *after = position;

    request.limit = ENTRIES_PAGE_MAX;
    request.after_sku = after;
    remote_start(server, &call, &LIST_STOCK, &request.base, arena, audit->timeout_ms);
    struct outcome end = remote_wait(&call, &message);
    const Inventory__V1__ListStockReply *reply =
        (const Inventory__V1__ListStockReply *)message;
    for (size_t i = 0; end.status == 0 && i < reply->n_stock; i++) {
        const char *sku = reply->stock[i]->sku;
        if (strlen(sku) >= AFTER_SIZE || strcmp(after, sku) >= 0)
            return remote(
                err_make(ERR_DATA_LOSS, "ListStock is out of order at \"%s\".", sku));
        strcpy(after, sku);
        end = judge_stock(audit, reply->stock[i]);
    }
    *more = end.status == 0 && reply->n_stock == ENTRIES_PAGE_MAX;
    return end;
}

/* ---- dead letters ------------------------------------------------------------------ */

/* How many events there are. */
static struct outcome count_events(struct audit *audit)
{
    Events__V1__GetLagRequest request = EVENTS__V1__GET_LAG_REQUEST__INIT;
    struct question q = {
        .method = &GET_LAG, .request = &request.base, .timeout_ms = audit->timeout_ms};

    several_ask(audit->cli, &q, 1);
    if (q.reply != NULL)
        audit->findings.looked_at[CHECK_EVENT_BUS] =
            ((const Events__V1__GetLagReply *)q.reply)->placed;
    struct outcome end = q.end;
    end.error.subject = NULL; /* freed with the question */
    several_close(&q, 1);
    return end;
}

/* A violation is an event that was given up. */
static struct err judge_dead_letter(struct findings *findings,
                                    const Events__V1__DeadLetter *event)
{
    char what[FINDING_SIZE];

    if (event->next_attempt_ms != 0)
        return ERR_NONE;
    snprintf(what, sizeof what, "given up after %" PRId64 " attempts: %s",
             event->attempts, event->reason);
    return findings_add(findings, CHECK_EVENT_BUS, event->id, what);
}

static struct outcome audit_dead_letters_page(struct audit *audit, struct remote *server,
                                              struct arena *arena, void *position,
                                              bool *more)
{
    Events__V1__ListDeadLettersRequest request =
        EVENTS__V1__LIST_DEAD_LETTERS_REQUEST__INIT;
    const ProtobufCMessage *message = NULL;
    struct pending_call call;
    int64_t *after = position;

    request.limit = ENTRIES_PAGE_MAX;
    request.after = *after;
    remote_start(server, &call, &LIST_DEAD_LETTERS, &request.base, arena,
                 audit->timeout_ms);
    struct outcome end = remote_wait(&call, &message);
    const Events__V1__ListDeadLettersReply *reply =
        (const Events__V1__ListDeadLettersReply *)message;
    for (size_t i = 0; end.status == 0 && i < reply->n_letters; i++) {
        if (reply->letters[i]->position <= *after)
            return remote(err_make(ERR_DATA_LOSS, "ListDeadLetters is out of order."));
        *after = reply->letters[i]->position;
        end = local(judge_dead_letter(&audit->findings, reply->letters[i]));
    }
    *more = end.status == 0 && reply->n_letters == ENTRIES_PAGE_MAX;
    return end;
}

/* ---- the command ------------------------------------------------------------------- */

/* The services an audit asks, in the order of the bits of NEEDS_... */
static const char *const ASKED[] = {"orchestrator", "inventory", "payment"};

enum { ASKED_COUNT = sizeof ASKED / sizeof *ASKED };

/* Finds the services that answer; the outcome names the first that does not, cli->err the
 * others. */
static struct outcome find_services(struct audit *audit)
{
    Rpc__V1__HealthCheckRequest request = RPC__V1__HEALTH_CHECK_REQUEST__INIT;
    struct question q[ASKED_COUNT];

    for (size_t i = 0; i < ASKED_COUNT; i++)
        q[i] = (struct question){.place = place_find(ASKED[i]),
                                 .method = &CHECK_HEALTH,
                                 .request = &request.base};
    several_ask(audit->cli, q, ASKED_COUNT);
    for (size_t i = 0; i < ASKED_COUNT; i++)
        audit->have |= question_missing(&q[i]) ? 0 : 1U << i;
    several_name_others(audit->cli, q, ASKED_COUNT);
    struct outcome end = several_end(q, ASKED_COUNT);
    several_close(q, ASKED_COUNT);
    audit->findings.possible = checks_possible(audit->have);
    return end;
}

/* Prints the findings; `missing`, the reason why they are incomplete, is then the
 * outcome. */
static struct outcome conclude(const struct audit *audit, struct outcome missing)
{
    const struct findings *f = &audit->findings;

    if (audit->cli->options[OPT_JSON] == NULL) {
        findings_print(f, audit->cli->out);
    } else {
        struct err e = findings_json(audit->cli, f);
        if (failed(e))
            return local(e);
    }
    if (missing.status != 0 || f->total == 0)
        return missing;
    return local(err_make(ERR_FAILED_PRECONDITION, "%lld violation%s found",
                          (long long)f->total, f->total == 1 ? " was" : "s were"));
}

static struct outcome run(struct audit *audit)
{
    struct outcome end = done(), missing;
    char sku[AFTER_SIZE] = "";
    int64_t event = 0;

    audit->scratch = arena_new(LOOK_MEMORY_MAX);
    audit->findings.arena = audit->cli->arena;
    if (audit->scratch == NULL)
        return local(err_memory());
    missing = find_services(audit);
    if ((audit->have & NEEDS_STOCK) != 0)
        end = audit_pages(audit, "inventory", audit_stock_page, sku);
    if (end.status == 0 && audit->have != 0)
        end = audit_books(audit);
    if (end.status == 0 && (audit->have & NEEDS_ORDERS) != 0)
        end = count_events(audit);
    if (end.status == 0 && (audit->have & NEEDS_ORDERS) != 0)
        end = audit_pages(audit, "orchestrator", audit_dead_letters_page, &event);
    audit->findings.cut_short = end.status != 0;
    end.error.subject = NULL; /* freed with a page */
    if (audit->have != 0)
        end = conclude(audit, end.status != 0 ? end : missing);
    else
        end = missing;
    books_close(audit->books);
    arena_free(audit->scratch);
    return end;
}

struct outcome command_audit(struct cli *cli)
{
    int64_t grace_ms = 5000;
    struct err e = cli_option(cli, OPT_GRACE, 0, 600000, &grace_ms);

    if (failed(e))
        return misused(e);
    struct audit *audit = calloc(1, sizeof *audit);
    if (audit == NULL)
        return local(err_memory());
    audit->cli = cli;
    audit->grace_ms = grace_ms;
    audit->timeout_ms = cli->options[OPT_MAX_TIME] == NULL ? CALL_MS : cli->max_time_ms;
    struct outcome end = run(audit);
    free(audit);
    return end;
}
