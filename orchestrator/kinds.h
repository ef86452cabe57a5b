/* kinds.h - all kinds of operation that the orchestrator's database is opened with. */
#pragma once

#include "db/db.h"

/* Fills in the kinds, in the order in which a batch runs them. */
void orchestrator_configure(struct db_config *config);
