/* commands.h - the functions behind the table in commands.c, by file. */
#pragma once

#include "cli/cli.h"

/* database.c */
struct outcome command_migrate(struct cli *cli);

/* identity.c */
struct outcome command_token(struct cli *cli);
struct outcome command_key_new(struct cli *cli);
struct outcome command_key_allow(struct cli *cli);
struct outcome command_key_issuer(struct cli *cli);

/* call.c */
struct outcome command_list(struct cli *cli);
struct outcome command_call(struct cli *cli);
struct outcome command_health(struct cli *cli);

/* shop.c */
struct outcome command_orders_show(struct cli *cli);
struct outcome command_stock_show(struct cli *cli);
struct outcome command_stock_adjust(struct cli *cli);
struct outcome command_products_put(struct cli *cli);

/* audit.c */
struct outcome command_audit(struct cli *cli);

/* explain.c */
struct outcome command_explain(struct cli *cli);

/* events.c */
struct outcome command_events_read(struct cli *cli);
struct outcome command_events_tail(struct cli *cli);
struct outcome command_events_replay(struct cli *cli);
struct outcome command_events_lag(struct cli *cli);

/* checkouts.c */
struct outcome command_checkouts_list(struct cli *cli);
struct outcome command_checkouts_show(struct cli *cli);
struct outcome command_checkouts_retry(struct cli *cli);
