/* settings.c - the gateway's settings, as a table. */
#include "gateway/settings.h"

#include "rpc/service/runtime.h"

static const struct conf_row ROWS[] = {
    CONF_ROW_TEXT(listen_address, "127.0.0.1", "numeric address to listen on"),
    CONF_ROW_NUMBER(port, "8080", 0, 65535, "TCP port; 0 takes a free one"),
    CONF_ROW_TEXT(rpc_url, "",
                  "where to serve health and metrics by RPC: ipc:///path or "
                  "tcp://host:port; empty: not at all"),
    CONF_ROW_TEXT(callers_file, "",
                  "with rpc_url: authorized callers: name, public key, methods"),
    CONF_ROW_TEXT(key_file, NULL, "our key pair"),
    CONF_ROW_TEXT(services_file, NULL, "public keys of the services we call"),
    CONF_ROW_TEXT(orchestrator_addresses, NULL, "nng URLs, separated by commas"),
    CONF_ROW_TEXT(inventory_addresses, NULL, "nng URLs, separated by commas"),
    CONF_ROW_TEXT(payment_addresses, "",
                  "likewise, for /healthz only; empty: it is not checked"),
    RUNTIME_ROWS_TLS,
    CONF_ROW_TEXT(jwks_file, "", "keys that tokens are verified with: a JWKS file"),
    CONF_ROW_TEXT(jwks_url, "", "or where to fetch it from, by https"),
    CONF_ROW_NUMBER(jwks_every_ms, "10000", 50, 3600000,
                    "how often the keys are read again"),
    CONF_ROW_NUMBER(
        jwks_stale_ms, "300000", 50, 86400000,
        "alarm when no read of the keys has succeeded for so long; above jwks_every_ms"),
    CONF_ROW_TEXT(jwt_issuer, NULL, "the iss a token must have"),
    CONF_ROW_TEXT(jwt_audience, NULL, "the aud a token must have"),
    CONF_ROW_TEXT(user_claim, "sub", "the claim of a token that names the user"),
    CONF_ROW_TEXT(user_namespace, "",
                  "a UUID; a name that is no UUID becomes one under it (UUIDv5); empty: "
                  "such names are refused"),
    CONF_ROW_NUMBER(token_bytes_max, "8192", 512, 24576, "bytes a token may have"),
    CONF_ROW_NUMBER(place_timeout_ms, "10000", 100, 60000,
                    "how long placing an order may take"),
    CONF_ROW_NUMBER(call_timeout_ms, "5000", 100, 60000,
                    "how long another call may take"),
    CONF_ROW_NUMBER(drain_delay_ms, "0", 0, 600000,
                    "when stopping: how long /healthz says 503 before the port closes"),
    CONF_ROW_NUMBER(calls_max, "4096", 1, 65536,
                    "calls in flight to one service; above it 503"),
    CONF_ROW_NUMBER(
        connections_max, "4096", 1, 65536,
        "connections in all; at the limit new clients queue and idle connections are "
        "closed"),
    CONF_ROW_NUMBER(
        per_address_max, "1024", 1, 65536,
        "connections from one address; more are answered 429; when 64 wait for "
        "that, closed without a byte (metric http_server_dropped)"),
    CONF_ROW_NUMBER(idle_timeout_ms, "30000", 100, 3600000,
                    "from connecting, or an answer, to the next request"),
    CONF_ROW_NUMBER(head_timeout_ms, "10000", 100, 3600000,
                    "from a request's first byte to its whole head"),
    CONF_ROW_NUMBER(transfer_timeout_ms, "15000", 100, 3600000,
                    "to send a body, or to take an answer"),
    CONF_ROW_NUMBER(answers_max, "16384", 4, 1048576,
                    "answers of orders in the response cache"),
    CONF_ROW_NUMBER(tokens_max, "16384", 4, 1048576, "verified tokens remembered"),
    CONF_ROW_TEXT(session_cookie, "session", "name of the cookie that may carry a token"),
    CONF_ROW_NUMBER(user_rate, "200", 1, 1000000, "requests a second one user may make"),
    CONF_ROW_NUMBER(user_burst, "400", 1, 1000000, "and at once; above both 429"),
    CONF_ROW_NUMBER(users_max, "65536", 4, 1048576, "users counted separately for that"),
    CONF_ROW_TEXT(
        cors_origins, "",
        "origins whose pages may read answers, separated by commas; empty: none"),
    CONF_ROW_TEXT(tls_cert_file, "",
                  "PEM certificate chain, read again when it changes; empty: plain HTTP"),
    CONF_ROW_TEXT(tls_key_file, "", "PEM private key of the certificate"),
    CONF_ROW_FLAG(access_log, "true", "one log line a request: true or false"),
    RUNTIME_ROW_LOG_FORMAT,
    CONF_ROW_TEXT(storefront_dir, "", "folder of the shop page; empty: there is none"),
    CONF_ROW_TEXT(demo_token_file, "",
                  "DEVELOPMENT ONLY: everyone who opens the page gets this token"),
};

const struct conf_table SETTINGS_TABLE = {
    .program = "gateway",
    .summary = "the HTTP edge of the checkout",
    .rows = ROWS,
    .count = sizeof ROWS / sizeof ROWS[0],
};
