/* sandbox_list.c - what the sandbox says it did: its ledger in pages.  See sandbox.h. */
#include "payment/sandbox_list.h"

#include <stdlib.h>
#include <string.h>

/* One page being read. */
struct listing {
    struct db_query query;
    provider_listed *done;
    void *arg;
    char key[65]; /* after which, or the only one */
    size_t room;  /* entries */
    struct provider_entry entries[];
};

static enum provider_status status_of(const char *name)
{
    if (strcmp(name, "captured") == 0)
        return PROVIDER_CAPTURED;
    if (strcmp(name, "declined") == 0)
        return PROVIDER_DECLINED;
    return strcmp(name, "refunded") == 0 ? PROVIDER_REFUNDED : PROVIDER_VOIDED;
}

static void on_listed(void *arg, struct err error, const struct db_rows *rows)
{
    struct listing *listing = arg;
    struct provider_list list = {.entries = listing->entries};

    list.count = failed(error) ? 0 : (size_t)rows->count;
    if (list.count > listing->room) /* an id that is there twice, without its index */
        list.count = listing->room;
    for (int i = 0; i < (int)list.count; i++) {
        list.now_ms = db_number(rows, i, 8);
        listing->entries[i] = (struct provider_entry){
            .key = db_text(rows, i, 0),
            .provider_charge_id = db_text(rows, i, 1),
            .status = status_of(db_text(rows, i, 2)),
            .amount_cents = db_number(rows, i, 3),
            .refunded_cents = db_number(rows, i, 4),
            .currency = db_text(rows, i, 5),
            .created_at_ms = db_number(rows, i, 6),
            .refunded_at_ms = db_number(rows, i, 7),
        };
    }
    listing->done(listing->arg, error, &list);
    free(listing);
}

#define ENTRY                                                                            \
    "SELECT idempotency_key, coalesce(provider_charge_id, ''), status, amount_cents,"    \
    "       refunded_cents, coalesce(currency, ''),"                                     \
    "       (extract(epoch FROM created_at) * 1000)::bigint,"                            \
    "       (extract(epoch FROM refunded_at) * 1000)::bigint,"                           \
    "       (extract(epoch FROM now()) * 1000)::bigint "                                 \
    "FROM sandbox.charges "

void sandbox_list(struct db *db, const struct provider_page *page, provider_listed *done,
                  void *arg)
{
    bool one = page->only_key != NULL;
    size_t room = one ? 1 : (size_t)page->limit;
    struct listing *listing =
        calloc(1, sizeof *listing + room * sizeof listing->entries[0]);

    if (listing == NULL) {
        done(arg, err_memory(), NULL);
        return;
    }
    listing->done = done;
    listing->arg = arg;
    listing->room = room;
    strncpy(listing->key, one ? page->only_key : page->after_key,
            sizeof listing->key - 1);
    listing->query = (struct db_query){
        .name = one ? "one_charge" : "list_charges",
        .types = one ? "t" : "ti",
        .rows = "*tttiitiIi",
        .sql = one ? ENTRY "WHERE idempotency_key = $1"
                   : ENTRY "WHERE idempotency_key > $1 ORDER BY idempotency_key LIMIT $2",
        .values = {db_t(listing->key), db_i(page->limit)},
        .deadline_ms = page->deadline_ms,
        .done = on_listed,
        .arg = listing,
    };
    db_read(db, &listing->query);
}
