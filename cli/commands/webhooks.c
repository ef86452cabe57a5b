/*
 * webhooks.c - checkoutctl webhooks: the state folder of a webhook sender on this
 * machine.
 *
 * The sender serves no RPC, so its files are the interface (webhook/README.md).
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/contract/ids.h"
#include "base/json.h"
#include "cli/commands/commands.h"
#include "cli/files.h"
#include "cli/output.h"

enum { PATH_SIZE = 600, REQUEST_SIZE = 2048 };

/* The folder; also checks that the command's first word, if any, can be an endpoint's
 * name. */
static struct err find_folder(const struct cli *cli, const char **out)
{
    const char *dir = cli->options[OPT_DIR];

    *out = dir != NULL ? dir : cli->settings.webhook_dir;
    struct err e = cli_need(*out, "webhook_dir");
    if (!failed(e) && cli->word_count > 0 && !name_valid(cli->words[0]))
        e = invalid("\"%s\" is no endpoint's name: letters, digits, - and _.",
                    cli->words[0]);
    return e;
}

static int stop_at_error(const char *path, int error)
{
    (void)path;
    return error != ENOENT; /* a folder that is not there holds nothing */
}

/* Calls `each` for every file ENDPOINT.SUFFIX of the folder or, when the command has a
 * word, for that endpoint's.  A missing file is no failure. */
static struct err
each_endpoint(const struct cli *cli, const char *folder, const char *suffix,
              struct err (*each)(void *arg, const char *endpoint, const char *path),
              void *arg)
{
    glob_t found;
    struct err e = ERR_NONE;
    const char *pattern = arena_printf(cli->arena, "%s/%s.%s", folder,
                                       cli->word_count > 0 ? cli->words[0] : "*", suffix);

    if (pattern == NULL)
        return err_memory();
    int status = glob(pattern, 0, stop_at_error, &found);
    if (status == GLOB_NOMATCH)
        return e;
    if (status != 0)
        return invalid("%s cannot be read.", pattern);
    for (size_t i = 0; i < found.gl_pathc && !failed(e); i++) {
        const char *name = strrchr(found.gl_pathv[i], '/') + 1;
        const char *endpoint = arena_printf(
            cli->arena, "%.*s", (int)(strlen(name) - strlen(suffix) - 1), name);
        e = endpoint == NULL ? err_memory() : each(arg, endpoint, found.gl_pathv[i]);
    }
    globfree(&found);
    return e;
}

/* A small JSON file, whole; the caller frees `out`. */
static struct err read_json(const char *path, json_t **out)
{
    FILE *file = fopen(path, "r");

    if (file == NULL)
        return invalid("%s cannot be read: %s.", path, strerror(errno));
    struct err e = json_parse_file(file, out);
    fclose(file);
    return e;
}

static struct err print_gone(void *arg, const char *endpoint, const char *path)
{
    const struct cli *cli = arg;
    char time[TIME_SIZE];
    json_t *json = NULL;
    struct err e = read_json(path, &json);
    json_int_t at_ms = json_integer_value(json_object_get(json, "at_ms"));

    if (!failed(e) && cli->options[OPT_JSON] == NULL)
        fprintf(cli->out,
                "%-16s answered 410 (Gone) %s and is sent nothing; checkoutctl webhooks "
                "resume %s\n",
                endpoint, time_text(at_ms, time), endpoint);
    else if (!failed(e))
        output_line(cli,
                    json_pack("{s:s, s:I}", "endpoint", endpoint, "gone_at_ms", at_ms));
    json_decref(json);
    return e;
}

/* ---- a list of dead deliveries ----------------------------------------------------- */

struct listing {
    const struct cli *cli;
    const char *endpoint;
    const char *wanted; /* only this id; NULL: all */
    int count;
    bool print;
};

static void print_dead(const struct listing *l, json_t *json)
{
    char time[TIME_SIZE];
    json_int_t attempts = 0, dead_at_ms = 0;
    const char *id = "", *problem = "";
    FILE *out = l->cli->out;

    json_unpack(json, "{s?s, s?s, s?I, s?I}", "id", &id, "problem", &problem, "attempts",
                &attempts, "buried_at_ms", &dead_at_ms);
    fprintf(out, "%-16s ", l->endpoint);
    output_text(out, id);
    fprintf(out, "  %s  after %" JSON_INTEGER_FORMAT " attempts: ",
            time_text(dead_at_ms, time), attempts);
    output_text(out, problem);
    fputc('\n', out);
}

static void take_line(struct listing *l, const char *line, size_t size)
{
    json_t *json = NULL;
    struct err e = json_parse(line, size, &json);
    const char *id = failed(e) ? NULL : json_string_value(json_object_get(json, "id"));

    if (id != NULL && (l->wanted == NULL || strcmp(l->wanted, id) == 0)) {
        l->count++;
        json_object_set_new(json, "endpoint", json_string(l->endpoint));
        if (l->print && l->cli->options[OPT_JSON] == NULL) {
            print_dead(l, json);
        } else if (l->print) {
            output_line(l->cli, json_incref(json));
        }
    }
    json_decref(json);
}

/* A list that is not there is empty. */
static struct err read_list(struct listing *l, const char *path)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t size;
    FILE *file = fopen(path, "r");

    if (file == NULL)
        return errno == ENOENT ? ERR_NONE
                               : invalid("%s cannot be read: %s.", path, strerror(errno));
    while ((size = getline(&line, &room, file)) > 0)
        take_line(l, line, (size_t)size);
    free(line);
    fclose(file);
    return ERR_NONE;
}

/* ---- dead and pending -------------------------------------------------------------- */

/* Calls `each` for the endpoints' files, then says which endpoints answered 410. */
static struct outcome list(struct cli *cli, const char *suffix,
                           struct err (*each)(void *arg, const char *endpoint,
                                              const char *path))
{
    const char *folder;
    struct err e = find_folder(cli, &folder);

    if (failed(e))
        return misused(e);
    e = each_endpoint(cli, folder, suffix, each, cli);
    return local(failed(e) ? e : each_endpoint(cli, folder, "gone", print_gone, cli));
}

static struct err list_dead(void *arg, const char *endpoint, const char *path)
{
    struct listing l = {.cli = arg, .endpoint = endpoint, .print = true};

    return read_list(&l, path);
}

struct outcome command_webhooks_dead(struct cli *cli)
{
    return list(cli, "dead", list_dead);
}

static void print_pending(const struct cli *cli, const char *endpoint, json_t *json)
{
    char time[TIME_SIZE];
    json_int_t attempts = 0, next = 0;
    const char *id = "";

    json_unpack(json, "{s?s, s?I, s?I}", "id", &id, "attempts", &attempts, "next_ms",
                &next);
    fprintf(cli->out, "%-16s ", endpoint);
    output_text(cli->out, id);
    if (attempts == 0)
        fprintf(cli->out, "  waits for an earlier event of its order\n");
    else
        fprintf(cli->out, "  %" JSON_INTEGER_FORMAT " attempts, the next at %s\n",
                attempts, time_text(next, time));
}

static struct err list_pending(void *arg, const char *endpoint, const char *path)
{
    const struct cli *cli = arg;
    json_t *all = NULL;
    struct err e = read_json(path, &all);

    for (size_t i = 0; !failed(e) && i < json_array_size(all); i++) {
        json_t *delivery = json_array_get(all, i);
        if (cli->options[OPT_JSON] == NULL) {
            print_pending(cli, endpoint, delivery);
            continue;
        }
        json_object_set_new(delivery, "endpoint", json_string(endpoint));
        output_line(cli, json_incref(delivery));
    }
    json_decref(all);
    return e;
}

struct outcome command_webhooks_pending(struct cli *cli)
{
    return list(cli, "pending", list_pending);
}

/* ---- resend ------------------------------------------------------------------------ */

/* Collects the ids, one per line; fails if one is not in the list. */
static struct err write_ids(const struct cli *cli, const char *dead, char *out,
                            size_t size)
{
    size_t used = 0;

    for (int i = 1; i < cli->word_count; i++) {
        struct listing l = {
            .cli = cli, .endpoint = cli->words[0], .wanted = cli->words[i]};
        struct err e = read_list(&l, dead);
        if (failed(e))
            return e;
        if (l.count == 0)
            return err_make(ERR_NOT_FOUND, "%s has no dead letter %s.", cli->words[0],
                            cli->words[i]);
        used += (size_t)snprintf(out + used, size - used, "%s\n", cli->words[i]);
        if (used >= size)
            return invalid("These are too many.");
    }
    if (used == 0)
        snprintf(out, size, "*\n");
    return ERR_NONE;
}

/* Root may run this for another user's sender, which must be able to read the file. */
static void give_to_owner(const char *path, const char *folder)
{
    struct stat owner;

    if (geteuid() == 0 && stat(folder, &owner) == 0 &&
        lchown(path, owner.st_uid, owner.st_gid) != 0)
        perror("checkoutctl");
}

struct outcome command_webhooks_resend(struct cli *cli)
{
    char ids[REQUEST_SIZE], dead[PATH_SIZE], request[PATH_SIZE];
    const char *folder, *name = cli->words[0];
    struct err e = find_folder(cli, &folder);

    if (failed(e))
        return misused(e);
    snprintf(request, sizeof request, "%s/%s.gone", folder, name);
    if (access(request, F_OK) == 0)
        return local(err_make(ERR_FAILED_PRECONDITION,
                              "%s is sent nothing since it answered 410; first: "
                              "checkoutctl webhooks resume %s",
                              name, name));
    snprintf(dead, sizeof dead, "%s/%s.dead", folder, name);
    snprintf(request, sizeof request, "%s/%s.resend", folder, name);
    e = write_ids(cli, dead, ids, sizeof ids);
    if (!failed(e))
        e = file_write(request, ids, strlen(ids), 0600, false);
    if (e.code == ERR_ALREADY_EXISTS)
        e = err_make(ERR_ALREADY_EXISTS,
                     "The sender has not taken what was asked before (%s); does it run?",
                     request);
    if (failed(e))
        return local(e);
    give_to_owner(request, folder);
    fprintf(cli->out, "The sender takes them when it looks, within seconds.\n");
    return done();
}

/* ---- resume ------------------------------------------------------------------------ */

struct outcome command_webhooks_resume(struct cli *cli)
{
    char path[PATH_SIZE];
    const char *folder, *name = cli->words[0];
    struct err e = find_folder(cli, &folder);

    if (failed(e))
        return misused(e);
    snprintf(path, sizeof path, "%s/%s.gone", folder, name);
    if (unlink(path) != 0)
        return local(errno == ENOENT
                         ? err_make(ERR_NOT_FOUND, "%s has not answered 410.", name)
                         : err_make(ERR_UNAVAILABLE, "%s cannot be removed: %s.", path,
                                    strerror(errno)));
    fprintf(cli->out,
            "%s is sent events again within seconds; what is dead with: checkoutctl "
            "webhooks resend %s\n",
            name, name);
    return done();
}

/* ---- reload ------------------------------------------------------------------------ */

/* The sender's process: its id is in the file on which it holds the only lock.  0: no
 * sender runs. */
static struct err find_sender(const char *path, pid_t *out)
{
    char text[32] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    *out = 0;
    if (fd < 0)
        return errno == ENOENT ? ERR_NONE
                               : invalid("%s cannot be read: %s.", path, strerror(errno));
    bool works = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    if (works && read(fd, text, sizeof text - 1) > 0)
        *out = (pid_t)strtol(text, NULL, 10);
    close(fd);
    return ERR_NONE;
}

struct outcome command_webhooks_reload(struct cli *cli)
{
    char path[PATH_SIZE];
    const char *folder;
    pid_t sender = 0;
    struct err e = find_folder(cli, &folder);

    if (failed(e))
        return misused(e);
    snprintf(path, sizeof path, "%s/lock", folder);
    e = find_sender(path, &sender);
    if (!failed(e) && sender <= 1)
        e = err_make(ERR_NOT_FOUND, "No webhook sender works in %s.", folder);
    if (!failed(e) && kill(sender, SIGHUP) != 0)
        e = err_make(ERR_PERMISSION_DENIED,
                     "The sender, process %ld, cannot be signalled: %s.", (long)sender,
                     strerror(errno));
    if (failed(e))
        return local(e);
    fprintf(cli->out,
            "The sender, process %ld, reloads its endpoints; its log says how that "
            "went.\n",
            (long)sender);
    return done();
}
