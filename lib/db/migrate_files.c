/* migrate_files.c - see migrate_files.h. */
#include "db/migrate_files.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool ends_in_sql(const char *name)
{
    size_t length = strlen(name);

    return length > 4 && strcmp(name + length - 4, ".sql") == 0;
}

/* NNNN_what.sql with `what` of a-z 0-9 _; the number, or 0 when the form is another. */
static int number_of(const char *name)
{
    static const char word[] = "abcdefghijklmnopqrstuvwxyz0123456789_";
    size_t what = strlen(name) > 5 ? strspn(name + 5, word) : 0;

    if (strspn(name, "0123456789") != 4 || name[4] != '_' || what == 0 ||
        strcmp(name + 5 + what, ".sql") != 0)
        return 0;
    return atoi(name);
}

static struct err take_name(const char *folder, const char *name, struct migrations *out)
{
    int number = number_of(name);

    if (number == 0)
        return err_make(
            ERR_INVALID_ARGUMENT,
            "%s in %s is not named like a migration; call it NNNN_what.sql, from "
            "0001, in small letters",
            name, folder);
    struct migration *items = reallocarray(out->items, out->count + 1, sizeof *items);
    if (items == NULL)
        return err_memory();
    out->items = items;
    items[out->count] = (struct migration){.number = number, .file = strdup(name)};
    if (items[out->count].file == NULL)
        return err_memory();
    out->count++;
    return ERR_NONE;
}

static struct err list(const char *folder, struct migrations *out)
{
    struct err e = ERR_NONE;
    DIR *dir = opendir(folder);

    if (dir == NULL)
        return err_make(ERR_INVALID_ARGUMENT,
                        "cannot open the folder of migrations %s: %s", folder,
                        strerror(errno));
    for (struct dirent *entry; !failed(e) && (entry = readdir(dir)) != NULL;)
        if (entry->d_name[0] != '.' && ends_in_sql(entry->d_name))
            e = take_name(folder, entry->d_name, out);
    closedir(dir);
    return e;
}

static int by_file(const void *a, const void *b)
{
    return strcmp(((const struct migration *)a)->file,
                  ((const struct migration *)b)->file);
}

static struct err check_order(const char *folder, const struct migrations *all)
{
    for (size_t i = 0; i < all->count; i++) {
        const struct migration *m = &all->items[i];
        if (i > 0 && m->number == m[-1].number)
            return err_make(
                ERR_INVALID_ARGUMENT,
                "%s and %s in %s have the same number; give one the next free",
                m[-1].file, m->file, folder);
        if (m->number != (int)i + 1)
            return err_make(ERR_INVALID_ARGUMENT,
                            "%s in %s comes after a gap: there is no migration %04zu",
                            m->file, folder, i + 1);
    }
    return ERR_NONE;
}

static struct err read_bytes(FILE *file, const char *path, char **out, size_t *size)
{
    char *text = malloc(MIGRATION_BYTES_MAX + 1);

    if (text == NULL)
        return err_memory();
    *out = text;
    *size = fread(text, 1, MIGRATION_BYTES_MAX, file);
    text[*size] = '\0';
    if (ferror(file) || fgetc(file) != EOF)
        return err_make(ERR_INVALID_ARGUMENT, "%s cannot be read whole, or is over 4 MiB",
                        path);
    if (strlen(text) != *size)
        return err_make(ERR_INVALID_ARGUMENT, "%s holds a zero byte, so it is not SQL",
                        path);
    char *fitted = realloc(text, *size + 1);
    if (fitted != NULL)
        *out = fitted;
    return ERR_NONE;
}

static void checksum(const char *bytes, size_t size, char out[MIGRATION_CHECKSUM_SIZE])
{
    unsigned char hash[(MIGRATION_CHECKSUM_SIZE - 1) / 2];

    crypto_generichash(hash, sizeof hash, (const unsigned char *)bytes, size, NULL, 0);
    sodium_bin2hex(out, MIGRATION_CHECKSUM_SIZE, hash, sizeof hash);
}

static struct err load(const char *folder, struct migration *migration)
{
    char path[PATH_MAX];
    size_t size = 0;

    if (snprintf(path, sizeof path, "%s/%s", folder, migration->file) >= (int)sizeof path)
        return err_make(ERR_INVALID_ARGUMENT, "the path of %s is too long",
                        migration->file);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return err_make(ERR_INVALID_ARGUMENT, "cannot open the migration %s: %s", path,
                        strerror(errno));
    struct err e = read_bytes(file, path, &migration->sql, &size);
    fclose(file);
    if (!failed(e))
        checksum(migration->sql, size, migration->checksum);
    return e;
}

struct err migrations_read(const char *folder, struct migrations *out)
{
    *out = (struct migrations){0};
    struct err e = list(folder, out);

    if (!failed(e) && out->count == 0)
        e = err_make(ERR_INVALID_ARGUMENT,
                     "there are no migrations (NNNN_what.sql) in %s", folder);
    if (failed(e))
        return e;
    qsort(out->items, out->count, sizeof *out->items, by_file);
    e = check_order(folder, out);
    for (size_t i = 0; !failed(e) && i < out->count; i++)
        e = load(folder, &out->items[i]);
    return e;
}

void migrations_free(struct migrations *migrations)
{
    for (size_t i = 0; i < migrations->count; i++) {
        free(migrations->items[i].file);
        free(migrations->items[i].sql);
    }
    free(migrations->items);
}
