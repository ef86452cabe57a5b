/*
 * books.h - the four books an audit compares, each read in pages in the order of ids.
 *
 *      orchestrator   checkouts and orders         inventory   reservations
 *      payment        charges                      payment     the provider's own ledger
 *
 * An order, its reservation and its charge have one id, so the books are merged by it.  A
 * book holds two pages at most: the current one and the one in flight.
 */
#pragma once

#include "cli/remote.h"
#include "cli/view/view.h"

enum book { BOOK_CHECKOUTS, BOOK_RESERVATIONS, BOOK_CHARGES, BOOK_PROVIDER, BOOK_COUNT };

struct books;

/* Opens lines to the services that `have` names (bits of NEEDS_...); the books of the
 * others are empty.  `timeout_ms` is for one call. */
struct outcome books_open(const struct cli *cli, unsigned have, int64_t timeout_ms,
                          struct books **out) __attribute__((warn_unused_result));
void books_close(struct books *books); /* NULL is allowed */

/*
 * The next id in order and its row in each book; `view->id` is NULL at the end.  Valid
 * until the next call.  The times at which the books were read differ by a page or two.
 * DATA_LOSS when a service does not keep the order.
 */
struct outcome books_next(struct books *books, struct view *view)
    __attribute__((warn_unused_result));

/*
 * Reads one id on its own: the checkout both before and after the other books; sets
 * `*moved` when it changed meanwhile.  The texts live in `arena`, also those of
 * `view->id`.
 */
struct outcome books_look(struct books *books, const char *id, struct arena *arena,
                          struct view *view, bool *moved)
    __attribute__((warn_unused_result));
