/* reader.c - see reader.h.  One queue; each thread has its own connection. */
#include "db/reader.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "db/connection/connect.h"
#include "db/connection/setup.h"
#include "db/connection/sqlstate.h"
#include "db/statement.h"

enum {
    READERS_MAX = 16,
    CONNECT_MS = 3000,
};

struct reader {
    struct readers *pool;
    pthread_t thread;
    struct conn conn;
    struct prepared prepared;
};

struct readers {
    struct db_config config;
    pthread_mutex_t lock; /* guards the queue */
    pthread_cond_t wake;
    struct db_query *first, **last;
    size_t queued;
    bool closing;
    size_t count;
    struct reader readers[READERS_MAX];
};

static void finish(struct db_query *query, struct err error, const PGresult *result)
{
    const struct db_rows rows = rows_of(result);

    if (!failed(error))
        error = rows_check(query, &rows);
    query->done(query->arg, error, &rows);
}

void readers_submit(struct readers *pool, struct db_query *query)
{
    query->next = NULL;
    pthread_mutex_lock(&pool->lock);
    bool closing = pool->closing, full = pool->queued >= pool->config.queue_max;
    if (!closing && !full) {
        *pool->last = query;
        pool->last = &query->next;
        pool->queued++;
        pthread_cond_signal(&pool->wake);
    }
    pthread_mutex_unlock(&pool->lock);
    if (closing)
        finish(query, err_make(ERR_CANCELLED, "The service is stopping."), NULL);
    else if (full)
        finish(query,
               err_make(ERR_RESOURCE_EXHAUSTED,
                        "Too many queries are waiting for the database; try again."),
               NULL);
}

/* Ends queued queries past their deadline: all readers may be busy. */
static void expire_queue(void *arg)
{
    struct readers *pool = arg;
    int64_t now = clock_monotonic_ms();
    struct db_query *late = NULL;

    pthread_mutex_lock(&pool->lock);
    struct db_query **link = &pool->first;
    while (*link != NULL) {
        struct db_query *query = *link;
        if (query->deadline_ms <= now) {
            *link = query->next;
            query->next = late;
            late = query;
            pool->queued--;
        } else {
            link = &query->next;
        }
    }
    pool->last = link;
    pthread_mutex_unlock(&pool->lock);
    while (late != NULL) {
        struct db_query *query = late;
        late = query->next;
        finish(query, err_make(ERR_DEADLINE_EXCEEDED, "The database was too busy."),
               NULL);
    }
}

/* The next query, and whether the pool is closing; NULL when it is closing and empty. */
static struct db_query *take(struct readers *pool, bool *closing)
{
    pthread_mutex_lock(&pool->lock);
    while (pool->first == NULL && !pool->closing)
        pthread_cond_wait(&pool->wake, &pool->lock);
    struct db_query *query = pool->first;
    if (query != NULL) {
        pool->first = query->next;
        pool->queued--;
        if (pool->first == NULL)
            pool->last = &pool->first;
    }
    *closing = pool->closing;
    pthread_mutex_unlock(&pool->lock);
    return query;
}

/* Connects and prepares as needed. */
static struct err make_ready(struct reader *reader, const struct db_query *query)
{
    int64_t limit = clock_monotonic_ms() + CONNECT_MS;
    int64_t deadline = query->deadline_ms < limit ? query->deadline_ms : limit;
    struct err e;

    if (reader->conn.pg == NULL) {
        reader->prepared.count = 0;
        e = conn_open(&reader->conn, deadline);
    } else {
        e = conn_check_backend(&reader->conn, deadline);
    }
    if (!failed(e))
        e = statement_prepare_once(&reader->conn, &reader->prepared, query, deadline);
    if (failed(e))
        conn_close(&reader->conn);
    return e;
}

static void log_failure(const struct reader *reader, const struct db_query *query,
                        const PGresult *result)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    struct log_record line;
    char words[WORDS_SIZE];

    if (!log_begin_limited(&line, LOG_WARN, "query_failed"))
        return;
    words_for_log(reader->conn.pg, result, words);
    log_subject(&line, query->request, query->order);
    log_pair(&line, "query", query->name);
    log_pair(&line, "sqlstate", state != NULL ? state : "none");
    log_pair(&line, "message", words);
    log_end(&line);
}

/* Runs a sent query to its end.  A lost connection is UNAVAILABLE and closed. */
static struct err receive(struct reader *reader, const struct db_query *query,
                          PGresult **out)
{
    struct err e = ERR_NONE;

    for (;;) {
        int ready = conn_wait(&reader->conn, query->deadline_ms);
        if (ready != 1) {
            conn_close(&reader->conn); /* the server notices and cancels the query */
            return ready == 0
                       ? err_make(ERR_DEADLINE_EXCEEDED,
                                  "The database did not answer in time.")
                       : err_make(ERR_UNAVAILABLE, "The database connection was lost.");
        }
        PGresult *result = PQgetResult(reader->conn.pg);
        if (result == NULL)
            break;
        if (PQresultStatus(result) == PGRES_TUPLES_OK && *out == NULL) {
            *out = result;
            continue;
        }
        e = sqlstate_err(PQresultErrorField(result, PG_DIAG_SQLSTATE));
        log_failure(reader, query, result);
        PQclear(result);
    }
    if (e.code == ERR_UNAVAILABLE)
        conn_close(&reader->conn);
    return e;
}

static void run(struct reader *reader, struct db_query *query)
{
    PGresult *result = NULL;
    struct err e = err_make(ERR_DEADLINE_EXCEEDED, "The database was too busy.");

    /* Twice: a connection may have died while idle, which only its use shows. */
    for (int attempt = 0; attempt < 2 && clock_remaining_ms(query->deadline_ms) > 0;
         attempt++) {
        e = make_ready(reader, query);
        if (!failed(e) && !statement_send(&reader->conn, query)) {
            conn_close(&reader->conn);
            e = err_make(ERR_UNAVAILABLE, "The database connection was lost.");
        }
        if (!failed(e))
            e = receive(reader, query, &result);
        if (failed(e)) {
            PQclear(result);
            result = NULL;
        }
        if (e.code != ERR_UNAVAILABLE)
            break;
    }
    finish(query, e, result);
    PQclear(result);
}

static void *reader_main(void *arg)
{
    struct reader *reader = arg;

    bool closing;

    for (struct db_query *query; (query = take(reader->pool, &closing)) != NULL;)
        if (closing)
            finish(query, err_make(ERR_CANCELLED, "The service is stopping."), NULL);
        else if (cancel_requested(query->cancel))
            finish(query, err_make(ERR_CANCELLED, "The caller is gone."), NULL);
        else
            run(reader, query);
    conn_end(&reader->conn);
    return NULL;
}

struct err readers_start(const struct db_config *config, struct readers **out)
{
    struct readers *pool = calloc(1, sizeof *pool);

    assert(config->readers <= READERS_MAX);
    if (pool == NULL)
        return err_memory();
    pool->config = *config;
    pool->last = &pool->first;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    *out = pool;
    while (pool->count < config->readers) {
        struct reader *reader = &pool->readers[pool->count];
        reader->pool = pool;
        reader->conn = (struct conn){.url = config->url,
                                     .name = config->name,
                                     .of = SETTINGS_READER,
                                     .meanwhile = expire_queue,
                                     .arg = pool};
        if (pthread_create(&reader->thread, NULL, reader_main, reader) != 0)
            return err_make(ERR_RESOURCE_EXHAUSTED,
                            "Cannot start a database reader's thread.");
        pthread_setname_np(reader->thread, "reader");
        pool->count++;
    }
    return ERR_NONE;
}

void readers_stop(struct readers *pool)
{
    if (pool == NULL)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->closing = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (size_t i = 0; i < pool->count; i++)
        pthread_join(pool->readers[i].thread, NULL);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}
