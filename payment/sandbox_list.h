/* sandbox_list.h - the reading half of the sandbox. */
#pragma once

#include "db/db.h"
#include "payment/provider.h"

/* A page of the sandbox's ledger, read by a reader of its database; as provider.h's list. */
void sandbox_list(struct db *db, const struct provider_page *page, provider_listed *done,
                  void *arg);
