/* webhooks.c - checkoutctl webhooks dead and resend: a sender's dead-letter lists. */
#include "cli/webhooks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "cli/commands.h"
#include "cli/files.h"
#include "cli/output.h"

enum { REQUEST_SIZE = 2048 };

/* ---- reading a list ---------------------------------------------------------------- */

struct listing {
    const struct cli *cli;
    const char *endpoint;
    const char *wanted; /* only this id; NULL: all */
    int count;
    bool print;
};

static void print_letter(const struct listing *l, json_t *json)
{
    char time[TIME_SIZE];
    json_int_t attempts = 0, buried = 0;
    const char *id = "", *problem = "";
    FILE *out = l->cli->out;

    json_unpack(json, "{s?s, s?s, s?I, s?I}", "id", &id, "problem", &problem, "attempts",
                &attempts, "buried_at_ms", &buried);
    fprintf(out, "%-16s ", l->endpoint);
    output_text(out, id);
    fprintf(out,
            "  %s  after %" JSON_INTEGER_FORMAT " attempts: ", time_text(buried, time),
            attempts);
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
            print_letter(l, json);
        } else if (l->print) {
            json_dumpf(json, l->cli->out, JSON_COMPACT);
            fputc('\n', l->cli->out);
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
                               : err_make(ERR_INVALID_ARGUMENT, "%s cannot be read: %s.",
                                          path, strerror(errno));
    while ((size = getline(&line, &room, file)) > 0)
        take_line(l, line, (size_t)size);
    free(line);
    fclose(file);
    return ERR_NONE;
}

/* ---- dead -------------------------------------------------------------------------- */

static struct err list_dead(void *arg, const char *endpoint, const char *path)
{
    struct listing l = {.cli = arg, .endpoint = endpoint, .print = true};

    return read_list(&l, path);
}

struct outcome command_webhooks_dead(struct cli *cli)
{
    const char *folder;
    struct err e = webhooks_folder(cli, &folder);

    if (failed(e))
        return misused(e);
    e = webhooks_each(cli, folder, "dead", list_dead, cli);
    return local(failed(e) ? e : webhooks_tell_gone(cli, folder));
}

/* ---- resend ------------------------------------------------------------------------ */

/* The ids, a line each, if they are in the list. */
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
            return err_make(ERR_INVALID_ARGUMENT, "These are too many.");
    }
    if (used == 0)
        snprintf(out, size, "*\n");
    return ERR_NONE;
}

/* Root may ask for another user's sender, who has to be able to read it. */
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
    struct err e = webhooks_folder(cli, &folder);

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
