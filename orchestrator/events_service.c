/* events_service.c - see events_service.h.  All input is validated here. */
#include "orchestrator/events_service.h"

#include "base/contract/ids.h"
#include "orchestrator/events/bus/event.h"
#include "orchestrator/events/cursors.h"
#include "orchestrator/events/dead_letters.h"

enum { READ_MAX = 1000, WAIT_MAX_MS = 60000, LIST_DEFAULT = 100 };

static struct events_service *self(Events__V1__Events_Service *service)
{
    return (struct events_service *)service;
}

/*
 * Defines the handler `name` of a method: checks the request `in`, then runs `statement` with
 * `db` and the context `ctx`.
 */
#define METHOD(name, method, check, statement)                                           \
    static void name(Events__V1__Events_Service *service,                                \
                     const Events__V1__##method##Request *in,                            \
                     Events__V1__##method##Reply_Closure reply, void *call)              \
    {                                                                                    \
        struct db *db = self(service)->db;                                               \
        struct request_context ctx;                                                      \
                                                                                         \
        if (request_context_open(&ctx, call, (ProtobufCClosure)reply, check))            \
            statement;                                                                   \
    }

static struct err check_cursor(const char *name)
{
    if (name_valid(name))
        return ERR_NONE;
    return err_make(ERR_INVALID_ARGUMENT,
                    "cursor must be 1 to 64 letters, digits, dashes or underscores.");
}

static struct err check_page(int64_t after, int32_t limit)
{
    if (after < 0)
        return err_make(ERR_INVALID_ARGUMENT, "after must be 0 or a position, not %lld.",
                        (long long)after);
    if (limit < 0 || limit > READ_MAX)
        return err_make(ERR_INVALID_ARGUMENT, "limit must be 0 to %d, not %d.", READ_MAX,
                        limit);
    return ERR_NONE;
}

/* ---- read -------------------------------------------------------------------------- */

static struct err check_read(const Events__V1__ReadRequest *in)
{
    struct err e = check_page(in->after, in->limit);

    if (failed(e))
        return e;
    if (in->wait_ms < 0 || in->wait_ms > WAIT_MAX_MS)
        return err_make(ERR_INVALID_ARGUMENT, "wait_ms must be 0 to %d, not %d.",
                        WAIT_MAX_MS, in->wait_ms);
    return in->cursor[0] == '\0' ? ERR_NONE : check_cursor(in->cursor);
}

static void read_events(Events__V1__Events_Service *service,
                        const Events__V1__ReadRequest *in,
                        Events__V1__ReadReply_Closure reply, void *call)
{
    struct request_context ctx;

    if (request_context_open(&ctx, call, (ProtobufCClosure)reply, check_read(in)))
        feed_read(self(service)->feed, &ctx, rpc_call_caller(call), in);
}

/* ---- commit ------------------------------------------------------------------------ */

static struct err check_position(int64_t position)
{
    if (position >= 0)
        return ERR_NONE;
    return err_make(ERR_INVALID_ARGUMENT, "position must be 0 or more, not %lld.",
                    (long long)position);
}

static struct err check_commit(const Events__V1__CommitRequest *in)
{
    struct err e = check_position(in->position);

    return failed(e) ? e : check_cursor(in->cursor);
}

METHOD(commit, Commit, check_commit(in),
       cursors_commit(db, &ctx, rpc_call_caller(call), in))

/* ---- for operators ----------------------------------------------------------------- */

METHOD(get_lag, GetLag, ((void)in, ERR_NONE),
       cursors_lag(db, &ctx, self(service)->has_bus))

static struct err check_replay(const struct events_service *service,
                               const Events__V1__ReplayRequest *in)
{
    if (in->from < 1)
        return err_make(ERR_INVALID_ARGUMENT, "from must be a position, not %lld.",
                        (long long)in->from);
    if (!service->has_bus)
        return err_make(ERR_FAILED_PRECONDITION,
                        "There is no bus to replay to: nats_url is not set.");
    return ERR_NONE;
}

METHOD(replay, Replay, check_replay(self(service), in), cursors_replay(db, &ctx, in))

/* A cursor of any caller, for operators. */
static struct err check_whose(const char *caller, const char *cursor)
{
    if (!name_valid(caller))
        return err_make(ERR_INVALID_ARGUMENT,
                        "caller must be 1 to 64 of A-Z a-z 0-9 _ and -.");
    return check_cursor(cursor);
}

static struct err check_reset(const Events__V1__ResetCursorRequest *in)
{
    struct err e = check_whose(in->caller, in->cursor);

    return failed(e) ? e : check_position(in->position);
}

METHOD(reset_cursor, ResetCursor, check_reset(in), cursors_reset(db, &ctx, in))
METHOD(delete_cursor, DeleteCursor, check_whose(in->caller, in->cursor),
       cursors_delete(db, &ctx, in))

/* ---- dead letters ------------------------------------------------------------------ */

static struct err check_event_id(const char *id)
{
    return visible_ascii(id, 1, EVENT_ID_SIZE - 1)
               ? ERR_NONE
               : err_make(ERR_INVALID_ARGUMENT,
                          "id must be an event's: the order's id, a dot, a number.");
}

static struct err check_newest(const Events__V1__ListDeadLettersRequest *in)
{
    if (in->after != 0)
        return err_make(ERR_INVALID_ARGUMENT,
                        "after cannot be combined with newest_first.");
    if (in->before < 0)
        return err_make(ERR_INVALID_ARGUMENT, "before must be 0 or a position, not %lld.",
                        (long long)in->before);
    if (in->order_id[0] != '\0' && !ulid_valid(in->order_id))
        return err_make(ERR_INVALID_ARGUMENT,
                        "order_id must be a ULID of 26 characters.");
    if (in->user_id[0] != '\0' && !uuid_valid(in->user_id))
        return err_make(ERR_INVALID_ARGUMENT, "user_id must be a UUID in lower case.");
    if (in->state < 0 || in->state > EVENTS__V1__DEAD_LETTER_STATE__WAITING)
        return err_make(ERR_INVALID_ARGUMENT, "state %d is not a dead letter's state.",
                        (int)in->state);
    if (in->since_ms < 0 || in->until_ms < 0 || in->since_ms >= ULID_MS_END ||
        in->until_ms >= ULID_MS_END)
        return err_make(ERR_INVALID_ARGUMENT,
                        "since_ms and until_ms must be Unix milliseconds, or 0.");
    return ERR_NONE;
}

/* Filters need newest_first: without it they are an error, not ignored. */
static bool has_filter(const Events__V1__ListDeadLettersRequest *in)
{
    return in->before != 0 || in->order_id[0] != '\0' || in->user_id[0] != '\0' ||
           in->state != EVENTS__V1__DEAD_LETTER_STATE__DEAD_LETTER_UNSPECIFIED ||
           in->since_ms != 0 || in->until_ms != 0;
}

static struct err check_dead_letters(const Events__V1__ListDeadLettersRequest *in)
{
    struct err e = check_page(in->after, in->limit);

    if (failed(e))
        return e;
    if (in->newest_first)
        return check_newest(in);
    return has_filter(in) ? err_make(ERR_INVALID_ARGUMENT, "A filter needs newest_first.")
                          : ERR_NONE;
}

static void list_letters(struct db *db, const struct request_context *ctx,
                         Events__V1__ListDeadLettersRequest request)
{
    if (request.limit == 0)
        request.limit = LIST_DEFAULT;
    dead_letters_list(db, ctx, &request);
}

METHOD(list_dead_letters, ListDeadLetters, check_dead_letters(in),
       list_letters(db, &ctx, *in))
METHOD(resend_dead_letters, ResendDeadLetters,
       in->id[0] == '\0' ? ERR_NONE : check_event_id(in->id),
       dead_letters_resend(db, &ctx, in))
METHOD(drop_dead_letter, DropDeadLetter, check_event_id(in->id),
       dead_letters_drop(db, &ctx, rpc_call_caller(call), in))

void events_service_init(struct events_service *service, struct db *db, struct feed *feed,
                         bool has_bus)
{
    static const Events__V1__Events_Service METHODS = {
        .base = EVENTS__V1__EVENTS__BASE_INIT,
        .read = read_events,
        .commit = commit,
        .get_lag = get_lag,
        .replay = replay,
        .reset_cursor = reset_cursor,
        .delete_cursor = delete_cursor,
        .list_dead_letters = list_dead_letters,
        .resend_dead_letters = resend_dead_letters,
        .drop_dead_letter = drop_dead_letter,
    };

    *service = (struct events_service){METHODS, db, feed, has_bus};
}
