/* courier.c - see courier.h. */
#include "orchestrator/courier.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "orchestrator/duty.h"
#include "orchestrator/event.h"

enum {
    FLIGHT_MOST = 2000, /* events published together */
    QUERY_MS = 10000,
    WORD_EVERY_MS = 1000, /* for the database, while the bus is not asked */
    COMPLAIN_EVERY_MS = 10000,
    RETRY_FIRST_MS = 100, /* after the bus failed, doubling */
    RETRY_AWAY_MS = 1600,
    RETRY_REFUSED_MS = 10000,
};

static const int64_t COURIER_LOCK = 0x6f7574626f79; /* the placer's, and one more */

/* Why nothing goes on, if so: each is told when it begins, and then now and then. */
enum trouble { TROUBLE_NONE, TROUBLE_AWAY, TROUBLE_REFUSED };

struct courier {
    struct courier_config config;
    struct duty *duty;
    struct gauge *active, *refused;
    int64_t published;  /* where it stands */
    size_t count;       /* of the flight */
    size_t stored;      /* of these, from the first on */
    bool more;          /* events are there beyond what is stored */
    struct err outcome; /* of the flight */
    enum trouble trouble;
    struct err complained; /* of what, and when */
    int64_t complained_ms;
    int64_t word_ms;  /* when the database last heard of us */
    int64_t retry_ms; /* not asked again before; clock_monotonic_ms */
    int64_t pause_ms; /* the last one */
};

static struct db_query query_of(const char *name, const char *types, const char *sql)
{
    return (struct db_query){.name = name,
                             .types = types,
                             .sql = sql,
                             .deadline_ms = clock_monotonic_ms() + QUERY_MS};
}

/* ---- how the bus is ---------------------------------------------------------------- */

static enum trouble trouble_of(struct err outcome)
{
    if (!failed(outcome))
        return TROUBLE_NONE;
    return outcome.code == ERR_FAILED_PRECONDITION ? TROUBLE_REFUSED : TROUBLE_AWAY;
}

static int64_t next_pause(int64_t last_ms, enum trouble trouble)
{
    int64_t most = trouble == TROUBLE_REFUSED ? RETRY_REFUSED_MS : RETRY_AWAY_MS;

    if (trouble == TROUBLE_NONE)
        return 0;
    if (last_ms == 0)
        return RETRY_FIRST_MS;
    return 2 * last_ms < most ? 2 * last_ms : most;
}

static void complain(const struct courier *c, struct err outcome)
{
    if (c->trouble == TROUBLE_REFUSED)
        log_error("bus_refuses",
                  "error=%s published=%" PRId64
                  " note=\"events wait in the outbox until the server takes this one\"",
                  outcome.message, c->published);
    else
        log_warn("bus_away", "error=%s published=%" PRId64, outcome.message,
                 c->published);
}

/* None of it is a reason to give up the duty. */
static void tell_bus(struct courier *c, struct err outcome)
{
    int64_t now = clock_monotonic_ms();
    enum trouble before = c->trouble;

    c->trouble = trouble_of(outcome);
    if (c->trouble == TROUBLE_NONE && before != TROUBLE_NONE)
        log_info("bus_back", "published=%" PRId64, c->published);
    bool news =
        c->trouble != before || (c->trouble == TROUBLE_REFUSED &&
                                 strcmp(outcome.message, c->complained.message) != 0);
    if (c->trouble != TROUBLE_NONE &&
        (news || now - c->complained_ms > COMPLAIN_EVERY_MS)) {
        complain(c, outcome);
        c->complained = outcome;
        c->complained_ms = now;
    }
    gauge_set(c->refused, c->trouble == TROUBLE_REFUSED);
    c->pause_ms = next_pause(c->pause_ms, c->trouble);
    c->retry_ms = now + c->pause_ms;
}

/* ---- a flight ---------------------------------------------------------------------- */

static const char NEXT_FLIGHT[] =
    "SELECT r.published, r.placed, " EVENT_COLUMNS
    "FROM orders.relay r LEFT JOIN LATERAL ("
    "    SELECT * FROM orders.outbox o WHERE o.position > r.published"
    "    ORDER BY o.position LIMIT $1"
    ") e ON true ORDER BY e.position";

/* No two of one order together (bus_nats.h); there is hardly ever a second. */
static bool has_order(const struct event *events, size_t count, const char *order_id)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(events[i].order_id, order_id) == 0)
            return true;
    return false;
}

/* The seam `bus`: an error before is a bus that is away, one after is an acknowledgement
 * that was lost. */
static struct err pass(const char *edge, bool *repeat)
{
    struct fault fault = failpoint("bus", "deliver", edge);

    if (fault.kind == FAULT_LATE)
        nanosleep(
            &(struct timespec){fault.late_ms / 1000, fault.late_ms % 1000 * 1000000},
            NULL);
    *repeat = fault.kind == FAULT_REPEAT;
    return fault.kind == FAULT_ERROR || fault.kind == FAULT_DROP
               ? err_make(ERR_UNAVAILABLE, "NATS is away (a failpoint).")
               : ERR_NONE;
}

static struct err deliver(struct courier *c, const struct event *events)
{
    struct bus_nats *nats = c->config.nats;
    bool repeat = false;
    struct err e = pass("before", &repeat);

    if (!failed(e))
        e = bus_nats_publish(nats, events, c->count, &c->stored);
    if (!failed(e) && repeat)
        e = bus_nats_publish(nats, events, c->count, &c->stored);
    if (failed(e))
        return e;
    e = pass("after", &repeat);
    if (failed(e))
        c->stored = 0;
    return e;
}

static void on_flight(void *arg, const struct db_rows *rows)
{
    struct courier *c = arg;
    struct event *events = calloc((size_t)rows->count, sizeof *events);

    c->count = c->stored = 0;
    c->outcome = events == NULL ? err_memory() : ERR_NONE;
    if (events == NULL || db_size(rows, 0, 2) == 0) {
        free(events);
        return;
    }
    c->published = db_number(rows, 0, 0);
    for (int i = 0; i < rows->count; i++) {
        struct event *event = &events[c->count];
        event_read(rows, i, 2, event);
        if (event->sequence > 1 && has_order(events, c->count, event->order_id))
            break;
        c->count++;
    }
    c->outcome = deliver(c, events);
    c->more = db_number(rows, 0, 1) > c->published + (int64_t)c->stored;
    free(events);
}

/* Only if nobody moved the mark meanwhile: a replay does. $1 from, $2 to. */
static const char PUBLISHED[] =
    "WITH moved AS ("
    "    UPDATE orders.relay SET published = $2 WHERE published = $1 RETURNING 1"
    ")"
    "UPDATE orders.outbox SET published_at = now() "
    "WHERE position > $1 AND position <= $2 AND published_at IS NULL"
    "  AND EXISTS (SELECT FROM moved)";

static struct err mark(struct courier *c, struct dedicated *connection)
{
    struct db_query query = query_of("publish", "ii", PUBLISHED);

    query.values[0] = db_i(c->published);
    query.values[1] = db_i(c->published + (int64_t)c->stored);
    return dedicated_run(connection, &query, true, NULL, NULL);
}

static struct err fly(struct courier *c, struct dedicated *connection, bool *more)
{
    struct db_query query = query_of("next_flight", "i", NEXT_FLIGHT);

    query.values[0] = db_i(c->trouble == TROUBLE_REFUSED ? 1 : FLIGHT_MOST);
    struct err e = dedicated_run(connection, &query, false, on_flight, c);
    if (failed(e))
        return e;
    tell_bus(c, c->outcome);
    if (c->stored == 0)
        return e;
    *more = c->more && !failed(c->outcome);
    return mark(c, connection);
}

/* ---- the duty ---------------------------------------------------------------------- */

static struct err courier_begin(void *arg, struct dedicated *connection)
{
    struct courier *c = arg;

    (void)connection;
    gauge_set(c->active, 1);
    c->retry_ms = c->pause_ms = 0;
    return ERR_NONE;
}

/* A word to the database now and then, or it takes us for dead (duty.h). */
static struct err keep_duty(struct courier *c, struct dedicated *connection)
{
    struct db_query query = query_of("word", "", "SELECT");

    if (clock_monotonic_ms() - c->word_ms < WORD_EVERY_MS)
        return ERR_NONE;
    c->word_ms = clock_monotonic_ms();
    return dedicated_run(connection, &query, false, NULL, NULL);
}

/* Connecting and publishing each take their time, so the database hears of us before. */
static struct err courier_work(void *arg, struct dedicated *connection, bool *more)
{
    struct courier *c = arg;

    struct err e = keep_duty(c, connection);
    if (failed(e) || clock_monotonic_ms() < c->retry_ms)
        return e;
    e = bus_nats_ready(c->config.nats);
    if (!failed(e))
        return fly(c, connection, more);
    tell_bus(c, e);
    return ERR_NONE;
}

static void courier_end(void *arg)
{
    struct courier *c = arg;

    gauge_set(c->active, 0);
    gauge_set(c->refused, 0);
}

struct err courier_start(const struct courier_config *config, struct courier **out)
{
    struct courier *c = calloc(1, sizeof *c);

    if (c == NULL)
        return err_memory();
    c->config = *config;
    c->active = metrics_gauge(config->metrics, "relay_active", "duty=courier");
    c->refused = metrics_gauge(config->metrics, "events_refused", "");
    struct duty_config duty = {.name = "courier",
                               .database_url = config->database_url,
                               .lock = COURIER_LOCK,
                               .takeover_ms = config->takeover_ms,
                               .every_ms = config->every_ms,
                               .begin = courier_begin,
                               .work = courier_work,
                               .end = courier_end,
                               .arg = c};
    if (duty.takeover_ms < 2 * BUS_NATS_WAIT_MS)
        duty.takeover_ms = 2 * BUS_NATS_WAIT_MS;
    struct err e = duty_start(&duty, &c->duty);
    if (failed(e))
        free(c);
    else
        *out = c;
    return e;
}

void courier_stop(struct courier *c)
{
    if (c == NULL)
        return;
    duty_stop(c->duty);
    free(c);
}
