/* pending.c - see pending.h. */
#include "webhook/pending.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"

struct err pending_failed(const char *what, const char *path)
{
    return err_make(ERR_UNAVAILABLE, "%s cannot be %s: %s.", path, what, strerror(errno));
}

static void letter_free(struct letter *letter)
{
    free(letter->id);
    free(letter->order_id);
    free(letter->json);
}

void pending_close(struct pending *pending)
{
    for (size_t i = 0; i < pending->count; i++)
        letter_free(&pending->letters[i]);
    pending->count = 0;
}

/* ---- in memory --------------------------------------------------------------------- */

bool pending_has(const struct pending *pending, int64_t position)
{
    for (size_t i = 0; i < pending->count; i++)
        if (pending->letters[i].position == position)
            return true;
    return false;
}

bool pending_has_order(const struct pending *pending, const char *order_id, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(pending->letters[i].order_id, order_id) == 0)
            return true;
    return false;
}

struct err pending_add(struct pending *pending, const struct letter *letter)
{
    struct letter *own = &pending->letters[pending->count];

    if (pending->count == PENDING_MAX)
        return err_make(ERR_RESOURCE_EXHAUSTED, "Too much is pending already.");
    *own = *letter;
    own->id = strdup(letter->id);
    own->order_id = strdup(letter->order_id);
    own->json = strdup(letter->json);
    if (own->id == NULL || own->order_id == NULL || own->json == NULL) {
        letter_free(own);
        return err_memory();
    }
    pending->count++;
    pending->changed = true;
    return ERR_NONE;
}

void pending_remove(struct pending *pending, size_t i)
{
    letter_free(&pending->letters[i]);
    memmove(&pending->letters[i], &pending->letters[i + 1],
            (pending->count - i - 1) * sizeof *pending->letters);
    pending->count--;
    pending->changed = true;
}

/* ---- as JSON ----------------------------------------------------------------------- */

static json_t *to_json(const struct letter *l)
{
    return json_pack("{s:I, s:s, s:s, s:I, s:I, s:I, s:s}", "position",
                     (json_int_t)l->position, "id", l->id, "order_id", l->order_id,
                     "created_at_ms", (json_int_t)l->created_at_ms, "attempts",
                     (json_int_t)l->attempts, "next_ms", (json_int_t)l->next_ms, "event",
                     l->json);
}

static struct err from_json(json_t *json, struct pending *pending)
{
    json_int_t position, created, attempts, next;
    const char *id, *order_id, *event;

    if (json_unpack(json, "{s:I, s:s, s:s, s:I, s:I, s:I, s:s}", "position", &position,
                    "id", &id, "order_id", &order_id, "created_at_ms", &created,
                    "attempts", &attempts, "next_ms", &next, "event", &event) != 0)
        return err_make(ERR_DATA_LOSS, "%s is not what was written.", pending->path);
    const struct letter letter = {.position = position,
                                  .id = (char *)id,
                                  .order_id = (char *)order_id,
                                  .json = (char *)event,
                                  .created_at_ms = created,
                                  .attempts = attempts,
                                  .next_ms = next};
    return pending_add(pending, &letter);
}

/* ---- on the disk ------------------------------------------------------------------- */

static struct err read_letters(struct pending *pending, FILE *file)
{
    json_t *all = NULL;
    struct err e = json_parse_file(file, &all);

    for (size_t i = 0; !failed(e) && i < json_array_size(all); i++)
        e = from_json(json_array_get(all, i), pending);
    json_decref(all);
    return e;
}

struct err pending_open(struct pending *pending, const char *folder, const char *name)
{
    pending->count = 0;
    pending->changed = false;
    snprintf(pending->path, sizeof pending->path, "%s/%s.pending", folder, name);
    snprintf(pending->dead_path, sizeof pending->dead_path, "%s/%s.dead", folder, name);
    FILE *file = fopen(pending->path, "r");
    if (file == NULL)
        return errno == ENOENT ? ERR_NONE : pending_failed("read", pending->path);
    struct err e = read_letters(pending, file);
    fclose(file);
    pending->changed = false;
    return e;
}

/* Makes a rename last. */
static void sync_folder(const char *path)
{
    char folder[512];
    const char *slash = strrchr(path, '/');

    snprintf(folder, sizeof folder, "%.*s", slash == NULL ? 1 : (int)(slash - path),
             slash == NULL ? "." : path);
    int fd = open(folder, O_RDONLY | O_DIRECTORY);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
}

struct err pending_replace(const char *path, const json_t *json)
{
    char fresh[520];

    snprintf(fresh, sizeof fresh, "%s.new", path);
    FILE *file = fopen(fresh, "w");
    if (file == NULL)
        return pending_failed("written", fresh);
    bool good = json_dumpf(json, file, JSON_COMPACT) == 0 && fflush(file) == 0 &&
                fsync(fileno(file)) == 0;
    good = fclose(file) == 0 && good;
    if (!good || rename(fresh, path) != 0)
        return pending_failed("written", path);
    sync_folder(path);
    return ERR_NONE;
}

struct err pending_save(struct pending *pending)
{
    if (!pending->changed)
        return ERR_NONE;
    json_t *all = json_array();
    bool whole = all != NULL;
    for (size_t i = 0; whole && i < pending->count; i++)
        whole = json_array_append_new(all, to_json(&pending->letters[i])) == 0;
    struct err e = whole ? pending_replace(pending->path, all) : err_memory();
    json_decref(all);
    if (!failed(e))
        pending->changed = false;
    return e;
}

/* Adds a line; half a line that a crash left is ended first. */
static bool add_line(FILE *file, off_t size, const json_t *json)
{
    if (size > 0) {
        if (fseeko(file, size - 1, SEEK_SET) != 0)
            return false;
        const bool ended = fgetc(file) == '\n';
        if (fseeko(file, 0, SEEK_END) != 0 || (!ended && fputc('\n', file) == EOF))
            return false;
    }
    return json_dumpf(json, file, JSON_COMPACT) == 0 && fputc('\n', file) != EOF &&
           fflush(file) == 0 && fsync(fileno(file)) == 0;
}

/* On the disk, or the file is as before. */
static struct err append(const char *path, const json_t *json)
{
    struct stat before;
    FILE *file = fopen(path, "a+");

    if (file == NULL || fstat(fileno(file), &before) != 0) {
        struct err e = pending_failed("written", path);
        if (file != NULL)
            fclose(file);
        return e;
    }
    bool good = add_line(file, before.st_size, json);
    struct err e = good ? ERR_NONE : pending_failed("written", path);
    fclose(file); /* tries once more to write what it holds */
    if (!good)
        (void)!truncate(path, before.st_size); /* else the next line ends it */
    return e;
}

struct err pending_bury(const struct pending *pending, size_t i, const char *problem)
{
    json_t *json = to_json(&pending->letters[i]);

    if (json == NULL || json_object_del(json, "next_ms") != 0 ||
        json_object_set_new(json, "problem", json_string(problem)) != 0 ||
        json_object_set_new(json, "buried_at_ms", json_integer(clock_wall_ms())) != 0) {
        json_decref(json);
        return err_memory();
    }
    struct err e = append(pending->dead_path, json);
    json_decref(json);
    return e;
}
