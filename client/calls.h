/*
 * calls.h - one call of the library, whatever its type: started, waited for, given back.
 *
 *   blocking:   wait_for(...)  -> channel -> on_reply -> the waiting thread wakes
 *   starting:   start(...)     -> channel -> on_reply -> deliver -> the user's done
 *
 * A reply is an object in an arena of its own; what users get is a pointer to the object,
 * with the arena's in front of it (reply_new), so that checkout_free needs no more.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"
#include "base/err.h"
#include "checkout/client.h"
#include "proto/orders.pb-c.h"

enum {
    ARENA_MAX = 16 << 20,   /* bytes of one request, or one reply unpacked */
    LINES_SENT_MAX = 65536, /* of a cart; the service refuses far fewer, with a reason */
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

/* What users give as `done`, whatever its type is; cast back by the kind's deliver. */
typedef void any_done(void);

struct kind {
    const char *method;
    enum callee callee;
    const ProtobufCMessageDescriptor *reply_type;
    /* The user's reply of the packed one, whose texts it may borrow; NULL: no memory. */
    void *(*convert)(struct arena *arena, const ProtobufCMessage *message, bool replayed);
    void (*deliver)(any_done *done, void *arg, const struct checkout_error *error,
                    const void *reply);
    /* The error that a reply tells of, or none; NULL: no reply does.  May borrow its texts. */
    struct err (*refusal)(const ProtobufCMessage *message);
};

/* The cart is not the one that was expected; the subject is the version it has, if it is. */
struct err cart_changed(const Orders__V1__Cart *cart);

/* A zeroed reply of that size in the arena, which checkout_free gives back with it. */
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

/* A request could not even be made, for want of memory. */
enum checkout_status wait_for_nothing(struct checkout_error *error);
checkout_call start_nothing(const struct kind *kind, any_done *done, void *arg);
