/* routes.c - the table of routes: every path and its handler. */
#include "gateway/api/handlers.h"
#include "gateway/http/admission.h"
#include "gateway/http/files.h"

static const struct route ROWS[] = {
    {METHOD_POST, "/v1/orders", "place_order", false, orders_place},
    {METHOD_GET, "/v1/orders", "list_orders", false, orders_list},
    {METHOD_GET, "/v1/orders/{id}", "get_order", false, orders_get},
    {METHOD_GET, "/v1/carts/{id}", "get_cart", false, carts_get},
    {METHOD_PUT, "/v1/carts/{id}", "put_cart", false, carts_put},
    {METHOD_GET, "/v1/products", "list_products", true, products_list},
    {METHOD_GET, "/v1/products/{id}", "get_product", true, products_get},
    {METHOD_GET, "/", "shop_page", true, files_get},
    {METHOD_GET, "/shop/{id}", "shop_file", true, files_get},
    {METHOD_GET, "/shop/pictures/{id}", "shop_picture", true, files_get},
    {METHOD_GET, "/healthz", "health", true, health_check},
    {METHOD_GET, "/openapi.yaml", "document", true, document_get},
};

const struct route_table ROUTES = {ROWS, sizeof ROWS / sizeof ROWS[0]};
