/* commands.c - the command tree, as a table. */
#include "cli/commands.h"

/* clang-format off */
const struct command COMMANDS[] = {
    {.path = "call", .args = "SERVICE/METHOD [JSON|@FILE|-]", .least = 1, .most = 2,
     .options = OPT(SERVICE) | OPT(DEFAULTS), .settings = true,
     .help = "call a method, print its reply as JSON", .run = command_call},
    {.path = "list", .args = "", .least = 0, .most = 0,
     .help = "list the methods that call knows", .run = command_list},
    {.path = "health", .args = "", .least = 0, .most = 0, .settings = true,
     .help = "ask every service whether it can do its work", .run = command_health},
    {.path = "orders show", .args = "ID", .least = 1, .most = 1,
     .options = OPT(DEFAULTS), .settings = true,
     .help = "show one order", .run = command_orders_show},
    {.path = "stock show", .args = "SKU", .least = 1, .most = 1,
     .options = OPT(DEFAULTS), .settings = true,
     .help = "show a product's stock", .run = command_stock_show},
    {.path = "stock adjust", .args = "SKU DELTA", .least = 2, .most = 2,
     .options = OPT(REASON) | OPT(ID) | OPT(DEFAULTS), .required = OPT(REASON),
     .settings = true,
     .help = "book pieces in (5) or out (-5)", .run = command_stock_adjust},
    {.path = "products put", .args = "SKU", .least = 1, .most = 1,
     .options = OPT(TITLE) | OPT(PRICE) | OPT(CURRENCY),
     .required = OPT(TITLE) | OPT(PRICE) | OPT(CURRENCY), .settings = true,
     .help = "create a product, or change its title and price",
     .run = command_products_put},
    {.path = "token", .args = "", .least = 0, .most = 0,
     .options = OPT(USER) | OPT(TTL) | OPT(ISSUER) | OPT(AUDIENCE), .required = OPT(USER),
     .settings = true,
     .help = "print a JWT of the development issuer", .run = command_token},
    {.path = "key new", .args = "NAME", .least = 1, .most = 1,
     .options = OPT(OUT), .required = OPT(OUT),
     .help = "make an RPC key, print NAME PUBLIC", .run = command_key_new},
    {.path = "key allow", .args = "FILE NAME PUBLIC [METHODS]", .least = 3, .most = 4,
     .help = "add a caller, or without METHODS a service", .run = command_key_allow},
    {.path = "key issuer", .args = "", .least = 0, .most = 0,
     .options = OPT(OUT) | OPT(JWKS), .required = OPT(OUT) | OPT(JWKS),
     .help = "make the development issuer's key and JWK set", .run = command_key_issuer},
    {.path = "migrate", .args = "", .least = 0, .most = 0,
     .options = OPT(DIR) | OPT(ROLES) | OPT(LOCK_WAIT), .settings = true,
     .help = "bring the database's schema up to date", .run = command_migrate},
};
/* clang-format on */

const size_t COMMANDS_COUNT = sizeof COMMANDS / sizeof *COMMANDS;
