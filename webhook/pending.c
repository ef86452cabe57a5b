/* pending.c - see pending.h. */
#include "webhook/pending.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"

/* "PATH cannot be WHAT: ...", from errno. */
static struct err file_failed(const char *what, const char *path)
{
    return err_make(ERR_UNAVAILABLE, "%s cannot be %s: %s.", path, what, strerror(errno));
}

static void delivery_free(struct delivery *delivery)
{
    free(delivery->id);
    free(delivery->order_id);
    free(delivery->json);
}

void pending_close(struct pending *pending)
{
    for (size_t i = 0; i < pending->count; i++)
        delivery_free(&pending->items[i]);
    pending->count = 0;
}

/* ---- in memory --------------------------------------------------------------------- */

bool pending_has(const struct pending *pending, int64_t position)
{
    for (size_t i = 0; i < pending->count; i++)
        if (pending->items[i].position == position)
            return true;
    return false;
}

bool pending_has_order(const struct pending *pending, const char *order_id, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(pending->items[i].order_id, order_id) == 0)
            return true;
    return false;
}

struct err pending_add(struct pending *pending, const struct delivery *delivery)
{
    struct delivery *own = &pending->items[pending->count];

    if (pending->count == PENDING_MAX)
        return err_make(ERR_RESOURCE_EXHAUSTED, "The pending file is full.");
    *own = *delivery;
    own->id = strdup(delivery->id);
    own->order_id = strdup(delivery->order_id);
    own->json = strdup(delivery->json);
    if (own->id == NULL || own->order_id == NULL || own->json == NULL) {
        delivery_free(own);
        return err_memory();
    }
    pending->count++;
    pending->changed = true;
    return ERR_NONE;
}

void pending_remove(struct pending *pending, size_t i)
{
    delivery_free(&pending->items[i]);
    memmove(&pending->items[i], &pending->items[i + 1],
            (pending->count - i - 1) * sizeof *pending->items);
    pending->count--;
    pending->changed = true;
}

/* ---- as JSON ----------------------------------------------------------------------- */

static json_t *to_json(const struct delivery *l)
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
        return err_make(ERR_DATA_LOSS, "%s is damaged: an entry lacks a field.",
                        pending->path);
    const struct delivery delivery = {.position = position,
                                      .id = (char *)id,
                                      .order_id = (char *)order_id,
                                      .json = (char *)event,
                                      .created_at_ms = created,
                                      .attempts = attempts,
                                      .next_ms = next};
    return pending_add(pending, &delivery);
}

/* ---- on the disk ------------------------------------------------------------------- */

static struct err read_items(struct pending *pending, FILE *file)
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
        return errno == ENOENT ? ERR_NONE : file_failed("read", pending->path);
    struct err e = read_items(pending, file);
    fclose(file);
    pending->changed = false;
    return e;
}

/* Makes a rename durable. */
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

/* Replaces the whole file, durably. */
static struct err replace_file(const char *path, const json_t *json)
{
    char fresh[520];

    snprintf(fresh, sizeof fresh, "%s.new", path);
    FILE *file = fopen(fresh, "w");
    if (file == NULL)
        return file_failed("written", fresh);
    bool good = json_dumpf(json, file, JSON_COMPACT) == 0 && fflush(file) == 0 &&
                fsync(fileno(file)) == 0;
    good = fclose(file) == 0 && good;
    if (!good || rename(fresh, path) != 0)
        return file_failed("written", path);
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
        whole = json_array_append_new(all, to_json(&pending->items[i])) == 0;
    struct err e = whole ? replace_file(pending->path, all) : err_memory();
    json_decref(all);
    if (!failed(e))
        pending->changed = false;
    return e;
}

/* Appends a line, after ending a partial line that a crash may have left. */
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

/* Appends a line durably; on failure the file is unchanged. */
static struct err append(const char *path, const json_t *json)
{
    struct stat before;
    FILE *file = fopen(path, "a+");

    if (file == NULL || fstat(fileno(file), &before) != 0) {
        struct err e = file_failed("written", path);
        if (file != NULL)
            fclose(file);
        return e;
    }
    bool good = add_line(file, before.st_size, json);
    struct err e = good ? ERR_NONE : file_failed("written", path);
    fclose(file); /* flushes what is still buffered */
    /* If truncate fails too, the next add_line ends the partial line. */
    if (!good)
        (void)!truncate(path, before.st_size);
    return e;
}

struct err pending_dead_letter(const struct pending *pending, size_t i,
                               const char *problem)
{
    json_t *json = to_json(&pending->items[i]);

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

/* ---- resending dead letters --------------------------------------------------------- */

enum { ASKED_MAX = 1 << 20 };

struct resend {
    struct pending *pending;
    char path[520]; /* of the request file */
    char *asked;    /* its text, with a newline before and after */
    FILE *dead, *kept;
    size_t waiting; /* requested, but pending is full */
};

/* `asked` is NULL when there is no request. */
static struct err read_request(struct resend *r)
{
    FILE *file = fopen(r->path, "r");

    if (file == NULL)
        return errno == ENOENT ? ERR_NONE : file_failed("read", r->path);
    char *text = calloc(1, ASKED_MAX + 3);
    if (text != NULL) {
        text[0] = '\n';
        size_t size = fread(text + 1, 1, ASKED_MAX, file);
        text[size + 1] = '\n';
    }
    fclose(file);
    r->asked = text;
    return text == NULL ? err_memory() : ERR_NONE;
}

static bool is_asked(const struct resend *r, const char *id)
{
    char line[128];

    if (strstr(r->asked, "\n*\n") != NULL)
        return true;
    return snprintf(line, sizeof line, "\n%s\n", id) < (int)sizeof line &&
           strstr(r->asked, line) != NULL;
}

/* False when the line is not a requested dead letter; the line is then kept unchanged. */
static bool read_dead(const struct resend *r, const json_t *json, struct delivery *out)
{
    json_int_t position;
    const char *id, *order_id, *event;

    if (json_unpack((json_t *)json, "{s:I, s:s, s:s, s:s}", "position", &position, "id",
                    &id, "order_id", &order_id, "event", &event) != 0 ||
        !is_asked(r, id))
        return false;
    *out = (struct delivery){.position = position,
                             .id = (char *)id,
                             .order_id = (char *)order_id,
                             .json = (char *)event,
                             .created_at_ms = clock_wall_ms()};
    return true;
}

static struct err take_line(struct resend *r, const char *line, size_t size)
{
    json_t *json = NULL;
    struct delivery delivery;
    struct err e = ERR_NONE;
    bool keep = failed(json_parse(line, size, &json)) || !read_dead(r, json, &delivery);

    if (!keep && !pending_has(r->pending, delivery.position)) {
        keep = r->pending->count == PENDING_MAX;
        r->waiting += keep;
        if (!keep)
            e = pending_add(r->pending, &delivery);
    }
    if (!keep && !failed(e))
        log_info("event_resent", "order=%s event_id=%s", delivery.order_id, delivery.id);
    json_decref(json);
    if (keep && fwrite(line, 1, size, r->kept) != size)
        e = file_failed("written", r->pending->dead_path);
    return e;
}

static struct err take_lines(struct resend *r)
{
    struct err e = ERR_NONE;
    char *line = NULL;
    size_t room = 0;
    ssize_t size;

    while (!failed(e) && (size = getline(&line, &room, r->dead)) > 0)
        e = take_line(r, line, (size_t)size);
    if (!failed(e) && ferror(r->dead))
        e = file_failed("read", r->pending->dead_path);
    free(line);
    return e;
}

/* In this order: pending is saved, the dead-letter list is replaced, the request is
 * removed. */
static struct err finish(struct resend *r, const char *fresh)
{
    struct err e = pending_save(r->pending);

    if (failed(e))
        return e;
    if (fflush(r->kept) != 0 || fsync(fileno(r->kept)) != 0 ||
        rename(fresh, r->pending->dead_path) != 0)
        return file_failed("written", r->pending->dead_path);
    if (r->waiting == 0 && unlink(r->path) != 0)
        return file_failed("removed", r->path);
    return e;
}

static struct err move_lines(struct resend *r)
{
    char fresh[520];
    struct err e = ERR_NONE;

    snprintf(fresh, sizeof fresh, "%s.new", r->pending->dead_path);
    r->dead = fopen(r->pending->dead_path, "r");
    if (r->dead == NULL && errno == ENOENT)
        return unlink(r->path) == 0 ? e : file_failed("removed", r->path);
    r->kept = r->dead == NULL ? NULL : fopen(fresh, "w");
    if (r->kept == NULL)
        e = file_failed("opened", r->dead == NULL ? r->pending->dead_path : fresh);
    if (!failed(e))
        e = take_lines(r);
    if (!failed(e))
        e = finish(r, fresh);
    if (r->dead != NULL)
        fclose(r->dead);
    if (r->kept != NULL)
        fclose(r->kept);
    return e;
}

struct err pending_resend(struct pending *pending)
{
    struct resend r = {.pending = pending};
    size_t stem = strlen(pending->dead_path) - strlen(".dead");

    if (pending->count == PENDING_MAX)
        return ERR_NONE; /* full: try later */
    snprintf(r.path, sizeof r.path, "%.*s.resend", (int)stem, pending->dead_path);
    struct err e = read_request(&r);
    if (failed(e) || r.asked == NULL)
        return e;
    e = move_lines(&r);
    free(r.asked);
    return e;
}

/* ---- an endpoint that answered 410 Gone -------------------------------------------- */

enum { HASH_BYTES = 16, HASH_SIZE = 2 * HASH_BYTES + 1, MARK_MAX = 256, PATH_SIZE = 512 };

static void hash_of(const char *url, char out[HASH_SIZE])
{
    uint8_t hash[HASH_BYTES];

    crypto_generichash(hash, sizeof hash, (const uint8_t *)url, strlen(url), NULL, 0);
    sodium_bin2hex(out, HASH_SIZE, hash, sizeof hash);
}

static void path_of(const char *folder, const struct endpoint *endpoint,
                    char out[PATH_SIZE])
{
    snprintf(out, PATH_SIZE, "%s/%s.gone", folder, endpoint->name);
}

/* Whether the mark is for that URL.  A mark that cannot be read counts for every URL. */
static bool is_for(const char *text, size_t size, const char *url)
{
    json_t *json = NULL;
    char hash[HASH_SIZE];
    struct err e = json_parse(text, size, &json);
    const char *marked = json_string_value(json_object_get(json, "url_hash"));

    hash_of(url, hash);
    bool same = failed(e) || marked == NULL || strcmp(marked, hash) == 0;
    json_decref(json);
    return same;
}

struct err gone_check(const char *folder, const struct endpoint *endpoint, bool *gone)
{
    char path[PATH_SIZE], text[MARK_MAX];

    *gone = false;
    path_of(folder, endpoint, path);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return errno == ENOENT ? ERR_NONE : file_failed("read", path);
    size_t size = fread(text, 1, sizeof text, file);
    fclose(file);
    *gone = is_for(text, size, endpoint->url);
    return *gone || unlink(path) == 0 || errno == ENOENT ? ERR_NONE
                                                         : file_failed("removed", path);
}

struct err gone_mark(const char *folder, const struct endpoint *endpoint)
{
    char path[PATH_SIZE], hash[HASH_SIZE];

    path_of(folder, endpoint, path);
    hash_of(endpoint->url, hash);
    json_t *json =
        json_pack("{s:s, s:I}", "url_hash", hash, "at_ms", (json_int_t)clock_wall_ms());
    struct err e = json == NULL ? err_memory() : replace_file(path, json);
    json_decref(json);
    return e;
}
