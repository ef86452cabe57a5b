/* options.c - the options, as a table; which command takes which is in commands.c. */
#include "cli/cli.h"

/* clang-format off */
const struct option_row OPTIONS[OPT_COUNT] = {
    [OPT_STATE] = {"state", 0, "DIR", "the stack's state folder (or CHECKOUT_STATE)"},
    [OPT_CONFIG] = {"config", 0, "FILE", "settings, instead of DIR/conf/checkoutctl.conf"},
    [OPT_PROFILE] = {"profile", 0, "NAME", "a stack of profiles.conf (or CHECKOUT_PROFILE)"},
    [OPT_JSON] = {"json", 0, NULL, "JSON on one line, also on a terminal"},
    [OPT_YES] = {"yes", 'y', NULL, "change a production stack without being asked"},
    [OPT_MAX_TIME] = {"max-time", 0, "SECONDS", "how long a call may take [10]"},
    [OPT_CONNECT_TIMEOUT] = {"connect-timeout", 0, "SECONDS",
                             "how long until the server must have answered at all"},
    [OPT_HEADER] = {"header", 'H', "NAME:VALUE", "metadata for the server; may be repeated"},
    [OPT_VERBOSE] = {"verbose", 'v', NULL, "say on standard error what is called, and timings"},
    [OPT_HELP] = {"help", 'h', NULL, "this text; also after each command"},
    [OPT_VERSION] = {"version", 0, NULL, "the version"},
    [OPT_SERVICE] = {"service", 0, "NAME", "orchestrator, inventory, payment or gateway"},
    [OPT_URL] = {"url", 0, "URL", "call the server there: ipc://, tcp:// or tls+tcp://"},
    [OPT_SERVICE_KEY] = {"service-key", 0, "PUBLIC", "that server's public key, in base64"},
    [OPT_KEY] = {"key", 0, "FILE", "our own key, instead of key_file"},
    [OPT_REFLECT] = {"reflect", 0, NULL, "ask the server for its types; --url does so by itself"},
    [OPT_PROTOSET] = {"protoset", 0, "FILE", "types from protoc --descriptor_set_out"},
    [OPT_TEMPLATE] = {"template", 0, NULL, "print an example request, call nothing"},
    [OPT_WATCH] = {"watch", 0, NULL, "go on, and print what changes"},
    [OPT_INTERVAL] = {"interval", 0, "SECONDS", "time between two looks [1]"},
    [OPT_TIMES] = {"count", 0, "N", "how many times"},
    [OPT_CONCURRENCY] = {"concurrency", 0, "N", "calls under way at once, 1 to 256 [8]"},
    [OPT_SECONDS] = {"seconds", 0, "N", "for how long, 1 to 3600 [5]"},
    [OPT_DIR] = {"dir", 0, "DIR", "the folder, instead of the settings'"},
    [OPT_ROLES] = {"roles", 0, "FILE", "afterwards set the passwords of `role = password` lines"},
    [OPT_LOCK_WAIT] = {"lock-wait", 0, "SECONDS", "how long to wait for another migrator [60]"},
    [OPT_USER] = {"user", 0, "UUID", "the user"},
    [OPT_TTL] = {"ttl", 0, "SECONDS", "how long it is good for [3600]"},
    [OPT_ISSUER] = {"issuer", 0, "TEXT", "iss, instead of jwt_issuer"},
    [OPT_AUDIENCE] = {"audience", 0, "TEXT", "aud, instead of jwt_audience"},
    [OPT_OUT] = {"out", 0, "FILE", "the private key's file, made with mode 0600"},
    [OPT_JWKS] = {"jwks", 0, "FILE", "the public part, as a JWK set"},
    [OPT_DEFAULTS] = {"defaults", 0, NULL, "also print fields that are zero or empty"},
    [OPT_REASON] = {"reason", 0, "TEXT", "why, for the ledger"},
    [OPT_ID] = {"id", 0, "ID", "names the adjustment: the same one is booked once"},
    [OPT_TITLE] = {"title", 0, "TEXT", "what shoppers read"},
    [OPT_PRICE] = {"price", 0, "CENTS", "in minor units"},
    [OPT_CURRENCY] = {"currency", 0, "CODE", "ISO 4217, three capitals"},
    [OPT_GRACE] = {"grace", 0, "MS", "how long a suspect is left alone [5000]"},
    [OPT_LIMIT] = {"limit", 0, "N", "how many at most [100]"},
    [OPT_AFTER] = {"after", 0, "ID", "begin after this one"},
    [OPT_UNFINISHED] = {"unfinished", 0, NULL, "only those running or aborting"},
    [OPT_CURSOR] = {"cursor", 0, "NAME", "begin after this cursor of the operator's"},
    [OPT_WAIT] = {"wait", 0, "MS", "how long to wait for an event when there is none [0]"},
    [OPT_FROM] = {"from", 0, "POSITION", "the first to be published again"},
};
/* clang-format on */

const uint64_t OPTIONS_GLOBAL = OPT(STATE) | OPT(CONFIG) | OPT(PROFILE) | OPT(JSON) |
                                OPT(YES) | OPT(MAX_TIME) | OPT(CONNECT_TIMEOUT) |
                                OPT(HEADER) | OPT(VERBOSE) | OPT(HELP) | OPT(VERSION);
