/*
 * answers.h - hands each operation of a batch that committed its own rows.
 *
 * Private to lib/db.
 */
#pragma once

#include "db/db.h"

/* An operation in the writer's hands. */
struct slot {
    struct db_op *op;           /* NULL once its `done` was called */
    const struct db_kind *kind; /* what was sent of it; NULL: nothing was */
    bool in_doubt;              /* an earlier attempt of it may have committed */
    bool held_back;             /* one before it in the batch has its id */
    int first_row, row_count;   /* of the rows that its kind's write returned */
};

/* Slots whose kind has `write_answers`, by kind and id. */
struct slots_by_id {
    struct slot **slots; /* the writer's: room for a whole batch */
    size_t count;
};

/* Sorts them, all still waiting, and holds back all but the first of an id. */
void slots_sort(struct slot *slots, size_t count, struct slots_by_id *sorted);

/* Whether its operation still waits, and is of that kind, or of any when kind is NULL. */
bool slot_waits(const struct slot *slot, const struct db_kind *kind);

/* Calls an operation's `done` and empties its slot. */
void slot_finish(struct slot *slot, struct err error, const struct db_rows *rows);

/*
 * Of the operations of one kind, finishes those that a write with `write_answers` returned
 * rows of; the others go on waiting.
 */
void answer_written(struct slot *slots, size_t count, const struct db_kind *kind,
                    const void *result, struct slots_by_id *sorted);

/* Finishes all that were sent of one kind with the rows of `answer`, sorted by ordinal. */
void answer_asked(struct slot *slots, size_t count, const struct db_kind *kind,
                  const void *result);
