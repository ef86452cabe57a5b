/* events_service.h - the methods of events.v1.Events: validate, hand over, reply. */
#pragma once

#include <stdbool.h>

#include "db/db.h"
#include "orchestrator/events/feed.h"
#include "proto/events.pb-c.h"

struct events_service {
    Events__V1__Events_Service service; /* first: handlers get a pointer to it */
    struct db *db;
    struct feed *feed;
    bool has_bus; /* one that can be replayed to */
};

/* Fills in the methods; `db` and `feed` are borrowed and must outlive the service. */
void events_service_init(struct events_service *service, struct db *db, struct feed *feed,
                         bool has_bus);
