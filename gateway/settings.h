/* settings.h - the gateway's settings; settings.c has the meaning of each. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/conf.h"

struct settings {
    const char *tls_cert, *tls_key, *tls_ca, *key_file, *services_file;
    const char *rpc_url, *callers_file, *log_format;
    const char *orchestrator_addresses, *inventory_addresses, *payment_addresses;
    const char *jwks_file, *jwks_url, *jwt_issuer, *jwt_audience;
    const char *user_claim, *user_namespace, *session_cookie;
    int64_t jwks_every_ms, jwks_stale_ms, token_bytes_max, tokens_max;
    const char *listen_address, *tls_cert_file, *tls_key_file, *cors_origins;
    int64_t port, connections_max, per_address_max;
    int64_t idle_timeout_ms, head_timeout_ms, transfer_timeout_ms, drain_delay_ms;
    int64_t place_timeout_ms, call_timeout_ms, calls_max, answers_max;
    int64_t user_rate, user_burst, users_max;
    const char *storefront_dir, *demo_token_file;
    bool access_log;
};

extern const struct conf_table SETTINGS_TABLE;
