/*
 * principals.h - the services we call, and our callers with the methods they may call.
 *
 *      known_services      NAME PUBLIC                 (one line per service)
 *      authorized_callers  NAME PUBLIC METHOD[,METHOD] (one line per caller)
 *
 * '#' starts a comment.  A METHOD is a full name, or ends in '*':
 * inventory.v1.Inventory/Get* or just *.  No two callers may share a key: each could pass
 * for the other (seal.h).  One caller may have two keys, on two lines, while its key is
 * being replaced.  A wrong line makes the whole list invalid, because a list that is
 * misread is worse than a service that does not start.
 */
#pragma once

#include "rpc/auth/keys.h"

/* Another party, with the key we share with it already computed. */
struct principal {
    char name[KEY_NAME_MAX + 1];
    uint8_t public_key[KEY_PUBLIC_SIZE];
    uint8_t *shared;         /* KEY_SHARED_SIZE guarded bytes, from crypto_box_beforenm */
    uint8_t *earlier_shared; /* likewise, with our earlier key; NULL: we have none */
    char **methods;          /* patterns; callers only */
    size_t method_count;
};

/* A list of them; constant once read, so any thread may use it. */
struct principals;

/* Reads known_services (callers == false) or authorized_callers (true).  `own` is
 * borrowed for as long as that takes.  INVALID_ARGUMENT names the file and line. */
struct err principals_read(const char *path, bool callers, const struct key *own,
                           struct principals **out) __attribute__((warn_unused_result));
/* A list of one service, from a name and its public key in base64. */
struct err principals_of_service(const char *name, const char *public_base64,
                                 const struct key *own, struct principals **out)
    __attribute__((warn_unused_result));

/* Another reference: the list lives until principals_free was called once for each, and
 * once for reading it.  Thread-safe. */
struct principals *principals_share(const struct principals *principals);
void principals_free(struct principals *principals); /* NULL is allowed */

size_t principals_count(const struct principals *principals);

/* The public key that the list was read with, and the one before it, to which
 * earlier_shared belongs. */
const uint8_t *principals_own(const struct principals *principals);
const uint8_t *principals_earlier_own(const struct principals *principals);

/* NULL when there is none of that name (`length` bytes, not NUL-terminated). */
const struct principal *principals_find(const struct principals *principals,
                                        const char *name, size_t length);

/* The next of the same name (a caller may have two keys); NULL: there is none. */
const struct principal *principals_find_next(const struct principals *principals,
                                             const struct principal *principal);

/* Whether one of the caller's patterns covers the method. */
bool principal_may_call(const struct principal *caller, const char *method);

/* Whether the text is METHOD[,METHOD] as a list may have it. */
bool principal_methods_valid(const char *methods);

/* Adds a line to authorized_callers or known_services (methods == NULL), creating the
 * file.  Does nothing when the same line is there; ALREADY_EXISTS when the name is there
 * with another key or other methods.  A line is never changed, and two programs that add
 * at once add one line each. */
struct err principals_allow(const char *path, const char *name, const uint8_t *public_key,
                            const char *methods) __attribute__((warn_unused_result));
