/* bounds.h - what a call may be, on both of its ends (proto/README.md). */
#pragma once

enum {
    RPC_MESSAGE_MAX = 1 << 20, /* bytes of a sealed frame */
    RPC_ARENA_MAX = 8 << 20,   /* bytes one call may hold; a message unpacks larger */
    RPC_TIMEOUT_MAX_MS = 600000,
};

struct rpc_metadata {
    const char *key, *value; /* bounds: Metadata in rpc.proto */
};
