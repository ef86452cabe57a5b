/*
 * remote.h - calling the stack's services.
 *
 *      one call             remote_call, remote_show, remote_say
 *      many on a connection remote_open --> remote_start --> remote_wait ... remote_close
 *      several services     several_ask --> each has a reply, or the reason for none
 *
 * Nothing here waits without a bound: the RPC channel promises an answer by the deadline;
 * if it breaks that promise, the connection is closed, which ends the call.
 */
#pragma once

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>
#include <pthread.h>

#include "cli/cli.h"

/* ---- where ------------------------------------------------------------------------- */

enum { PLACE_SERVICES_MAX = 2 };

/* A program of the stack, as known_services and the settings name it. */
struct place {
    const char *name;    /* "inventory" */
    size_t addresses;    /* offset of its setting in struct settings */
    const char *setting; /* that setting's name, for messages; NULL: only by --url */
    /* What it serves besides rpc.v1, such as "inventory.v1.Inventory"; NULL: no more. */
    const char *services[PLACE_SERVICES_MAX];
};

/* First the programs of every stack (PLACES_COUNT), then the optional ones, which a stack
 * has if their address is set (up to PLACES_ALL). */
extern const struct place PLACES[];
extern const size_t PLACES_COUNT, PLACES_ALL;

/* The place of that name; NULL when there is none. */
const struct place *place_find(const char *name);

/* The place with the service of that full name; NULL when none or every one has it. */
const struct place *place_serving(const char *service);

/* The place of --service or --url; NULL when neither is given.  INVALID_ARGUMENT. */
struct err place_asked(const struct cli *cli, const struct place **out)
    __attribute__((warn_unused_result));

/* Its addresses, as nng URLs: --url, or the place's setting. */
const char *place_addresses(const struct cli *cli, const struct place *place);

/* ---- what -------------------------------------------------------------------------- */

struct method {
    const char *place; /* the program that serves it; NULL: every one, or not known */
    const char *name;  /* "orders.v1.Orders/GetOrder" */
    const ProtobufCMessageDescriptor *reply_type;
};

/* clang-format off */
/* The methods that commands call: constant, place, and package, service, method,
 * reply. */
#define METHODS(X) \
    X(GET_ORDER, "orchestrator", orders, Orders, GetOrder, get_order) \
    X(LIST_ORDERS, "orchestrator", orders, Orders, ListOrders, list_orders) \
    X(GET_CHECKOUT, "orchestrator", orders, Orders, GetCheckout, get_checkout) \
    X(LIST_CHECKOUTS, "orchestrator", orders, Orders, ListCheckouts, list_checkouts) \
    X(RETRY_CHECKOUT, "orchestrator", orders, Orders, RetryCheckout, retry_checkout) \
    X(READ_EVENTS, "orchestrator", events, Events, Read, read) \
    X(REPLAY_EVENTS, "orchestrator", events, Events, Replay, replay) \
    X(GET_LAG, "orchestrator", events, Events, GetLag, get_lag) \
    X(LIST_DEAD_LETTERS, "orchestrator", events, Events, ListDeadLetters, \
      list_dead_letters) \
    X(RESEND_DEAD_LETTERS, "orchestrator", events, Events, ResendDeadLetters, \
      resend_dead_letters) \
    X(DROP_DEAD_LETTER, "orchestrator", events, Events, DropDeadLetter, \
      drop_dead_letter) \
    X(RESET_CURSOR, "orchestrator", events, Events, ResetCursor, reset_cursor) \
    X(DELETE_CURSOR, "orchestrator", events, Events, DeleteCursor, delete_cursor) \
    X(GET_RESERVATION, "inventory", inventory, Inventory, GetReservation, \
      get_reservation) \
    X(LIST_RESERVATIONS, "inventory", inventory, Inventory, ListReservations, \
      list_reservations) \
    X(GET_STOCK, "inventory", inventory, Inventory, GetStock, get_stock) \
    X(LIST_STOCK, "inventory", inventory, Inventory, ListStock, list_stock) \
    X(ADJUST_STOCK, "inventory", inventory, Inventory, AdjustStock, adjust_stock) \
    X(LIST_PRODUCTS, "inventory", inventory, Inventory, ListProducts, list_products) \
    X(PUT_PRODUCT, "inventory", inventory, Inventory, PutProduct, put_product) \
    X(GET_CHARGE, "payment", payment, Payment, GetCharge, get_charge) \
    X(LIST_CHARGES, "payment", payment, Payment, ListCharges, list_charges) \
    X(LIST_PROVIDER_CHARGES, "payment", payment, Payment, ListProviderCharges, \
      list_provider_charges) \
    X(REFUND, "payment", payment, Payment, Refund, refund) \
    X(CHECK_HEALTH, NULL, rpc, Health, Check, health_check) \
    X(READ_METRICS, NULL, rpc, Metrics, Read, read_metrics) \
    X(DESCRIBE_SERVER, NULL, rpc, Reflection, Describe, describe)
/* clang-format on */

#define X(constant, ...) extern const struct method constant;
METHODS(X)
#undef X

/* Requests borrow words; protobuf-c's structs only lack the const.  NULL gives "". */
static inline char *borrow(const char *word)
{
    return (char *)(uintptr_t)(word != NULL ? word : "");
}

/* ---- one call ---------------------------------------------------------------------- */

/*
 * Calls a method at `place` (NULL: the method's own) and waits, at most
 * cli->max_time_ms. The reply, and an error's subject, live in cli->arena.  Failures
 * of settings and keys are local outcomes, all others carry their gRPC status.  With
 * --connect-timeout or -v a health check goes first; -v says on cli->err what happened
 * and how long it took.
 */
struct outcome remote_call(const struct cli *cli, const struct place *place,
                           const struct method *method, const ProtobufCMessage *request,
                           const ProtobufCMessage **reply)
    __attribute__((warn_unused_result));

/* Prints a reply, which is of the method's reply type, for people. */
typedef void reply_printer(const struct cli *cli, const void *reply);

/* Calls the method and shows its reply: by `print`, or as JSON with --json. */
struct outcome remote_show(const struct cli *cli, const struct method *method,
                           const ProtobufCMessage *request, reply_printer *print)
    __attribute__((warn_unused_result));

/* Calls a method whose reply is empty, and says `format`; with --json shows the reply. */
struct outcome remote_say(const struct cli *cli, const struct method *method,
                          const ProtobufCMessage *request, const char *format, ...)
    __attribute__((warn_unused_result, format(printf, 4, 5)));

/* ---- a connection ------------------------------------------------------------------ */

struct remote; /* a connection to one service, for many calls, several at once */

/* A call in flight: the caller's memory; do not touch it from remote_start to
 * remote_wait. */
struct pending_call {
    struct remote *server;
    int64_t deadline_ms;
    pthread_cond_t end;
    bool ended;
    struct err error;
    const ProtobufCMessage *reply;
};

/* Connects to `place`; local outcomes for settings and keys.  Free with remote_close. */
struct outcome remote_open(const struct cli *cli, const struct place *place,
                           struct remote **out) __attribute__((warn_unused_result));

/* Ends every call in flight, and the connection.  NULL is allowed. */
void remote_close(struct remote *server);

/* Waits until the server has answered anything, at most cli->connect_timeout_ms (or
 * max_time_ms): UNAVAILABLE when it has not. */
struct outcome remote_connect(const struct cli *cli, struct remote *server)
    __attribute__((warn_unused_result));

/* Starts a call that may take `timeout_ms`.  The reply, and an error's subject, will live
 * in `arena`, which is the call's until remote_wait. */
void remote_start(struct remote *server, struct pending_call *call,
                  const struct method *method, const ProtobufCMessage *request,
                  struct arena *arena, int64_t timeout_ms);

/* Waits for its end: the reply, or an outcome that carries the gRPC status. */
struct outcome remote_wait(struct pending_call *call, const ProtobufCMessage **reply)
    __attribute__((warn_unused_result));

/* ---- several services at once ------------------------------------------------------ */

/*
 * A service that is down or hangs must not hide the answers of the others.  A command
 * that needs several rounds, each based on the one before, has one deadline for all:
 * several_deadline() at its beginning, several_share() for each round.
 */
enum { SEVERAL_MS = 2000 }; /* for an answer, unless --max-time says otherwise */

struct question {
    const struct place *place; /* NULL: the method's own, which several_ask enters */
    const struct method *method;
    const ProtobufCMessage *request;
    int64_t timeout_ms; /* 0: --max-time, or SEVERAL_MS */
    /* The answer: `reply` is NULL when there is none, also for NOT_FOUND, which is an
     * answer.  `end` lives as long as the arena. */
    struct outcome end;
    const void *reply; /* of the method's reply type */
    /* Private to several_*. */
    struct arena *arena;
    struct remote *server;
    struct pending_call call;
    bool started;
};

/* The deadline of a command that begins now, of any number of rounds: after
 * --max-time, or SEVERAL_MS. */
int64_t several_deadline(const struct cli *cli);

/* A round's share of the time until then, as its questions' timeout_ms: all of it, or
 * half if another round may follow, so that a service that hangs leaves time for the
 * others. */
int64_t several_share(int64_t deadline_ms, bool last);

/* Asks all of them and waits until each has ended.  Free with several_close. */
void several_ask(const struct cli *cli, struct question *questions, size_t count);

/* Frees what the questions hold, replies and subjects of errors too. */
void several_close(struct question *questions, size_t count);

/* Whether the question got no answer from its service. */
bool question_missing(const struct question *question);

/* OK when none is missing, else the outcome of the first missing one; valid also after
 * several_close. */
struct outcome several_end(const struct question *questions, size_t count)
    __attribute__((warn_unused_result));

/* Names on cli->err each service that is missing, but for the one of several_end. */
void several_name_others(const struct cli *cli, const struct question *questions,
                         size_t count);

/* All that are missing, for programs: [{"service", "reason"}], each service once. */
json_t *several_missing_json(const struct question *questions, size_t count);
