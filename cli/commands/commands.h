/* commands.h - the functions behind the table in commands.c, by file. */
#pragma once

#include "cli/cli.h"

typedef struct outcome command_function(struct cli *cli);

/* stack.c */
command_function command_migrate, command_database_url, command_profiles;

/* identity.c */
command_function command_token, command_key_new, command_key_allow, command_key_issuer;

/* describe.c */
command_function command_list, command_describe;

/* call.c */
command_function command_call, command_bench;

/* health.c */
command_function command_health, command_ping, command_top;

/* shop.c */
command_function command_orders_list, command_orders_show, command_stock_show,
    command_stock_adjust, command_products_list, command_products_put,
    command_reservations_list, command_reservations_show, command_charges_list,
    command_charges_show, command_refund, command_checkouts_list, command_checkouts_show,
    command_checkouts_retry;

/* audit.c */
command_function command_audit;

/* explain.c */
command_function command_explain;

/* events.c */
command_function command_events_read, command_events_tail, command_events_replay,
    command_events_lag, command_events_dead, command_events_resend, command_events_drop,
    command_cursors_list, command_cursors_reset, command_cursors_delete;

/* webhooks.c */
command_function command_webhooks_dead, command_webhooks_resend, command_webhooks_pending,
    command_webhooks_resume, command_webhooks_reload;

/* help.c */
command_function command_completion, command_manual;
