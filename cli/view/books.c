/* books.c - see books.h. */
#include "cli/view/books.h"

#include <stdlib.h>
#include <string.h>

#include "base/contract/bounds.h"

/*
 * How one book is read.  Its requests have `limit`, a position to begin after, and
 * `only_id`; its replies are an array of rows.
 */
struct book_kind {
    const struct method *method;
    /* Asks for the page after a key, or for one id alone. */
    void (*ask)(const struct book_kind *kind, struct remote *server,
                struct pending_call *call, const char *after, const char *only,
                struct arena *arena, int64_t timeout_ms);
    size_t (*count)(const ProtobufCMessage *reply);
    const char *(*key)(const ProtobufCMessage *reply, size_t row); /* pages' order */
    const char *(*id)(const ProtobufCMessage *reply, size_t row);  /* what books share */
    void (*show)(const ProtobufCMessage *reply, size_t row, struct view *view);
};

/* Defines ask, count, key and id of a book with these messages, fields of its request and
 * reply, and columns. */
#define BOOK(book, Request, REQUEST, Reply, after_field, rows, key_column, id_column)    \
    static void ask_##book(const struct book_kind *kind, struct remote *server,          \
                           struct pending_call *call, const char *after,                 \
                           const char *only, struct arena *arena, int64_t timeout_ms)    \
    {                                                                                    \
        Request request = REQUEST##__INIT;                                               \
                                                                                         \
        request.limit = ENTRIES_PAGE_MAX;                                                \
        request.after_field = borrow(after);                                             \
        request.only_id = borrow(only);                                                  \
        remote_start(server, call, kind->method, &request.base, arena, timeout_ms);      \
    }                                                                                    \
                                                                                         \
    static size_t count_##book(const ProtobufCMessage *reply)                            \
    {                                                                                    \
        return ((const Reply *)reply)->n_##rows;                                         \
    }                                                                                    \
                                                                                         \
    static const char *key_of_##book(const ProtobufCMessage *reply, size_t row)          \
    {                                                                                    \
        return ((const Reply *)reply)->rows[row]->key_column;                            \
    }                                                                                    \
                                                                                         \
    static const char *id_of_##book(const ProtobufCMessage *reply, size_t row)           \
    {                                                                                    \
        return ((const Reply *)reply)->rows[row]->id_column;                             \
    }

BOOK(checkouts, Orders__V1__ListCheckoutsRequest, ORDERS__V1__LIST_CHECKOUTS_REQUEST,
     Orders__V1__ListCheckoutsReply, after_id, checkouts, order_id, order_id)
BOOK(reservations, Inventory__V1__ListReservationsRequest,
     INVENTORY__V1__LIST_RESERVATIONS_REQUEST, Inventory__V1__ListReservationsReply,
     after_id, reservations, reservation_id, reservation_id)
BOOK(charges, Payment__V1__ListChargesRequest, PAYMENT__V1__LIST_CHARGES_REQUEST,
     Payment__V1__ListChargesReply, after_id, charges, charge_id, charge_id)
/* Keys are "chg_" and the id, so those that are ours are in the order of ids. */
BOOK(provider, Payment__V1__ListProviderChargesRequest,
     PAYMENT__V1__LIST_PROVIDER_CHARGES_REQUEST, Payment__V1__ListProviderChargesReply,
     after_key, charges, key, charge_id)

static void show_checkout(const ProtobufCMessage *reply, size_t row, struct view *view)
{
    view->checkout = ((const Orders__V1__ListCheckoutsReply *)reply)->checkouts[row];
}

/* Puts a row into view->column, and keeps the age of the youngest effect. */
#define SHOW(book, Reply, rows, column)                                                  \
    static void show_##book(const ProtobufCMessage *message, size_t row,                 \
                            struct view *view)                                           \
    {                                                                                    \
        const Reply *reply = (const Reply *)message;                                     \
        int64_t age_ms = reply->now_ms - reply->rows[row]->created_at_ms;                \
                                                                                         \
        view->column = reply->rows[row];                                                 \
        if (age_ms < view->effect_age_ms)                                                \
            view->effect_age_ms = age_ms;                                                \
    }

SHOW(reservation, Inventory__V1__ListReservationsReply, reservations, reservation)
SHOW(charge, Payment__V1__ListChargesReply, charges, charge)
SHOW(provider, Payment__V1__ListProviderChargesReply, charges, provider)

static const struct book_kind BOOK_KINDS[BOOK_COUNT] = {
    [BOOK_CHECKOUTS] = {&LIST_CHECKOUTS, ask_checkouts, count_checkouts, key_of_checkouts,
                        id_of_checkouts, show_checkout},
    [BOOK_RESERVATIONS] = {&LIST_RESERVATIONS, ask_reservations, count_reservations,
                           key_of_reservations, id_of_reservations, show_reservation},
    [BOOK_CHARGES] = {&LIST_CHARGES, ask_charges, count_charges, key_of_charges,
                      id_of_charges, show_charge},
    [BOOK_PROVIDER] = {&LIST_PROVIDER_CHARGES, ask_provider, count_provider,
                       key_of_provider, id_of_provider, show_provider},
};

enum { PAGE_MEMORY_MAX = 16 << 20 };

/* ---- one book, page by page -------------------------------------------------------- */

struct reader {
    const struct book_kind *kind;
    struct remote *server;   /* NULL: its service is missing, and it is empty */
    struct arena *arenas[2]; /* of the page looked at, and of the one in flight */
    int current;             /* which of them is looked at */
    const ProtobufCMessage *page;
    size_t row, count;        /* equal at the book's end */
    struct pending_call call; /* of the page in flight */
    bool asked;               /* whether there is one */
};

struct books {
    struct reader readers[BOOK_COUNT];
    int64_t timeout_ms;
    int64_t lease_ms;
    unsigned shown; /* books whose row was returned last: the next call advances them */
};

static void ask_next(struct reader *r, const char *after, int64_t timeout_ms)
{
    struct arena *arena = r->arenas[!r->current];

    arena_reset(arena);
    r->kind->ask(r->kind, r->server, &r->call, after, "", arena, timeout_ms);
    r->asked = true;
}

/* Pages go by key; a service that did not keep the order could make us loop forever. */
static struct err check_order(const struct reader *r, const ProtobufCMessage *page)
{
    const char *last = r->count == 0 ? "" : r->kind->key(r->page, r->count - 1);

    for (size_t i = 0; i < r->kind->count(page); i++) {
        const char *key = r->kind->key(page, i);
        if (strcmp(last, key) >= 0)
            return err_make(ERR_DATA_LOSS,
                            "%s is not in order: \"%s\" comes after \"%s\".",
                            r->kind->method->name, key, last);
        last = key;
    }
    return ERR_NONE;
}

/* Takes the page in flight, and asks for the one after it. */
static struct outcome turn_page(struct reader *r, int64_t timeout_ms)
{
    const ProtobufCMessage *page = NULL;

    if (!r->asked) {
        r->row = r->count = 0;
        return done();
    }
    r->asked = false;
    struct outcome end = remote_wait(&r->call, &page);
    if (end.status == 0)
        end = remote(check_order(r, page));
    if (end.status != 0)
        return end;
    r->current = !r->current;
    r->row = 0;
    r->count = r->kind->count(page);
    r->page = page;
    if (r->count == ENTRIES_PAGE_MAX)
        ask_next(r, r->kind->key(page, ENTRIES_PAGE_MAX - 1), timeout_ms);
    return done();
}

static struct outcome advance(struct reader *r, int64_t timeout_ms)
{
    return ++r->row < r->count ? done() : turn_page(r, timeout_ms);
}

/* ---- all of them ------------------------------------------------------------------- */

static struct outcome open_reader(const struct cli *cli, const struct book_kind *kind,
                                  struct reader *r)
{
    r->kind = kind;
    for (int i = 0; i < 2; i++) {
        r->arenas[i] = arena_new(PAGE_MEMORY_MAX);
        if (r->arenas[i] == NULL)
            return local(err_memory());
    }
    return remote_open(cli, place_find(kind->method->place), &r->server);
}

static unsigned place_of(enum book book)
{
    return book == BOOK_CHECKOUTS      ? NEEDS_ORDERS
           : book == BOOK_RESERVATIONS ? NEEDS_STOCK
                                       : NEEDS_MONEY;
}

struct outcome books_open(const struct cli *cli, unsigned have, int64_t timeout_ms,
                          struct books **out)
{
    struct books *books = calloc(1, sizeof *books);
    struct outcome end = done();

    if (books == NULL)
        return local(err_memory());
    books->timeout_ms = timeout_ms;
    for (unsigned i = 0; i < BOOK_COUNT && end.status == 0; i++)
        if ((place_of(i) & have) != 0)
            end = open_reader(cli, &BOOK_KINDS[i], &books->readers[i]);
    for (unsigned i = 0; i < BOOK_COUNT && end.status == 0; i++)
        if (books->readers[i].server != NULL)
            ask_next(&books->readers[i], "", timeout_ms);
    for (unsigned i = 0; i < BOOK_COUNT && end.status == 0; i++) {
        end = turn_page(&books->readers[i], timeout_ms);
        if (end.status == 0 && i == BOOK_CHECKOUTS && books->readers[i].page != NULL)
            books->lease_ms =
                ((const Orders__V1__ListCheckoutsReply *)books->readers[i].page)
                    ->lease_ms;
    }
    if (end.status != 0)
        books_close(books);
    else
        *out = books;
    return end;
}

void books_close(struct books *books)
{
    if (books == NULL)
        return;
    for (int i = 0; i < BOOK_COUNT; i++) {
        remote_close(
            books->readers[i].server); /* before the arenas its calls are using */
        arena_free(books->readers[i].arenas[0]);
        arena_free(books->readers[i].arenas[1]);
    }
    free(books);
}

/* The row's id, or the key, alone, of a row that none of our services made. */
static const char *id_at(const struct reader *r, bool *alone)
{
    const char *id = r->kind->id(r->page, r->row);

    *alone = *id == '\0';
    return *alone ? r->kind->key(r->page, r->row) : id;
}

/* The books that have a row of the next id, as bits; sets the id in `view`. */
static unsigned find_next(const struct books *books, struct view *view)
{
    unsigned which = 0;

    for (unsigned i = 0; i < BOOK_COUNT; i++) {
        const struct reader *r = &books->readers[i];
        bool alone = false;
        if (r->row == r->count)
            continue;
        const char *id = id_at(r, &alone);
        int order = view->id == NULL ? -1 : strcmp(id, view->id);
        if (alone || order < 0) {
            view->id = id;
            which = 1u << i;
        } else if (order == 0) {
            which |= 1u << i;
        }
        if (alone)
            break;
    }
    return which;
}

struct outcome books_next(struct books *books, struct view *view)
{
    struct outcome end = done();

    for (unsigned i = 0; i < BOOK_COUNT && end.status == 0; i++)
        if ((books->shown >> i & 1) != 0)
            end = advance(&books->readers[i], books->timeout_ms);
    if (end.status != 0)
        return end;
    *view = (struct view){.effect_age_ms = INT64_MAX, .lease_ms = books->lease_ms};
    books->shown = find_next(books, view);
    for (unsigned i = 0; i < BOOK_COUNT; i++)
        if ((books->shown >> i & 1) != 0)
            BOOK_KINDS[i].show(books->readers[i].page, books->readers[i].row, view);
    return end;
}

/* ---- one id ------------------------------------------------------------------------ */

/* One book's row of the id, if it has one, shown in `view`. */
static struct outcome look_into(struct books *books, enum book book, struct view *view,
                                struct arena *arena)
{
    struct reader *r = &books->readers[book];
    const ProtobufCMessage *reply = NULL;
    struct pending_call call;

    if (r->server == NULL)
        return done();
    r->kind->ask(r->kind, r->server, &call, "", view->id, arena, books->timeout_ms);
    struct outcome end = remote_wait(&call, &reply);
    if (end.status == 0 && r->kind->count(reply) > 0)
        r->kind->show(reply, 0, view);
    return end;
}

static bool has_moved(const Orders__V1__Checkout *before,
                      const Orders__V1__Checkout *after)
{
    if (before == NULL || after == NULL)
        return before != after;
    return before->state != after->state || before->epoch != after->epoch ||
           before->ordered != after->ordered;
}

struct outcome books_look(struct books *books, const char *id, struct arena *arena,
                          struct view *view, bool *moved)
{
    struct view before = {.id = arena_strdup(arena, id), .effect_age_ms = INT64_MAX};

    if (before.id == NULL)
        return local(err_memory());
    *view = before;
    view->lease_ms = books->lease_ms;
    struct outcome end = look_into(books, BOOK_CHECKOUTS, &before, arena);
    for (enum book b = BOOK_RESERVATIONS; b < BOOK_COUNT && end.status == 0; b++)
        end = look_into(books, b, view, arena);
    if (end.status == 0)
        end = look_into(books, BOOK_CHECKOUTS, view, arena);
    if (end.status == 0)
        *moved = has_moved(before.checkout, view->checkout);
    return end;
}
