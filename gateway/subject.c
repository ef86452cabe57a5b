/* subject.c - see subject.h. */
#include "gateway/subject.h"

#include <openssl/evp.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

enum { SHA1_SIZE = 20, VERSION_AT = 14 /* the character of a UUID */ };

#define refuse(...) err_make(ERR_UNAUTHENTICATED, __VA_ARGS__)

struct err subject_rule_make(const char *claim, const char *namespace,
                             struct subject_rule *out)
{
    *out = (struct subject_rule){.mapped = namespace[0] != '\0'};
    if (!visible_ascii(claim, 1, SUBJECT_CLAIM_MAX))
        return err_make(ERR_INVALID_ARGUMENT,
                        "user_claim is \"%.100s\"; write the name of a claim, 1 to %d "
                        "visible ASCII characters",
                        claim, SUBJECT_CLAIM_MAX);
    memcpy(out->claim, claim, strlen(claim) + 1);
    if (!out->mapped)
        return ERR_NONE;
    if (!uuid_valid(namespace))
        return err_make(ERR_INVALID_ARGUMENT,
                        "user_namespace is \"%.100s\"; write a UUID in lower case, or "
                        "nothing",
                        namespace);
    return sodium_hex2bin(out->namespace, UUID_SIZE, namespace, UUID_LENGTH, "-", NULL,
                          NULL) == 0
               ? ERR_NONE
               : err_make(ERR_INVALID_ARGUMENT, "user_namespace is no UUID");
}

/* RFC 9562, 5.5. */
static struct err make_uuid5(const uint8_t namespace[UUID_SIZE], const char *name,
                             size_t size, char out[UUID_LENGTH + 1])
{
    uint8_t b[SHA1_SIZE];
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = context != NULL && EVP_DigestInit_ex(context, EVP_sha1(), NULL) == 1 &&
                EVP_DigestUpdate(context, namespace, UUID_SIZE) == 1 &&
                EVP_DigestUpdate(context, name, size) == 1 &&
                EVP_DigestFinal_ex(context, b, NULL) == 1;

    EVP_MD_CTX_free(context);
    if (!good)
        return err_memory();
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x50);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    snprintf(out, UUID_LENGTH + 1,
             "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
             b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12],
             b[13], b[14], b[15]);
    return ERR_NONE;
}

/* OpenID Connect Core, 5.7: an e-mail address names nobody unless it was verified. */
static bool is_unverified_email(const struct subject_rule *rule, const json_t *claims)
{
    return strcmp(rule->claim, "email") == 0 &&
           !json_is_true(json_object_get(claims, "email_verified"));
}

struct err subject_user(const struct subject_rule *rule, const json_t *claims,
                        char user[UUID_LENGTH + 1])
{
    const json_t *value = json_object_get(claims, rule->claim);
    const char *name = json_string_value(value);

    if (name == NULL || name[0] == '\0')
        return refuse("%s is missing, empty or not a string", rule->claim);
    if (is_unverified_email(rule, claims))
        return refuse("email names no user unless email_verified is true");
    if (!uuid_valid(name))
        return rule->mapped
                   ? make_uuid5(rule->namespace, name, json_string_length(value), user)
                   : refuse("%s is not a UUID in lower case, and there is no "
                            "user_namespace to make one",
                            rule->claim);
    if (rule->mapped && name[VERSION_AT] == '5')
        return refuse("%s is a UUID of version 5, as user_namespace makes of other names",
                      rule->claim);
    memcpy(user, name, UUID_LENGTH + 1);
    return ERR_NONE;
}
