/* key.h - what the secret of our own key is for, inside this folder; see keys.h. */
#pragma once

#include "rpc/auth/keys.h"

enum { KEY_SECRET_SIZE = 32 };

/* The one before it; NULL: there is none. */
const struct key *key_earlier(const struct key *key);

/* The key we share with the owner of a public key, into KEY_SHARED_SIZE guarded bytes.
 * False: anybody could compute it, since the public key is of small order. */
bool key_agree(const struct key *key, const uint8_t *public_key, uint8_t *shared)
    __attribute__((warn_unused_result));
