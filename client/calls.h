/*
 * calls.h - private to client.c and methods.c: one call of any method, blocking or
 * started.
 *
 * Each reply lives in an arena of its own.  Users get a pointer to the reply, in front of
 * which is the arena's address (reply_new), so checkout_free needs only that pointer.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"
#include "base/err.h"
#include "checkout/client.h"

enum {
    ARENA_MAX = 16 << 20,   /* bytes of one request, or one reply unpacked */
    LINES_SENT_MAX = 65536, /* of a cart; the service's own limit is far lower */
};

enum callee { CALL_ORCHESTRATOR, CALL_INVENTORY, CALL_CALLEES };

struct channel;
struct follow;
struct key;
struct principals;

struct checkout_client {
    struct key *key;
    struct principals *services;
    struct channel *channels[CALL_CALLEES]; /* NULL: no address was given */
    struct follow *follow;
    uint32_t timeout_ms; /* of a call that gives none */
};

/* A user's `done` of any type; the kind's deliver casts it back. */
typedef void any_done(void);

struct kind {
    const char *method;
    enum callee callee;
    const ProtobufCMessageDescriptor *reply_type;
    /* Makes the user's reply, which may borrow the message's texts; NULL: out of
     * memory. */
    void *(*convert)(struct arena *arena, const ProtobufCMessage *message, bool replayed);
    void (*deliver)(any_done *done, void *arg, const struct checkout_error *error,
                    const void *reply);
    /* The error that a successful reply contains, or none; may borrow its texts.  NULL:
     * no reply contains one. */
    struct err (*refusal)(const ProtobufCMessage *message);
};

/* A zeroed reply of that size in the arena; checkout_free frees both. */
void *reply_new(struct arena *arena, size_t size);

enum checkout_status wait_for(checkout_client *client, const struct kind *kind,
                              const ProtobufCMessage *request,
                              const struct checkout_options *options, void **reply,
                              struct checkout_error *error);

checkout_call start(checkout_client *client, const struct kind *kind,
                    const ProtobufCMessage *request,
                    const struct checkout_options *options, any_done *done, void *arg);

/* Fills `out`, unless it is NULL, from an error (or from none), and gives its status. */
enum checkout_status put_status(struct checkout_error *out, struct err e);

/* Requests borrow texts; protobuf-c's structs only lack the const.  NULL gives "". */
static inline char *borrow(const char *text)
{
    return (char *)(uintptr_t)(text != NULL ? text : "");
}

/* The result of both forms when there is no memory for the request. */
enum checkout_status wait_for_nothing(struct checkout_error *error);
checkout_call start_nothing(const struct kind *kind, any_done *done, void *arg);
