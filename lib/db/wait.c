/* wait.c - see wait.h. */
#include "db/wait.h"

#include <pthread.h>

struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    size_t waiting; /* for so many */
    struct err error;
    void (*on_rows)(void *arg, const struct db_rows *rows);
    void *arg;
};

static void on_done(void *arg, struct err error, const struct db_rows *rows)
{
    struct waiter *waiter = arg;

    if (!failed(error) && waiter->on_rows != NULL)
        waiter->on_rows(waiter->arg, rows);
    pthread_mutex_lock(&waiter->lock);
    if (failed(error) && !failed(waiter->error))
        waiter->error = error;
    if (--waiter->waiting == 0)
        pthread_cond_signal(&waiter->wake);
    pthread_mutex_unlock(&waiter->lock);
}

/* No deadline here: `done` is promised soon after the operation's. */
static struct err wait_done(struct waiter *waiter)
{
    pthread_mutex_lock(&waiter->lock);
    while (waiter->waiting > 0)
        pthread_cond_wait(&waiter->wake, &waiter->lock);
    pthread_mutex_unlock(&waiter->lock);
    pthread_cond_destroy(&waiter->wake);
    pthread_mutex_destroy(&waiter->lock);
    return waiter->error;
}

static struct waiter waiter_for(size_t count,
                                void (*on_rows)(void *arg, const struct db_rows *rows),
                                void *arg)
{
    return (struct waiter){PTHREAD_MUTEX_INITIALIZER,
                           PTHREAD_COND_INITIALIZER,
                           count,
                           ERR_NONE,
                           on_rows,
                           arg};
}

struct err db_read_wait(struct db *db, struct db_query *query,
                        void (*on_rows)(void *arg, const struct db_rows *rows), void *arg)
{
    struct waiter waiter = waiter_for(1, on_rows, arg);

    query->done = on_done;
    query->arg = &waiter;
    db_read(db, query);
    return wait_done(&waiter);
}

struct err db_submit_wait(struct db *db, struct db_op *ops, size_t count,
                          void (*on_rows)(void *arg, const struct db_rows *rows),
                          void *arg)
{
    struct waiter waiter = waiter_for(count, on_rows, arg);

    for (size_t i = 0; i < count; i++) {
        ops[i].done = on_done;
        ops[i].arg = &waiter;
        db_submit(db, &ops[i]);
    }
    return wait_done(&waiter);
}
