/* migrate_files.h - the folder of migrations, read and put in order. */
#pragma once

#include <stddef.h>

#include "base/err.h"

enum {
    MIGRATION_CHECKSUM_SIZE = 65, /* hexadecimal BLAKE2b-256, NUL-terminated */
    MIGRATION_MAX = 9999,
    MIGRATION_BYTES_MAX = 4 << 20, /* of one file */
};

struct migration {
    int number;
    char *file; /* "0001_roles.sql" */
    char *sql;
    char checksum[MIGRATION_CHECKSUM_SIZE];
};

struct migrations {
    struct migration *items; /* items[i].number == i + 1 */
    size_t count;
};

/*
 * Reads every *.sql of the folder; other files are passed over.  INVALID_ARGUMENT names
 * the file that breaks the order.  Give back with migrations_free, also when failed.
 */
struct err migrations_read(const char *folder, struct migrations *out)
    __attribute__((warn_unused_result));
void migrations_free(struct migrations *migrations);
