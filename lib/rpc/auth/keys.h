/*
 * keys.h - who we are, whom we call, and who may call us.
 *
 * Three small text files, like SSH's; '#' starts a comment in each.
 *   key file            name = inventory            (mode 0600, holds the secret)
 *                       public = BASE64
 *                       secret = BASE64
 *   known_services      NAME PUBLIC                 (one line a service we may call)
 *   authorized_callers  NAME PUBLIC METHOD[,METHOD] (one line a caller)
 * A METHOD is a full name, or ends in '*': inventory.v1.Inventory/Get* or just *.
 * No two callers in a list may have one key: each could pass for the other (seal.h).  But one
 * caller may have two, on two lines, while its key is being replaced.
 * Keys are X25519, as libsodium's crypto_box uses them.  Secrets live in memory that is
 * never swapped or dumped.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
    KEY_NAME_MAX = 32, /* bytes of a name, A-Z a-z 0-9 _ - */
    KEY_PUBLIC_SIZE = 32,
    KEY_SHARED_SIZE = 32,
};

/* Our own key pair.  Thread-safe once read. */
struct key;

/* Another party, with the key we share with it already computed. */
struct peer {
    char name[KEY_NAME_MAX + 1];
    uint8_t public_key[KEY_PUBLIC_SIZE];
    uint8_t *shared;         /* KEY_SHARED_SIZE guarded bytes, from crypto_box_beforenm */
    uint8_t *earlier_shared; /* likewise, with our earlier key; NULL: we have none */
    char **methods;          /* patterns; callers only */
    size_t method_count;
};

struct peers;

/* Writes a new key file, mode 0600; ALREADY_EXISTS rather than replace one. */
struct err key_create(const char *path, const char *name)
    __attribute__((warn_unused_result));

/* INVALID_ARGUMENT names the file and line, and refuses files others can read. */
struct err key_read(const char *path, struct key **out)
    __attribute__((warn_unused_result));

/* A share of the key: it lives until key_free was called once for each, and for key_read. */
struct key *key_share(const struct key *key);
void key_free(struct key *key); /* NULL is allowed */

/* Makes a key, before anybody else has it, the successor of another: who still calls us by
 * that one is answered, too.  Takes a share. */
void key_succeed(struct key *key, const struct key *earlier);
const char *key_name(const struct key *key);
const uint8_t *key_public(const struct key *key);

/* A key for another purpose, KEY_SHARED_SIZE bytes: always the same for the key file and the
 * purpose ("orders.cursor"), so all replicas and later runs have it.  It tells nothing of the
 * secret or of other purposes' keys. */
void key_derive(const struct key *key, const char *purpose, uint8_t *out);

/* Reads known_services (callers == false) or authorized_callers (true).  `own` is borrowed for
 * as long as that takes. */
struct err peers_read(const char *path, bool callers, const struct key *own,
                      struct peers **out) __attribute__((warn_unused_result));
/* The same of one service, from a name and its public key in base64. */
struct err peers_of_service(const char *name, const char *public_base64,
                            const struct key *own, struct peers **out)
    __attribute__((warn_unused_result));
void peers_free(struct peers *peers); /* NULL is allowed */

/* A share of the list: it lives until peers_free was called once for each, and for
 * peers_read.  Thread-safe. */
struct peers *peers_share(const struct peers *peers);

size_t peers_count(const struct peers *peers);

/* The public key that the list was read with, and the one before it, of which its peers have
 * earlier_shared. */
const uint8_t *peers_own(const struct peers *peers);
const uint8_t *peers_earlier_own(const struct peers *peers);

/* NULL when there is none of that name (`length` bytes, not NUL-terminated). */
const struct peer *peers_find(const struct peers *peers, const char *name, size_t length);

/* The next of the same name, as it is when a caller has two keys; or NULL. */
const struct peer *peers_find_next(const struct peers *peers, const struct peer *peer);

/* Whether one of the caller's patterns covers the method. */
bool peer_may_call(const struct peer *caller, const char *method);

/* Adds a line to authorized_callers or known_services (methods == NULL), creating the
 * file; ALREADY_EXISTS when the name stands there with another key or other methods,
 * nothing to do when it stands there just so. */
struct err peers_allow(const char *path, const char *name, const uint8_t *public_key,
                       const char *methods) __attribute__((warn_unused_result));
