/* settings.h - what the gateway is told: the fields, and the table they are read by. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/program/conf.h"

struct settings {
    const char *tls_cert, *tls_key, *tls_ca;
    const char *listen_address;
    int64_t port;
    const char *rpc_url;
    const char *callers_file;
    const char *key_file;
    const char *services_file;
    const char *orchestrator_addresses;
    const char *inventory_addresses;
    const char *payment_addresses;
    const char *jwks_file;
    const char *jwks_url;
    int64_t jwks_every_ms;
    int64_t jwks_stale_ms;
    const char *jwt_issuer;
    const char *jwt_audience;
    const char *user_claim;
    const char *user_namespace;
    int64_t token_bytes_max;
    int64_t drain_delay_ms;
    int64_t place_timeout_ms;
    int64_t call_timeout_ms;
    int64_t calls_max;
    int64_t connections_max;
    int64_t per_address_max;
    int64_t idle_timeout_ms;
    int64_t head_timeout_ms;
    int64_t transfer_timeout_ms;
    int64_t answers_max;
    int64_t tokens_max;
    const char *session_cookie;
    int64_t user_rate;
    int64_t user_burst;
    int64_t users_max;
    const char *cors_origins;
    const char *tls_cert_file;
    const char *tls_key_file;
    bool access_log;
    const char *log_format;
    const char *storefront_dir;
    const char *demo_token_file;
};

extern const struct conf_table SETTINGS_TABLE;
