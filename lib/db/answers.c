/* answers.c - see answers.h. */
#include "db/answers.h"

#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

#include "db/shape.h"

bool slot_waits(const struct slot *slot, const struct db_kind *kind)
{
    return slot->op != NULL && (kind == NULL || slot->op->kind == kind);
}

void slot_finish(struct slot *slot, struct err error, const struct db_rows *rows)
{
    static const struct db_rows NO_ROWS = {0};
    struct db_op *op = slot->op;

    slot->op = NULL;
    op->done(op->arg, error, rows != NULL ? rows : &NO_ROWS);
}

/* With the rows of its own, if they are what was promised.  Column 0 told whose they are. */
static void finish_with(struct slot *slot, const struct db_rows *rows)
{
    const struct db_op *op = slot->op;
    const struct db_kind *kind = op->kind;
    const struct shape_asked asked = {kind->name, kind->head, op->head, op->request,
                                      op->order};
    struct err e = shape_check((struct shape){kind->rows, 1}, rows, &asked);

    if (failed(e) && kind->write != NULL)
        e.effect = EFFECT_UNKNOWN; /* it committed, whatever it found */
    slot_finish(slot, e, rows);
}

static struct db_rows all_rows(const void *result)
{
    return (struct db_rows){.result = result,
                            .count = result == NULL ? 0 : PQntuples(result)};
}

/* ---- by id -------------------------------------------------------------------------- */

static const char *id_of(const struct slot *slot)
{
    return slot->op->head[0].text;
}

static int compare(const struct slot *slot, const struct db_kind *kind, const char *id)
{
    if (slot->op->kind != kind)
        return slot->op->kind < kind ? -1 : 1;
    return strcmp(id_of(slot), id);
}

static int by_id(const void *a, const void *b)
{
    const struct slot *x = *(struct slot *const *)a, *y = *(struct slot *const *)b;
    int order = compare(x, y->op->kind, id_of(y));

    return order != 0 ? order : x < y ? -1 : 1;
}

void slots_sort(struct slot *slots, size_t count, struct slots_by_id *sorted)
{
    sorted->count = 0;
    for (size_t i = 0; i < count; i++) {
        slots[i].held_back = false;
        if (slots[i].op->kind->write_answers)
            sorted->slots[sorted->count++] = &slots[i];
    }
    qsort(sorted->slots, sorted->count, sizeof *sorted->slots, by_id);
    for (size_t i = 1; i < sorted->count; i++) {
        const struct slot *before = sorted->slots[i - 1];
        if (compare(sorted->slots[i], before->op->kind, id_of(before)) == 0)
            sorted->slots[i]->held_back = true;
    }
}

/* Those that still wait and were sent stay, in their order. */
static void keep_waiting(struct slots_by_id *sorted)
{
    size_t kept = 0;

    for (size_t i = 0; i < sorted->count; i++)
        if (sorted->slots[i]->op != NULL && !sorted->slots[i]->held_back)
            sorted->slots[kept++] = sorted->slots[i];
    sorted->count = kept;
}

static struct slot *find(const struct slots_by_id *sorted, const struct db_kind *kind,
                         const char *id)
{
    size_t low = 0, high = sorted->count;

    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = compare(sorted->slots[middle], kind, id);
        if (order == 0)
            return sorted->slots[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL; /* its time was up meanwhile */
}

void answer_written(struct slot *slots, size_t count, const struct db_kind *kind,
                    const void *result, struct slots_by_id *sorted)
{
    struct db_rows all = all_rows(result);
    struct slot *slot = NULL;

    keep_waiting(sorted);
    for (int row = 0; row < all.count; row++) {
        const char *id = db_text(&all, row, 0);
        if (id == NULL)
            continue;
        if (slot == NULL || strcmp(id_of(slot), id) != 0) {
            slot = find(sorted, kind, id);
            if (slot == NULL)
                continue;
            slot->first_row = row;
        }
        slot->row_count++;
    }
    for (size_t i = 0; i < count; i++)
        if (slot_waits(&slots[i], kind) && slots[i].row_count > 0)
            finish_with(&slots[i], &(struct db_rows){result, slots[i].first_row,
                                                     slots[i].row_count});
}

/* ---- by ordinal --------------------------------------------------------------------- */

void answer_asked(struct slot *slots, size_t count, const struct db_kind *kind,
                  const void *result)
{
    struct db_rows all = all_rows(result);
    int64_t ordinal = 0;
    int row = 0;

    for (size_t i = 0; i < count; i++) {
        struct slot *slot = &slots[i];
        if (slot->kind != kind)
            continue;
        ordinal++; /* also of one that was told its time was up: it had been sent */
        struct db_rows own = {.result = result, .first = row};
        while (row < all.count && db_number(&all, row, 0) == ordinal)
            row++;
        own.count = row - own.first;
        if (slot->op != NULL)
            finish_with(slot, &own);
    }
}
