/* jwt.c - see jwt.h; one token is checked by jwt_check.c, and remembered here. */
#include "gateway/jwt.h"

#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/jwks.h"
#include "gateway/jwt_check.h"

enum {
    WAYS = 4,
    /* SipHash of 128 bits under a key that no one knows: whoever cannot compute it cannot
     * make a token that passes for a remembered one, and it costs half of a BLAKE2b. */
    HASH_SIZE = crypto_shorthash_siphashx24_BYTES,
};

/* A token found good before. */
struct remembered {
    uint8_t hash[HASH_SIZE];
    struct jwt_claims claims; /* until_s 0: the place is free */
};

struct jwt {
    struct jwks *jwks;           /* NULL: none yet */
    _Atomic(struct jwks *) next; /* to be taken before the next token; NULL: none */
    uint8_t key[crypto_shorthash_siphashx24_KEYBYTES]; /* of the hashes */
    char *issuer;
    char *audience;
    struct subject_rule subject;
    size_t token_max;
    size_t sets; /* a power of two */
    struct remembered *table;
};

struct err jwt_open(const struct jwt_config *config, struct jwt **out)
{
    struct jwt *jwt = calloc(1, sizeof *jwt);

    *out = NULL;
    if (jwt == NULL)
        return err_memory();
    randombytes_buf(jwt->key, sizeof jwt->key);
    for (jwt->sets = 1; jwt->sets * WAYS < config->remembered_max;)
        jwt->sets *= 2;
    jwt->table = calloc(jwt->sets * WAYS, sizeof *jwt->table);
    jwt->issuer = strdup(config->issuer);
    jwt->audience = strdup(config->audience);
    jwt->token_max = config->token_max > 0 ? config->token_max : JWT_TOKEN_MAX;
    struct err e = subject_rule_make(
        config->user_claim != NULL ? config->user_claim : "sub",
        config->user_namespace != NULL ? config->user_namespace : "", &jwt->subject);
    if (jwt->table == NULL || jwt->issuer == NULL || jwt->audience == NULL)
        e = err_memory();
    if (!failed(e) && config->jwks_file != NULL)
        e = jwks_read(config->jwks_file, &jwt->jwks);
    if (failed(e))
        jwt_close(jwt);
    else
        *out = jwt;
    return e;
}

void jwt_close(struct jwt *jwt)
{
    if (jwt == NULL)
        return;
    jwks_free(jwt->jwks);
    jwks_free(atomic_load(&jwt->next));
    free(jwt->table);
    free(jwt->issuer);
    free(jwt->audience);
    free(jwt);
}

void jwt_renew(struct jwt *jwt, struct jwks *keys)
{
    jwks_free(atomic_exchange(&jwt->next, keys));
}

static void take_next_keys(struct jwt *jwt)
{
    struct jwks *keys = atomic_exchange(&jwt->next, NULL);

    if (keys == NULL)
        return;
    jwks_free(jwt->jwks);
    jwt->jwks = keys;
    memset(jwt->table, 0, jwt->sets * WAYS * sizeof *jwt->table);
}

/* The token's place: where it is remembered, else the one of its set that ends first. */
static struct remembered *place_for(struct jwt *jwt, const uint8_t hash[HASH_SIZE])
{
    uint64_t index;

    memcpy(&index, hash, sizeof index);
    struct remembered *set = &jwt->table[(index & (jwt->sets - 1)) * WAYS];
    struct remembered *first = set;
    for (int i = 0; i < WAYS; i++) {
        if (set[i].claims.until_s != 0 && memcmp(set[i].hash, hash, HASH_SIZE) == 0)
            return &set[i];
        if (set[i].claims.until_s < first->claims.until_s)
            first = &set[i];
    }
    return first;
}

struct err jwt_verify(struct jwt *jwt, const char *token, size_t size, int64_t now_s,
                      char user[UUID_LENGTH + 1])
{
    struct remembered made = {0};

    take_next_keys(jwt);
    if (size > jwt->token_max)
        return err_make(ERR_UNAUTHENTICATED, "the token is longer than %zu bytes",
                        jwt->token_max);
    crypto_shorthash_siphashx24(made.hash, (const unsigned char *)token, size, jwt->key);
    struct remembered *place = place_for(jwt, made.hash);
    bool known =
        place->claims.until_s != 0 && memcmp(place->hash, made.hash, HASH_SIZE) == 0;
    if (!known || now_s < place->claims.from_s || now_s >= place->claims.until_s) {
        const struct jwt_rules rules = {jwt->jwks, jwt->issuer, jwt->audience,
                                        &jwt->subject};
        struct err e = jwt_check(token, size, &rules, now_s, &made.claims);
        if (failed(e))
            return e;
        *place = made;
    }
    memcpy(user, place->claims.user, sizeof place->claims.user);
    return ERR_NONE;
}
