/* commands.c - the command tree, as a table. */
#include "cli/commands/commands.h"

const struct option_row OPTIONS[OPT_COUNT] = {
#define X(constant, ...) [OPT_##constant] = {__VA_ARGS__},
    OPTION_TABLE(X)
#undef X
};

const uint64_t OPTIONS_GLOBAL = OPT(STATE) | OPT(CONFIG) | OPT(PROFILE) | OPT(JSON) |
                                OPT(YES) | OPT(MAX_TIME) | OPT(CONNECT_TIMEOUT) |
                                OPT(HEADER) | OPT(VERBOSE) | OPT(HELP) | OPT(VERSION);

/* The server, and the source of its types. */
#define TLS    (OPT(TLS_CERT) | OPT(TLS_KEY) | OPT(TLS_CA))
#define SERVER (OPT(SERVICE) | OPT(URL) | OPT(SERVICE_KEY) | OPT(KEY) | TLS)
#define TYPES  (SERVER | OPT(REFLECT) | OPT(PROTOSET))

/* The filters of lists of checkouts and their effects. */
#define FILTERS                                                                          \
    (OPT(ORDER) | OPT(STATUS) | OPT(SINCE) | OPT(UNTIL) | OPT(LIMIT) | OPT(AFTER) |      \
     OPT(DEFAULTS))

/* clang-format off */
#define ABOUT_IDS \
    "ID is an order's or checkout's id, or what people outside have: the X-Request-Id of the\n" \
    "order's answer, the cart's id, the provider's id of the charge, or the idempotency key,\n" \
    "which needs --user.  If several match, the newest is taken and the others are named."
#define ABOUT_LISTS \
    "Filters look at the newest 10000 entries before --after; if there are more, the output\n" \
    "says so, with the --after to continue."

const struct chapter CHAPTERS[] = {
    {"Explore and call", "list"},
    {"Look after a stack", "top"},
    {"Set up", "token"},
};

const size_t CHAPTERS_COUNT = sizeof CHAPTERS / sizeof *CHAPTERS;

const struct command COMMANDS[] = {
    {.path = "list", .args = "[SERVICE]", .most = 1,
     .options = TYPES, .settings = true,
     .help = "list the services, or the methods of one",
     .about = "Without --url or --reflect, the services of the contract that checkoutctl was\n"
              "built with; with them, those that the server describes.",
     .example = "list orders.v1.Orders", .run = command_list},
    {.path = "describe", .args = "SYMBOL", .least = 1, .most = 1,
     .options = TYPES, .settings = true,
     .help = "show a service, method, message or enum, with its comments",
     .about = "SYMBOL is a full name or its end: orders.v1.Orders/Place, Place, Order.",
     .example = "describe Orders/Place", .run = command_describe},
    {.path = "call", .args = "SERVICE/METHOD [JSON|@FILE|-]", .least = 1, .most = 2,
     .options = TYPES | OPT(TEMPLATE) | OPT(DEFAULTS), .settings = true,
     .help = "call a method, print its reply as JSON",
     .about = "The request is protobuf's JSON: names as in the .proto or in lowerCamelCase,\n"
              "int64 as number or string, enums by name or number, bytes in base64.\n"
              "Fields that do not exist are refused.\n"
              "Without JSON the request is empty.  Standard input is read only for - or @-,\n"
              "to its end.",
     .example = "call inventory.v1.Inventory/GetStock '{\"sku\": \"teapot\"}'",
     .run = command_call},
    {.path = "bench", .args = "SERVICE/METHOD [JSON|@FILE|-]", .least = 1, .most = 2,
     .options = TYPES | OPT(CONCURRENCY) | OPT(SECONDS), .settings = true,
     .help = "call a method over and over, print rate and percentiles",
     .about = "The request is given as to call; - or @- is read once, before the first call.\n"
              "{{ulid}} in the JSON becomes a new ULID in each call.",
     .example = "bench GetStock '{\"sku\": \"teapot\"}' --concurrency 16 --seconds 5",
     .run = command_bench},
    {.path = "health", .args = "",
     .options = SERVER | OPT(WATCH) | OPT(INTERVAL) | OPT(TIMES), .settings = true,
     .help = "check whether every service can do its work",
     .about = "A service is SERVING if it can do its work now, which includes writing to its\n"
              "database.  A line with a dot, such as orchestrator.events, is a part of a\n"
              "service.  All are asked at once and have 2 seconds to answer, or --max-time.  With\n"
              "--watch it goes on and prints a line when one changes.",
     .example = "health --watch", .run = command_health},
    {.path = "ping", .args = "", .options = SERVER | OPT(TIMES), .settings = true,
     .help = "measure how long connecting and a round trip take", .run = command_ping},
    {.path = "top", .args = "", .options = OPT(INTERVAL) | OPT(TIMES), .settings = true,
     .help = "watch rates, latencies, queues, batches, unfinished checkouts",
     .about = "On a terminal it redraws the screen each time; elsewhere it prints one block,\n"
              "or with --json one line, after the other.  Rates and means are of the time\n"
              "between two looks; percentiles since the server started.  Ctrl-C ends it.\n"
              "A server that does not answer is named in its row.",
     .example = "top --interval 2", .run = command_top},
    {.path = "orders list", .args = "",
     .options = OPT(USER) | OPT(CART) | OPT(SINCE) | OPT(UNTIL) | OPT(LIMIT) | OPT(AFTER) |
                OPT(IDEMPOTENCY_KEY) | OPT(DEFAULTS),
     .required = OPT(USER), .settings = true,
     .help = "list a user's orders, newest first",
     .about = "Of all users: checkoutctl checkouts list --status completed.", .run = command_orders_list},
    {.path = "orders show", .args = "ID", .least = 1, .most = 1,
     .options = OPT(USER) | OPT(DEFAULTS), .settings = true,
     .help = "show one order", .about = ABOUT_IDS, .run = command_orders_show},
    {.path = "audit", .args = "", .options = OPT(GRACE), .settings = true,
     .help = "check that all books agree; changes nothing",
     .about = "When a service does not answer, the checks that need it are left out and named.",
     .run = command_audit},
    {.path = "explain", .args = "ID", .least = 1, .most = 1, .options = OPT(USER),
     .settings = true, .help = "show an order's history, and what happens next",
     .about = ABOUT_IDS, .run = command_explain},
    {.path = "checkouts list", .args = "",
     .options = OPT(UNFINISHED) | OPT(USER) | OPT(IDEMPOTENCY_KEY) | OPT(CART) | FILTERS,
     .settings = true, .help = "list checkouts, newest first", .about = ABOUT_LISTS,
     .example = "checkouts list --status failed --since 2h", .run = command_checkouts_list},
    {.path = "checkouts show", .args = "ID", .least = 1, .most = 1,
     .options = OPT(USER) | OPT(DEFAULTS), .settings = true,
     .help = "show one checkout", .about = ABOUT_IDS, .run = command_checkouts_show},
    {.path = "checkouts retry", .args = "ID", .least = 1, .most = 1, .settings = true,
     .changes = true,
     .help = "take over an unfinished checkout at once", .run = command_checkouts_retry},
    {.path = "reservations list", .args = "", .options = FILTERS, .settings = true,
     .help = "list reservations of stock, newest first", .about = ABOUT_LISTS, .run = command_reservations_list},
    {.path = "reservations show", .args = "ID", .least = 1, .most = 1,
     .options = OPT(USER) | OPT(DEFAULTS), .settings = true,
     .help = "show one reservation and its lines", .about = ABOUT_IDS, .run = command_reservations_show},
    {.path = "charges list", .args = "", .options = OPT(USER) | FILTERS, .settings = true,
     .help = "list charges, newest first", .about = ABOUT_LISTS, .run = command_charges_list},
    {.path = "charges show", .args = "ID", .least = 1, .most = 1,
     .options = OPT(USER) | OPT(DEFAULTS), .settings = true,
     .help = "show one charge", .about = ABOUT_IDS, .run = command_charges_show},
    {.path = "refund", .args = "CHARGE", .least = 1, .most = 1, .settings = true,
     .changes = true,
     .help = "refund a charge in full",
     .about = "Its order is not changed, and audit reports it from then on.  Refunding an\n"
              "unknown id prevents any later charge.  Repeating is safe.",
     .run = command_refund},
    {.path = "events read", .args = "",
     .options = OPT(AFTER) | OPT(CURSOR) | OPT(LIMIT) | OPT(WAIT), .settings = true,
     .help = "print events after a position, one a line, oldest first",
     .about = "If there are more than --limit, it prints how to continue.", .run = command_events_read},
    {.path = "events tail", .args = "", .options = OPT(AFTER), .settings = true,
     .help = "follow the events, from now on or after a position", .run = command_events_tail},
    {.path = "events lag", .args = "", .settings = true,
     .help = "show the lag of the relay, the bus and the cursors", .run = command_events_lag},
    {.path = "events replay", .args = "",
     .options = OPT(FROM), .required = OPT(FROM), .settings = true, .changes = true,
     .help = "publish events to the bus again, from a position on", .run = command_events_replay},
    {.path = "events dead", .args = "", .options = OPT(USER) | FILTERS, .settings = true,
     .help = "list the events that the bus refused, newest first",
     .about = "They are set aside so that other events can pass, and are retried for a while.\n"
              "Later events of the same order wait behind them.",
     .example = "events dead --status given_up --since 2h",
     .run = command_events_dead},
    {.path = "events resend", .args = "[EVENT]", .most = 1, .settings = true,
     .changes = true,
     .help = "publish refused events again: one, or all",
     .about = "Earlier refused events of its order are sent with it.", .run = command_events_resend},
    {.path = "events drop", .args = "EVENT", .least = 1, .most = 1, .settings = true,
     .changes = true,
     .help = "delete a refused event; it is never published",
     .about = "The bus never gets it.  Later events of its order are then published.",
     .run = command_events_drop},
    {.path = "cursors list", .args = "", .settings = true,
     .help = "list the position of each consumer of events", .run = command_cursors_list},
    {.path = "cursors reset", .args = "CALLER CURSOR", .least = 2, .most = 2,
     .options = OPT(AFTER), .required = OPT(AFTER), .settings = true, .changes = true,
     .help = "move a consumer's cursor to another position",
     .about = "A running consumer continues from its own position: stop it first.",
     .run = command_cursors_reset},
    {.path = "cursors delete", .args = "CALLER CURSOR", .least = 2, .most = 2, .settings = true,
     .changes = true,
     .help = "delete the cursor of a removed consumer", .run = command_cursors_delete},
    {.path = "webhooks dead", .args = "[ENDPOINT]", .most = 1,
     .options = OPT(DIR), .settings = true,
     .help = "list the events that an endpoint never received",
     .about = "Run it on the machine of the webhook sender: it reads webhook_dir, or --dir.",
     .example = "webhooks dead", .run = command_webhooks_dead},
    {.path = "webhooks pending", .args = "[ENDPOINT]", .most = 1,
     .options = OPT(DIR), .settings = true,
     .help = "list the events that an endpoint has not received yet",
     .about = "Events that were tried, or wait for an earlier event of their order.  For events\n"
              "not tried yet: cursors list.  Run it on the machine of the webhook sender.",
     .example = "webhooks pending", .run = command_webhooks_pending},
    {.path = "webhooks resume", .args = "ENDPOINT", .least = 1, .most = 1,
     .options = OPT(DIR), .settings = true, .changes = true,
     .help = "send events again to an endpoint that answered 410 (Gone)",
     .run = command_webhooks_resume},
    {.path = "webhooks reload", .args = "",
     .options = OPT(DIR), .settings = true, .changes = true,
     .help = "make the sender reload its endpoints",
     .about = "On the sender's machine, by a SIGHUP.  A list with a mistake changes nothing.",
     .run = command_webhooks_reload},
    {.path = "webhooks resend", .args = "ENDPOINT [EVENT ...]", .least = 1, .most = 5,
     .options = OPT(DIR), .settings = true, .changes = true,
     .help = "send dead letters again: four at most, or without EVENT all",
     .about = "The sender takes them from its list within seconds, and retries them as long as\n"
              "new events.  They arrive after later events of their order.",
     .run = command_webhooks_resend},
    {.path = "stock show", .args = "SKU", .least = 1, .most = 1,
     .options = OPT(DEFAULTS), .settings = true,
     .help = "show a product's stock", .run = command_stock_show},
    {.path = "stock adjust", .args = "SKU DELTA", .least = 2, .most = 2,
     .options = OPT(REASON) | OPT(ID) | OPT(DEFAULTS), .required = OPT(REASON),
     .settings = true, .changes = true,
     .help = "book pieces in (5) or out (-5)", .run = command_stock_adjust},
    {.path = "products list", .args = "",
     .options = OPT(LIMIT) | OPT(AFTER) | OPT(QUERY) | OPT(SKU) | OPT(DEFAULTS),
     .settings = true, .help = "list products with prices and what is available",
     .about = "By SKU.  If there are more, it prints how to continue.  With --query a page may have\n"
              "fewer than --limit and not be the last, since each scans a part of the list.",
     .example = "products list --query teapot",
     .run = command_products_list},
    {.path = "products put", .args = "SKU", .least = 1, .most = 1,
     .options = OPT(TITLE) | OPT(PRICE) | OPT(CURRENCY),
     .required = OPT(TITLE) | OPT(PRICE) | OPT(CURRENCY), .settings = true,
     .changes = true,
     .help = "create a product, or change its title and price",
     .run = command_products_put},
    {.path = "token", .args = "",
     .options = OPT(USER) | OPT(TTL) | OPT(ISSUER) | OPT(AUDIENCE), .required = OPT(USER),
     .settings = true,
     .help = "print a JWT of the development issuer", .run = command_token},
    {.path = "profiles", .args = "",
     .help = "list the stacks that --profile knows",
     .about = "They are in ~/.config/checkout/profiles.conf (or CHECKOUT_PROFILES):\n\n"
              "  [shop]\n"
              "  state = /var/lib/checkout\n"
              "  production = true       # changing commands ask first, or want --yes\n\n"
              "Every setting of conf/checkoutctl.conf may be set there too.",
     .run = command_profiles},
    {.path = "key new", .args = "NAME", .least = 1, .most = 1,
     .options = OPT(OUT), .required = OPT(OUT),
     .help = "make an RPC key, print NAME PUBLIC", .run = command_key_new},
    {.path = "key allow", .args = "FILE NAME PUBLIC [METHODS]", .least = 3, .most = 4,
     .help = "add a caller, or without METHODS a service", .run = command_key_allow},
    {.path = "key issuer", .args = "",
     .options = OPT(OUT) | OPT(JWKS), .required = OPT(OUT) | OPT(JWKS),
     .help = "make the development issuer's key and JWK set", .run = command_key_issuer},
    {.path = "migrate", .args = "",
     .options = OPT(DIR) | OPT(ROLES) | OPT(LOCK_WAIT), .settings = true,
     .changes = true,
     .help = "bring the database's schema up to date", .run = command_migrate},
    {.path = "database url", .args = "[ROLE]", .most = 1, .settings = true,
     .help = "print the database's URL in full, of its owner or of a role",
     .about = "What the URL lacks is taken from libpq's environment (PGHOST, ...).  The owner's URL\n"
              "has its password; a role's URL has no password and no other option of the owner's.",
     .example = "database url checkout_inventory", .run = command_database_url},
    {.path = "completion", .args = "bash|zsh", .least = 1, .most = 1,
     .help = "print a shell's completion script",
     .about = "For bash, in ~/.bashrc:  source <(checkoutctl completion bash)\n"
              "For zsh, in ~/.zshrc, after compinit:  source <(checkoutctl completion zsh)",
     .run = command_completion},
    {.path = "manual", .args = "",
     .help = "print the man page, for man -l",
     .example = "manual | man -l -", .run = command_manual},
};
/* clang-format on */

const size_t COMMANDS_COUNT = sizeof COMMANDS / sizeof *COMMANDS;
