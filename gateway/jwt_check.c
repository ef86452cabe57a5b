/*
 * jwt_check.c - see jwt_check.h.
 *
 * Everything in a token is foreign, also after its signature was found good.
 */
#include "gateway/jwt_check.h"

#include <jansson.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "gateway/jws.h"
#include "gateway/jwt.h"

/* Past it a time is nonsense: the year 10000. */
static const int64_t TIME_MAX = 253402300800;

#define refuse(...) err_make(ERR_UNAUTHENTICATED, __VA_ARGS__)

/* RFC 7515, 4.1.9: a media type, of which "application/" may be left out. */
static struct err check_type(const json_t *header)
{
    static const char PREFIX[] = "application/";
    const json_t *typ = json_object_get(header, "typ");
    const char *type = json_string_value(typ);

    if (typ == NULL)
        return ERR_NONE;
    if (type != NULL && strncasecmp(type, PREFIX, sizeof PREFIX - 1) == 0)
        type += sizeof PREFIX - 1;
    if (type != NULL && (strcasecmp(type, "JWT") == 0 || strcasecmp(type, "at+jwt") == 0))
        return ERR_NONE;
    return refuse("the header's typ is not JWT or at+jwt");
}

/* A NumericDate (RFC 7519, 2), rounded up or down to a second.  JSON has refused what no
 * 64-bit number holds. */
static struct err read_time(const json_t *claims, const char *name, bool up, int64_t *out)
{
    const json_t *value = json_object_get(claims, name);
    double seconds = json_number_value(value);

    if (!json_is_number(value) || !(seconds >= 0 && seconds < (double)TIME_MAX))
        return refuse("%s is missing or not a number of seconds from 0 to below %lld",
                      name, (long long)TIME_MAX);
    *out = (int64_t)seconds;
    if (up && (double)*out < seconds)
        *out += 1;
    return ERR_NONE;
}

static struct err check_times(const json_t *claims, int64_t now_s, struct jwt_claims *out)
{
    int64_t expires, not_before = 0, issued = 0;
    struct err e = read_time(claims, "exp", false, &expires);

    if (!failed(e) && json_object_get(claims, "nbf") != NULL)
        e = read_time(claims, "nbf", true, &not_before);
    if (!failed(e) && json_object_get(claims, "iat") != NULL)
        e = read_time(claims, "iat", true, &issued);
    if (failed(e))
        return e;
    out->until_s = expires + JWT_SKEW_S;
    out->from_s = (not_before > issued ? not_before : issued) - JWT_SKEW_S;
    if (now_s >= out->until_s)
        return refuse("the token has expired");
    if (now_s < out->from_s)
        return refuse("the token is not valid yet");
    return ERR_NONE;
}

static bool equals(const json_t *value, const char *text)
{
    return json_is_string(value) && strcmp(json_string_value(value), text) == 0;
}

static bool audience_good(const json_t *aud, const char *audience)
{
    bool found = false;

    if (!json_is_array(aud))
        return equals(aud, audience);
    for (size_t i = 0; i < json_array_size(aud); i++) {
        if (!json_is_string(json_array_get(aud, i)))
            return false;
        found = found || equals(json_array_get(aud, i), audience);
    }
    return found;
}

static struct err check_claims(const struct jwt_rules *rules, const json_t *claims,
                               int64_t now_s, struct jwt_claims *out)
{
    if (!equals(json_object_get(claims, "iss"), rules->issuer))
        return refuse("iss is not our issuer");
    if (!audience_good(json_object_get(claims, "aud"), rules->audience))
        return refuse("aud does not name us");
    struct err e = check_times(claims, now_s, out);
    return failed(e) ? e : subject_user(rules->subject, claims, out->user);
}

static struct err check_payload(const struct jws *jws, const struct jwt_rules *rules,
                                int64_t now_s, struct jwt_claims *out)
{
    json_t *claims;
    struct err e = json_parse(jws->payload, jws->payload_size, &claims);

    if (e.code == ERR_INVALID_ARGUMENT || (!failed(e) && !json_is_object(claims)))
        e = refuse("the claims are not a JSON object, or hold a number beyond 64 bits");
    if (!failed(e))
        e = check_claims(rules, claims, now_s, out);
    json_decref(claims);
    return e;
}

struct err jwt_check(const char *token, size_t size, const struct jwt_rules *rules,
                     int64_t now_s, struct jwt_claims *out)
{
    struct jws jws;
    struct err e = jws_verify(token, size, rules->keys, &jws);

    if (failed(e))
        return e;
    e = check_type(jws.header);
    if (!failed(e))
        e = check_payload(&jws, rules, now_s, out);
    jws_clear(&jws);
    return e;
}
