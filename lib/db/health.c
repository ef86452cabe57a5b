/* health.c - see health.h. */
#include "db/health.h"

#include <string.h>

#include "base/log.h"

void health_open(struct health *health, const char *database)
{
    health->database = database;
    health->why = err_make(ERR_UNAVAILABLE, "Not yet connected to the database.");
    health->why.subject = "the database cannot be reached";
    pthread_mutex_init(&health->lock, NULL);
}

void health_close(struct health *health)
{
    pthread_mutex_destroy(&health->lock);
}

void health_set(struct health *health, struct err why)
{
    if (failed(why)) {
        why.code = ERR_UNAVAILABLE;
        why.effect = EFFECT_NONE;
    }
    pthread_mutex_lock(&health->lock);
    bool changed = failed(why) != failed(health->why) ||
                   strcmp(why.message, health->why.message) != 0;
    health->why = why;
    pthread_mutex_unlock(&health->lock);
    if (changed && failed(why))
        log_line(LOG_ERROR, "database_not_serving", "database=%s error=%s",
                 health->database, why.message);
    else if (changed)
        log_info("database_serving", "database=%s", health->database);
}

struct err health_get(struct health *health)
{
    pthread_mutex_lock(&health->lock);
    struct err why = health->why;
    pthread_mutex_unlock(&health->lock);
    return why;
}
