/* identity.c - checkoutctl key and token: who may speak, and to whom. */
#include <sodium.h>
#include <string.h>

#include "base/clock.h"
#include "base/contract/ids.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/issuer.h"
#include "cli/output.h"
#include "rpc/auth/principals.h"

struct outcome command_key_new(struct cli *cli)
{
    char text[sodium_base64_ENCODED_LEN(KEY_PUBLIC_SIZE, sodium_base64_VARIANT_ORIGINAL)];
    const char *path = cli->options[OPT_OUT];
    struct key *key = NULL;

    struct err e = key_create(path, cli->words[0]);
    if (!failed(e))
        e = key_read(path, &key);
    if (failed(e))
        return local(e);
    sodium_bin2base64(text, sizeof text, key_public(key), KEY_PUBLIC_SIZE,
                      sodium_base64_VARIANT_ORIGINAL);
    if (cli->options[OPT_JSON] != NULL)
        e = output_json(cli,
                        json_pack("{s:s, s:s}", "name", key_name(key), "public", text));
    else
        fprintf(cli->out, "%s %s\n", key_name(key), text);
    key_free(key);
    return local(e);
}

struct outcome command_key_allow(struct cli *cli)
{
    uint8_t public_key[KEY_PUBLIC_SIZE];
    const char *text = cli->words[2];
    const char *methods = cli->word_count > 3 ? cli->words[3] : NULL;
    size_t size = 0;

    if (!base64_decode(text, strlen(text), sodium_base64_VARIANT_ORIGINAL, public_key,
                       sizeof public_key, &size) ||
        size != sizeof public_key)
        return misused(
            err_make(ERR_INVALID_ARGUMENT,
                     "\"%s\" is not a public key; give the base64 that key new "
                     "printed",
                     text));
    return local(principals_allow(cli->words[0], cli->words[1], public_key, methods));
}

/* Made unless it is there; its public part is written anew, so a lost one comes back. */
struct outcome command_key_issuer(struct cli *cli)
{
    const char *path = cli->options[OPT_OUT];
    struct issuer issuer;

    struct err e = issuer_create(path, &issuer);
    if (e.code == ERR_ALREADY_EXISTS)
        e = issuer_read(path, &issuer);
    if (!failed(e))
        e = issuer_publish(&issuer, cli->options[OPT_JWKS]);
    if (!failed(e) && cli->options[OPT_JSON] != NULL)
        e = output_json(cli, json_pack("{s:s}", "id", issuer.id));
    else if (!failed(e))
        fprintf(cli->out, "%s\n", issuer.id);
    issuer_wipe(&issuer);
    return local(e);
}

static struct err sign(const struct cli *cli, const struct claims *claims)
{
    char *token = NULL;
    struct issuer issuer;

    struct err e = issuer_read(cli->settings.jwt_key_file, &issuer);
    if (!failed(e))
        e = issuer_token(&issuer, claims, cli->arena, &token);
    issuer_wipe(&issuer);
    if (!failed(e) && cli->options[OPT_JSON] != NULL)
        return output_json(cli, json_pack("{s:s, s:I}", "token", token, "expires_at",
                                          (json_int_t)claims->expires_at));
    if (!failed(e))
        fprintf(cli->out, "%s\n", token);
    return e;
}

struct outcome command_token(struct cli *cli)
{
    int64_t ttl = 3600, now = clock_wall_ms() / 1000;
    const char *issuer = cli->options[OPT_ISSUER], *audience = cli->options[OPT_AUDIENCE];
    struct err e = ERR_NONE;

    if (!uuid_valid(cli->options[OPT_USER]))
        return misused(
            err_make(ERR_INVALID_ARGUMENT,
                     "--user is \"%s\"; it must be a UUID in small letters, such as "
                     "6f1f64a0-9d3b-4c56-8a34-1f0e6f6f2a11",
                     cli->options[OPT_USER]));
    if (cli->options[OPT_TTL] != NULL)
        e = cli_number(cli->options[OPT_TTL], "--ttl", 1, TOKEN_TTL_MAX, &ttl);
    if (failed(e))
        return misused(e);
    e = cli_need(cli->settings.jwt_key_file, "jwt_key_file");
    if (failed(e))
        return local(e);
    return local(sign(
        cli, &(struct claims){
                 .issuer = issuer != NULL ? issuer : cli->settings.jwt_issuer,
                 .audience = audience != NULL ? audience : cli->settings.jwt_audience,
                 .subject = cli->options[OPT_USER],
                 .issued_at = now,
                 .expires_at = now + ttl,
             }));
}
