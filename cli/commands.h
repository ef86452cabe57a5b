/* commands.h - the functions behind the table in commands.c, by file. */
#pragma once

#include "cli/cli.h"

/* database.c */
struct outcome command_migrate(struct cli *cli);
struct outcome command_database_url(struct cli *cli);

/* identity.c */
struct outcome command_token(struct cli *cli);
struct outcome command_key_new(struct cli *cli);
struct outcome command_key_allow(struct cli *cli);
struct outcome command_key_issuer(struct cli *cli);

/* list.c, describe.c */
struct outcome command_list(struct cli *cli);
struct outcome command_describe(struct cli *cli);

/* call.c */
struct outcome command_call(struct cli *cli);

/* profiles.c */
struct outcome command_profiles(struct cli *cli);

/* bench.c */
struct outcome command_bench(struct cli *cli);

/* health.c */
struct outcome command_health(struct cli *cli);
struct outcome command_ping(struct cli *cli);

/* shop.c */
struct outcome command_orders_list(struct cli *cli);
struct outcome command_orders_show(struct cli *cli);
struct outcome command_stock_show(struct cli *cli);
struct outcome command_stock_adjust(struct cli *cli);
struct outcome command_products_list(struct cli *cli);
struct outcome command_products_put(struct cli *cli);

/* effects.c */
struct outcome command_reservations_list(struct cli *cli);
struct outcome command_reservations_show(struct cli *cli);
struct outcome command_charges_list(struct cli *cli);
struct outcome command_charges_show(struct cli *cli);
struct outcome command_refund(struct cli *cli);

/* top.c */
struct outcome command_top(struct cli *cli);

/* audit.c */
struct outcome command_audit(struct cli *cli);

/* explain.c */
struct outcome command_explain(struct cli *cli);

/* events.c */
struct outcome command_events_read(struct cli *cli);
struct outcome command_events_tail(struct cli *cli);
struct outcome command_events_replay(struct cli *cli);
struct outcome command_events_lag(struct cli *cli);

/* dead_letters.c */
struct outcome command_events_dead(struct cli *cli);
struct outcome command_events_resend(struct cli *cli);
struct outcome command_events_drop(struct cli *cli);

/* cursors.c */
struct outcome command_cursors_list(struct cli *cli);
struct outcome command_cursors_reset(struct cli *cli);
struct outcome command_cursors_delete(struct cli *cli);

/* webhooks.c */
struct outcome command_webhooks_dead(struct cli *cli);
struct outcome command_webhooks_resend(struct cli *cli);

/* webhooks_pending.c */
struct outcome command_webhooks_pending(struct cli *cli);
struct outcome command_webhooks_resume(struct cli *cli);
struct outcome command_webhooks_reload(struct cli *cli);

/* checkouts.c */
struct outcome command_checkouts_list(struct cli *cli);
struct outcome command_checkouts_show(struct cli *cli);
struct outcome command_checkouts_retry(struct cli *cli);

/* completion.c, manual.c */
struct outcome command_completion(struct cli *cli);
struct outcome command_manual(struct cli *cli);
