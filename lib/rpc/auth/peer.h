/* peer.h - one line of a list, inside this folder; see keys.h. */
#pragma once

#include "rpc/auth/keys.h"

/* Fills peer->methods from "a,b,c", which it cuts up; false when one is no pattern, or
 * there is no memory.  What was filled stays for peer_clear. */
bool peer_take_methods(char *list, struct peer *peer) __attribute__((warn_unused_result));

/* Frees what the peer holds. */
void peer_clear(struct peer *peer);
