/*
 * audit.c - checkoutctl audit: do all the books agree, on a live system, by reading
 * alone?
 *
 *      four books, merged by id --> rules --> fine: counted
 *                                        \--> suspect --> [grace] --> looked at by itself
 *                                                                --> still so: a
 * violation
 *
 * The books are read at different moments, so a difference seen in passing proves
 * nothing. A suspect is therefore looked at again by itself once the grace has passed:
 * its checkout, then its reservation, its charge and what the provider says, then its
 * checkout again. When the checkout did not change meanwhile and is final, what was read
 * between is final too, and a difference is a real one.  The same for one that is
 * unfinished and past its lease by more than the grace, which nobody is working on.  One
 * that is being worked on is counted as under way, and not judged; nor is what has no
 * checkout and is younger than a lease.
 *
 * Stock is judged as it is read: a product's figures, and what they are computed from,
 * are of one snapshot.
 *
 * A service that does not answer at the start is left out, with every check that needs it;
 * should one fall silent on the way, what was found until then is told.  Either way the
 * exit status is not 0.
 *
 * Memory is bounded: two pages a book, SUSPECTS_MAX ids, FINDINGS_LISTED_MAX violations.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/contract/bounds.h"
#include "base/contract/ids.h"
#include "cli/audit_letters.h"
#include "cli/books.h"
#include "cli/commands.h"
#include "cli/findings.h"
#include "cli/several.h"
#include "proto/rpc.pb-c.h"

enum {
    CALL_MS = 60000, /* a call of a page, unless --max-time says otherwise */
    SUSPECTS_MAX = 4096,
    LOOKS = 5, /* at one that keeps changing hands */
    LOOK_EVERY_MS = 200,
    LOOK_MEMORY_MAX = 1 << 20,
    PAGE_MEMORY_MAX = 16 << 20,
};

struct suspect {
    char id[ULID_SIZE];
    int64_t seen_ms; /* clock_monotonic_ms */
};

struct audit {
    struct cli *cli;
    int64_t grace_ms;
    int64_t timeout_ms;
    unsigned have; /* who answers, as bits of NEEDS_... */
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

/* ---- suspects ----------------------------------------------------------------- */

static struct outcome report(struct audit *audit, const struct view *view, uint32_t mask)
{
    char what[FINDING_SIZE];

    for (enum check c = 0; c < CHECK_COUNT; c++) {
        if ((mask >> c & 1) == 0)
            continue;
        view_describe(view, c, what);
        struct err e = findings_add(&audit->findings, c, view->id, what);
        if (failed(e))
            return local(e);
    }
    return done();
}

/* Looks until it holds still; what never does is being worked on. */
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

/* ---- the four books ----------------------------------------------------------- */

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
    /* Of an id that none of us makes there is nothing more to be asked. */
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

/* ---- stock -------------------------------------------------------------------- */

static struct outcome judge_stock(struct audit *audit,
                                  const Inventory__V1__StockEntry *stock)
{
    uint32_t mask = stock_violates(stock);
    char what[FINDING_SIZE];

    count(&audit->findings, CHECK(STOCK_CONSERVED) | CHECK(STOCK_BOOKED) |
                                CHECK(STOCK_HELD) | CHECK(STOCK_SOLD));
    for (enum check c = 0; c < CHECK_COUNT; c++) {
        if ((mask >> c & 1) == 0)
            continue;
        stock_describe(stock, c, what);
        struct err e = findings_add(&audit->findings, c, stock->sku, what);
        if (failed(e))
            return local(e);
    }
    return done();
}

static struct outcome audit_stock_page(struct audit *audit, struct line *line,
                                       struct arena *arena, char *after, bool *more)
{
    Inventory__V1__ListStockRequest request = INVENTORY__V1__LIST_STOCK_REQUEST__INIT;
    const ProtobufCMessage *message = NULL;
    struct line_call call;

    request.limit = ENTRIES_PAGE_MAX;
    request.after_sku = after;
    line_start(line, &call, "inventory.v1.Inventory/ListStock", &request.base,
               &inventory__v1__list_stock_reply__descriptor, arena, audit->timeout_ms);
    struct outcome end = line_wait(&call, &message);
    const Inventory__V1__ListStockReply *reply =
        (const Inventory__V1__ListStockReply *)message;
    for (size_t i = 0; end.status == 0 && i < reply->n_stock; i++) {
        const char *sku = reply->stock[i]->sku;
        if (strlen(sku) > 64 || strcmp(after, sku) >= 0)
            return remote(
                err_make(ERR_DATA_LOSS, "ListStock is not in order at \"%s\".", sku));
        strcpy(after, sku);
        end = judge_stock(audit, reply->stock[i]);
    }
    *more = end.status == 0 && reply->n_stock == ENTRIES_PAGE_MAX;
    return end;
}

static struct outcome audit_stock(struct audit *audit)
{
    struct arena *arena = arena_new(PAGE_MEMORY_MAX);
    struct line *line = NULL;
    char after[65] = "";
    bool more = true;
    struct outcome end = arena == NULL
                             ? local(err_memory())
                             : line_open(audit->cli, place_find("inventory"), &line);

    while (more && end.status == 0) {
        arena_reset(arena);
        end = audit_stock_page(audit, line, arena, after, &more);
    }
    line_close(line);
    arena_free(arena);
    return end;
}

/* ---- the command -------------------------------------------------------------- */

/* Whom an audit asks; the order is that of the bits of NEEDS_... */
static const char *const ASKED[] = {"orchestrator", "inventory", "payment"};

enum { ASKED_COUNT = sizeof ASKED / sizeof *ASKED };

/* Who answers; the outcome names who does not, and the others on cli->err. */
static struct outcome find_who_is_there(struct audit *audit)
{
    Rpc__V1__HealthCheckRequest request = RPC__V1__HEALTH_CHECK_REQUEST__INIT;
    struct question q[ASKED_COUNT];

    for (size_t i = 0; i < ASKED_COUNT; i++)
        q[i] = (struct question){.place = place_find(ASKED[i]),
                                 .method = "rpc.v1.Health/Check",
                                 .request = &request.base,
                                 .reply_type = &rpc__v1__health_check_reply__descriptor};
    several_ask(audit->cli, q, ASKED_COUNT);
    for (size_t i = 0; i < ASKED_COUNT; i++)
        audit->have |= question_missing(&q[i]) ? 0 : 1U << i;
    several_name_others(audit->cli, q, ASKED_COUNT);
    struct outcome end = several_end(q, ASKED_COUNT);
    several_close(q, ASKED_COUNT);
    audit->findings.possible = checks_possible(audit->have);
    return end;
}

/* What was found; `missing` is why that is not all, and what the command ends with. */
static struct outcome conclude(const struct audit *audit, struct outcome missing)
{
    const struct findings *f = &audit->findings;

    if (audit->cli->options[OPT_JSON] == NULL) {
        findings_print(f, audit->cli->out);
    } else {
        struct err e = findings_json(f, audit->cli->out);
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

    audit->scratch = arena_new(LOOK_MEMORY_MAX);
    audit->findings.arena = audit->cli->arena;
    if (audit->scratch == NULL)
        return local(err_memory());
    missing = find_who_is_there(audit);
    if ((audit->have & NEEDS_STOCK) != 0)
        end = audit_stock(audit);
    if (end.status == 0 && audit->have != 0)
        end = audit_books(audit);
    if (end.status == 0 && (audit->have & NEEDS_ORDERS) != 0)
        end = audit_letters(audit->cli, audit->timeout_ms, &audit->findings);
    audit->findings.cut_short = end.status != 0;
    end.error.subject = NULL; /* lives in memory of a page */
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
    const char *grace = cli->options[OPT_GRACE];
    int64_t grace_ms = 5000;
    struct err e =
        grace == NULL ? ERR_NONE : cli_number(grace, "--grace", 0, 600000, &grace_ms);

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
