/* courier.c - see courier.h. */
#include "orchestrator/courier.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "orchestrator/cargo.h"
#include "orchestrator/duty.h"
#include "orchestrator/letters.h"

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
    pthread_mutex_t lock; /* guards what follows */
    struct err bus;       /* how it is */
    /* from here on the duty's thread's own */
    int64_t published;  /* where it stands */
    size_t count;       /* of the flight */
    size_t passed;      /* of these, from the first on: stored, or to be set aside */
    json_t *aside;      /* those to be set aside (letters.h) */
    bool more;          /* events are there beyond what is passed */
    bool letters_due;   /* some that were set aside are to be tried */
    struct err outcome; /* of the flight */
    enum trouble trouble;
    struct err complained; /* of what, and when */
    int64_t complained_ms;
    int64_t word_ms;  /* when the database last heard of us */
    int64_t retry_ms; /* not asked again before; clock_monotonic_ms */
    int64_t pause_ms; /* the last one */
};

/* `rows` as of struct db_query. */
static struct db_query query_of(const char *name, const char *types, const char *rows,
                                const char *sql)
{
    return (struct db_query){.name = name,
                             .types = types,
                             .rows = rows,
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
                  " note=\"events wait in the outbox until the server takes them\"",
                  outcome.message, c->published);
    else
        log_warn("bus_away", "error=%s published=%" PRId64, outcome.message,
                 c->published);
}

static void note_bus(struct courier *c, struct err outcome)
{
    pthread_mutex_lock(&c->lock);
    c->bus =
        failed(outcome) ? err_make(ERR_UNAVAILABLE, "%s", outcome.message) : ERR_NONE;
    pthread_mutex_unlock(&c->lock);
}

struct err courier_health(struct courier *c)
{
    struct err e = duty_health(c->duty);

    if (failed(e))
        return e;
    pthread_mutex_lock(&c->lock);
    e = c->bus;
    pthread_mutex_unlock(&c->lock);
    return e;
}

/* None of it is a reason to give up the duty. */
static void tell_bus(struct courier *c, struct err outcome)
{
    int64_t now = clock_monotonic_ms();
    enum trouble before = c->trouble;

    note_bus(c, outcome);
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

/* The LIMIT of one row says so to the planner, too: for a table that it knows nothing of yet
 * it assumes 800, and begins to compile what it takes for an expensive query. */
static const char NEXT_FLIGHT[] =
    "SELECT r.published, r.placed, " LETTERS_DUE ", " CARGO_COLUMNS
    "FROM (SELECT published, placed FROM orders.relay LIMIT 1) r LEFT JOIN LATERAL ("
    "    SELECT *, " LETTERS_HOLD " AS held FROM orders.outbox o"
    "    WHERE o.position > r.published ORDER BY o.position LIMIT $1"
    ") e ON true ORDER BY e.position";

enum { COLUMN_PUBLISHED, COLUMN_PLACED, COLUMN_DUE, COLUMN_CARGO };

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

static struct err publish(struct courier *c, const struct cargo *cargo)
{
    struct err e = bus_nats_publish(c->config.nats, cargo->given, cargo->given_count,
                                    cargo->deliveries);

    return cargo_judge(cargo, e, c->aside, &c->passed);
}

static struct err deliver(struct courier *c, const struct cargo *cargo)
{
    bool repeat = false;
    struct err e = pass("before", &repeat);

    if (!failed(e))
        e = publish(c, cargo);
    if (!failed(e) && repeat)
        e = publish(c, cargo);
    if (failed(e))
        return e;
    e = pass("after", &repeat);
    if (failed(e))
        c->passed = 0;
    return e;
}

static void on_flight(void *arg, const struct db_rows *rows)
{
    struct courier *c = arg;
    struct cargo cargo;

    c->passed = 0;
    c->more = false;
    c->outcome = ERR_NONE;
    if (rows->count == 0)
        return;
    c->published = db_number(rows, 0, COLUMN_PUBLISHED);
    c->letters_due = db_bool(rows, 0, COLUMN_DUE);
    if (!cargo_any(rows, COLUMN_CARGO))
        return;
    c->outcome = cargo_load(&cargo, rows, COLUMN_CARGO);
    if (cargo.count > 0)
        c->outcome = deliver(c, &cargo);
    c->more = db_number(rows, 0, COLUMN_PLACED) > c->published + (int64_t)c->passed;
    cargo_free(&cargo);
}

/* Only if nobody moved the mark meanwhile: a replay does. $1 from, $2 to, $3 what is set
 * aside. */
static const char PUBLISHED[] =
    "WITH aside AS ("
    "    SELECT * FROM jsonb_to_recordset($3::text::jsonb)"
    "        AS a(position bigint, attempts bigint, reason text)"
    "), moved AS ("
    "    UPDATE orders.relay SET published = $2 WHERE published = $1 RETURNING 1"
    "), kept AS (" LETTERS_SET_ASIDE ")"
    "UPDATE orders.outbox SET published_at = now() "
    "WHERE position > $1 AND position <= $2 AND published_at IS NULL"
    "  AND EXISTS (SELECT FROM moved) AND position NOT IN (SELECT a.position FROM aside a)";

static struct err mark(struct courier *c, struct db_session *connection)
{
    struct db_query query = query_of("publish", "iit", NULL, PUBLISHED);
    char *aside = json_dumps(c->aside, JSON_COMPACT);

    if (aside == NULL)
        return err_memory();
    query.values[0] = db_i(c->published);
    query.values[1] = db_i(c->published + (int64_t)c->passed);
    query.values[2] = db_t(aside);
    struct err e = db_session_run(connection, &query, true, NULL, NULL);
    free(aside);
    return e;
}

static struct err fly(struct courier *c, struct db_session *connection, bool *more)
{
    struct db_query query = query_of("next_flight", "i", "+iib" CARGO_SHAPE, NEXT_FLIGHT);

    query.values[0] = db_i(FLIGHT_MOST);
    struct err e = db_session_run(connection, &query, false, on_flight, c);
    if (failed(e))
        return e;
    tell_bus(c, c->outcome);
    *more = c->letters_due;
    if (c->passed == 0)
        return e;
    duty_stir(c->duty);
    *more |= c->more && !failed(c->outcome);
    return mark(c, connection);
}

/* After it the bus must be ready anew, so the next flight is another round's. */
static struct err retry_letters(struct courier *c, struct db_session *connection,
                                bool *more)
{
    struct err bus = ERR_NONE;
    struct err e = letters_retry(connection, c->config.nats, c->config.attempts, &bus);

    c->letters_due = false;
    *more = true;
    if (!failed(e) && failed(bus))
        tell_bus(c, bus);
    return e;
}

/* ---- the duty ---------------------------------------------------------------------- */

static struct err courier_begin(void *arg, struct db_session *connection)
{
    struct courier *c = arg;

    (void)connection;
    gauge_set(c->active, 1);
    c->retry_ms = c->pause_ms = 0;
    c->letters_due = false;
    return ERR_NONE;
}

/* A word to the database now and then, or it takes us for dead (duty.h). */
static struct err keep_duty(struct courier *c, struct db_session *connection)
{
    struct db_query query = query_of("word", "", NULL, "SELECT");

    if (clock_monotonic_ms() - c->word_ms < WORD_EVERY_MS)
        return ERR_NONE;
    c->word_ms = clock_monotonic_ms();
    return db_session_run(connection, &query, false, NULL, NULL);
}

/* Connecting and publishing each take their time, so the database hears of us before. */
static struct err courier_work(void *arg, struct db_session *connection, bool *more)
{
    struct courier *c = arg;

    struct err e = keep_duty(c, connection);
    if (c->trouble != TROUBLE_NONE)
        duty_stir(c->duty); /* it is tried again when it is time, and does not rest */
    if (failed(e) || clock_monotonic_ms() < c->retry_ms)
        return e;
    e = bus_nats_ready(c->config.nats);
    if (!failed(e))
        return c->letters_due && c->trouble != TROUBLE_REFUSED
                   ? retry_letters(c, connection, more)
                   : fly(c, connection, more);
    tell_bus(c, e);
    return ERR_NONE;
}

static void courier_end(void *arg)
{
    struct courier *c = arg;

    gauge_set(c->active, 0);
    gauge_set(c->refused, 0);
    note_bus(c, ERR_NONE); /* another's to tell */
}

static void courier_free(struct courier *c)
{
    pthread_mutex_destroy(&c->lock);
    json_decref(c->aside);
    free(c);
}

struct err courier_start(const struct courier_config *config, struct courier **out)
{
    struct courier *c = calloc(1, sizeof *c);

    if (c == NULL)
        return err_memory();
    c->config = *config;
    pthread_mutex_init(&c->lock, NULL);
    c->aside = json_array();
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
    struct err e = c->aside == NULL ? err_memory() : duty_start(&duty, &c->duty);
    if (failed(e))
        courier_free(c);
    else
        *out = c;
    return e;
}

void courier_stir(struct courier *c)
{
    if (c != NULL)
        duty_stir(c->duty);
}

void courier_stop(struct courier *c)
{
    if (c == NULL)
        return;
    duty_stop(c->duty);
    courier_free(c);
}
