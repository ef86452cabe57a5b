/* events.c - every method of events.v1.Events, up to the log; see dispatch.h. */
#include "fuzz/dispatch.h"
#include "orchestrator/events/bus/event.h"
#include "orchestrator/events/cursors.h"
#include "orchestrator/events/dead_letters.h"
#include "orchestrator/events_service.h"

void feed_read(struct feed *feed, const struct request_context *ctx, const char *caller,
               const Events__V1__ReadRequest *in)
{
    (void)feed, (void)caller;
    stored(ctx);
    assert(in->after >= 0 && in->limit >= 0 && in->limit <= 1000);
    assert(in->wait_ms >= 0 && in->wait_ms <= 60000);
    assert(empty_or(name_valid, in->cursor));
}

void cursors_commit(struct db *db, const struct request_context *ctx, const char *caller,
                    const Events__V1__CommitRequest *in)
{
    (void)db, (void)caller;
    stored(ctx);
    assert(in->position >= 0 && name_valid(in->cursor));
}

void cursors_lag(struct db *db, const struct request_context *ctx, bool has_bus)
{
    (void)db, (void)has_bus;
    stored(ctx);
}

void cursors_replay(struct db *db, const struct request_context *ctx,
                    const Events__V1__ReplayRequest *in)
{
    (void)db;
    stored(ctx);
    assert(in->from >= 1);
}

void cursors_reset(struct db *db, const struct request_context *ctx,
                   const Events__V1__ResetCursorRequest *in)
{
    (void)db;
    stored(ctx);
    assert(in->position >= 0 && name_valid(in->caller) && name_valid(in->cursor));
}

void cursors_delete(struct db *db, const struct request_context *ctx,
                    const Events__V1__DeleteCursorRequest *in)
{
    (void)db;
    stored(ctx);
    assert(name_valid(in->caller) && name_valid(in->cursor));
}

void dead_letters_list(struct db *db, const struct request_context *ctx,
                       const Events__V1__ListDeadLettersRequest *in)
{
    (void)db;
    stored(ctx);
    assert(in->after >= 0 && in->limit >= 1 && in->limit <= 1000);
}

static bool event_id(const char *id)
{
    return visible_ascii(id, 1, EVENT_ID_SIZE - 1);
}

void dead_letters_resend(struct db *db, const struct request_context *ctx,
                         const Events__V1__ResendDeadLettersRequest *in)
{
    (void)db;
    stored(ctx);
    assert(empty_or(event_id, in->id));
}

void dead_letters_drop(struct db *db, const struct request_context *ctx,
                       const char *caller, const Events__V1__DropDeadLetterRequest *in)
{
    (void)db, (void)caller;
    stored(ctx);
    assert(event_id(in->id));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct events_service service;

    events_service_init(&service, NULL, NULL, true);
    dispatch(&service.service.base, data, size);
    return 0;
}
