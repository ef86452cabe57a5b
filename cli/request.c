/* request.c - see request.h. */
#include "cli/request.h"

#include <string.h>

#include "cli/files.h"
#include "rpc/server/server.h"

enum { JSON_TEXT_MAX = 2 * RPC_MESSAGE_MAX };

struct outcome request_method(struct cli *cli, struct found_method *out)
{
    struct catalogue catalogue;
    struct outcome end = catalogue_open(cli, &catalogue);

    return end.status != 0 ? end : misused(method_find(&catalogue, cli->words[0], out));
}

struct err request_text(const struct cli *cli, const char **text, size_t *size)
{
    const char *word = cli->word_count > 1 ? cli->words[1] : "{}";
    char *read = NULL;

    if (*word == '@' || strcmp(word, "-") == 0) {
        const char *path = *word == '@' ? word + 1 : word;
        struct err e = file_read(path, JSON_TEXT_MAX, cli->arena, &read, size);
        *text = read;
        return e;
    }
    *text = word;
    *size = strlen(word);
    return ERR_NONE;
}
