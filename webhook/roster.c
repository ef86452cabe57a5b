/* roster.c - see roster.h. */
#include "webhook/roster.h"

#include <assert.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

struct entry {
    struct endpoint endpoint; /* which the sender borrows */
    struct sender *sender;
};

static bool same(const struct endpoint *a, const struct endpoint *b)
{
    return memcmp(a, b, sizeof *a) == 0; /* endpoints_read leaves no byte unset */
}

static bool wanted(const struct endpoints *endpoints, const struct endpoint *endpoint)
{
    for (size_t i = 0; i < endpoints->count; i++)
        if (same(&endpoints->items[i], endpoint))
            return true;
    return false;
}

static bool runs(const struct roster *roster, const struct endpoint *endpoint)
{
    for (size_t i = 0; i < roster->count; i++)
        if (same(&roster->entries[i]->endpoint, endpoint))
            return true;
    return false;
}

static void end(struct entry *entry)
{
    sender_join(entry->sender);
    log_info("sending_ended", "endpoint=%s", entry->endpoint.name);
    sodium_memzero(&entry->endpoint, sizeof entry->endpoint);
    free(entry);
}

/* All are told before the first is waited for. */
static void end_others(struct roster *roster, const struct endpoints *endpoints)
{
    struct entry *ending[ENDPOINTS_MAX];
    size_t kept = 0, count = 0;

    pthread_mutex_lock(&roster->lock);
    for (size_t i = 0; i < roster->count; i++)
        if (wanted(endpoints, &roster->entries[i]->endpoint))
            roster->entries[kept++] = roster->entries[i];
        else
            ending[count++] = roster->entries[i];
    roster->count = kept;
    pthread_mutex_unlock(&roster->lock);
    for (size_t i = 0; i < count; i++)
        sender_stop(ending[i]->sender);
    for (size_t i = 0; i < count; i++)
        end(ending[i]);
}

static struct err begin(struct roster *roster, const struct endpoint *endpoint)
{
    struct entry *entry = calloc(1, sizeof *entry);

    if (entry == NULL)
        return err_memory();
    memcpy(&entry->endpoint, endpoint, sizeof *endpoint); /* its padding too: see same */
    struct sender_config config = roster->common;
    config.endpoint = &entry->endpoint;
    struct err e = sender_start(&config, &entry->sender);
    pthread_mutex_lock(&roster->lock);
    if (!failed(e))
        roster->entries[roster->count++] = entry;
    pthread_mutex_unlock(&roster->lock);
    if (failed(e))
        free(entry);
    return e;
}

struct err roster_set(struct roster *roster, const struct endpoints *endpoints)
{
    struct err first = ERR_NONE;

    end_others(roster, endpoints);
    for (size_t i = 0; i < endpoints->count; i++) {
        if (runs(roster, &endpoints->items[i]))
            continue;
        struct err e = begin(roster, &endpoints->items[i]);
        first = failed(first) ? first : e;
    }
    return first;
}

void roster_look(struct roster *roster)
{
    pthread_mutex_lock(&roster->lock);
    for (size_t i = 0; i < roster->count; i++)
        sender_look(roster->entries[i]->sender);
    pthread_mutex_unlock(&roster->lock);
}

struct err roster_source_health(struct roster *roster)
{
    struct err e = ERR_NONE;

    pthread_mutex_lock(&roster->lock);
    for (size_t i = 0; i < roster->count && !failed(e); i++)
        e = sender_health(roster->entries[i]->sender).source;
    pthread_mutex_unlock(&roster->lock);
    return e;
}

size_t roster_health_parts(struct roster *roster, struct rpc_health_part *parts)
{
    static_assert((int)ENDPOINTS_MAX <= (int)RPC_HEALTH_PARTS_MAX, "each is a part");
    pthread_mutex_lock(&roster->lock);
    const size_t count = roster->count;
    for (size_t i = 0; i < count; i++) {
        const struct entry *entry = roster->entries[i];
        snprintf(parts[i].name, sizeof parts[i].name, "%s", entry->endpoint.name);
        parts[i].health = sender_health(entry->sender).endpoint;
    }
    pthread_mutex_unlock(&roster->lock);
    return count;
}

void roster_stop(struct roster *roster)
{
    const struct endpoints none = {.count = 0};

    end_others(roster, &none);
}
