/* resend.c - see resend.h. */
#include "webhook/resend.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"

enum { ASKED_MAX = 1 << 20 };

struct resend {
    struct pending *pending;
    char path[520]; /* of the request */
    char *asked;    /* what is in it, with a line end before and after */
    FILE *dead, *kept;
    size_t revived, waiting;
};

/* NULL in `asked` when nobody asks. */
static struct err read_request(struct resend *r)
{
    FILE *file = fopen(r->path, "r");

    if (file == NULL)
        return errno == ENOENT ? ERR_NONE : pending_failed("read", r->path);
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

/* False when the line is not a letter that was asked for; it is then kept as it is. */
static bool read_letter(const struct resend *r, const json_t *json, struct letter *out)
{
    json_int_t position;
    const char *id, *order_id, *event;

    if (json_unpack((json_t *)json, "{s:I, s:s, s:s, s:s}", "position", &position, "id",
                    &id, "order_id", &order_id, "event", &event) != 0 ||
        !is_asked(r, id))
        return false;
    *out = (struct letter){.position = position,
                           .id = (char *)id,
                           .order_id = (char *)order_id,
                           .json = (char *)event,
                           .created_at_ms = clock_wall_ms()};
    return true;
}

static struct err take_line(struct resend *r, const char *line, size_t size)
{
    json_t *json = NULL;
    struct letter letter;
    struct err e = ERR_NONE;
    bool keep = failed(json_parse(line, size, &json)) || !read_letter(r, json, &letter);

    if (!keep && !pending_has(r->pending, letter.position)) {
        keep = r->pending->count == PENDING_MAX;
        r->waiting += keep;
        if (!keep)
            e = pending_add(r->pending, &letter);
    }
    if (!keep && !failed(e)) {
        log_info("event_resent", "order=%s event_id=%s", letter.order_id, letter.id);
        r->revived++;
    }
    json_decref(json);
    if (keep && fwrite(line, 1, size, r->kept) != size)
        e = pending_failed("written", r->pending->dead_path);
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
        e = pending_failed("read", r->pending->dead_path);
    free(line);
    return e;
}

/* First they are pending, then they are no longer dead, then nobody asks any more. */
static struct err finish(struct resend *r, const char *fresh)
{
    struct err e = pending_save(r->pending);

    if (failed(e))
        return e;
    if (fflush(r->kept) != 0 || fsync(fileno(r->kept)) != 0 ||
        rename(fresh, r->pending->dead_path) != 0)
        return pending_failed("written", r->pending->dead_path);
    if (r->waiting == 0 && unlink(r->path) != 0)
        return pending_failed("removed", r->path);
    return e;
}

static struct err move_letters(struct resend *r)
{
    char fresh[520];
    struct err e = ERR_NONE;

    snprintf(fresh, sizeof fresh, "%s.new", r->pending->dead_path);
    r->dead = fopen(r->pending->dead_path, "r");
    if (r->dead == NULL && errno == ENOENT)
        return unlink(r->path) == 0 ? e : pending_failed("removed", r->path);
    r->kept = r->dead == NULL ? NULL : fopen(fresh, "w");
    if (r->kept == NULL)
        e = pending_failed("opened", r->dead == NULL ? r->pending->dead_path : fresh);
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

struct err resend_asked(struct pending *pending)
{
    struct resend r = {.pending = pending};
    size_t stem = strlen(pending->dead_path) - strlen(".dead");

    if (pending->count == PENDING_MAX)
        return ERR_NONE; /* there is no room */
    snprintf(r.path, sizeof r.path, "%.*s.resend", (int)stem, pending->dead_path);
    struct err e = read_request(&r);
    if (failed(e) || r.asked == NULL)
        return e;
    e = move_letters(&r);
    free(r.asked);
    return e;
}
