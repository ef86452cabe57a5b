/* webhooks_pending.c - checkoutctl webhooks pending, resume and reload. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "cli/output.h"
#include "cli/webhooks.h"

/* ---- pending ----------------------------------------------------------------------- */

static void print_letter(const struct cli *cli, const char *endpoint, json_t *json)
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
    struct err e = webhooks_read(path, &all);

    for (size_t i = 0; !failed(e) && i < json_array_size(all); i++) {
        json_t *letter = json_array_get(all, i);
        if (cli->options[OPT_JSON] == NULL) {
            print_letter(cli, endpoint, letter);
            continue;
        }
        json_object_set_new(letter, "endpoint", json_string(endpoint));
        json_dumpf(letter, cli->out, JSON_COMPACT);
        fputc('\n', cli->out);
    }
    json_decref(all);
    return e;
}

struct outcome command_webhooks_pending(struct cli *cli)
{
    const char *folder;
    struct err e = webhooks_folder(cli, &folder);

    if (failed(e))
        return misused(e);
    e = webhooks_each(cli, folder, "pending", list_pending, cli);
    return local(failed(e) ? e : webhooks_tell_gone(cli, folder));
}

/* ---- resume ------------------------------------------------------------------------ */

struct outcome command_webhooks_resume(struct cli *cli)
{
    char path[PATH_SIZE];
    const char *folder, *name = cli->words[0];
    struct err e = webhooks_folder(cli, &folder);

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

/* The process that works in the folder: its number stands in the file that it has locked,
 * and that nobody else has.  0: none does. */
static struct err find_sender(const char *path, pid_t *out)
{
    char text[32] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    *out = 0;
    if (fd < 0)
        return errno == ENOENT ? ERR_NONE
                               : err_make(ERR_INVALID_ARGUMENT, "%s cannot be read: %s.",
                                          path, strerror(errno));
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
    struct err e = webhooks_folder(cli, &folder);

    if (failed(e))
        return misused(e);
    snprintf(path, sizeof path, "%s/lock", folder);
    e = find_sender(path, &sender);
    if (!failed(e) && sender <= 1)
        e = err_make(ERR_NOT_FOUND, "No webhook sender works in %s.", folder);
    if (!failed(e) && kill(sender, SIGHUP) != 0)
        e = err_make(ERR_PERMISSION_DENIED,
                     "The sender, process %ld, cannot be told: %s.", (long)sender,
                     strerror(errno));
    if (failed(e))
        return local(e);
    fprintf(cli->out,
            "The sender, process %ld, reads its endpoints anew; its log says how "
            "that went.\n",
            (long)sender);
    return done();
}
