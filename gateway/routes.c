/* routes.c - see routes.h. */
#include "gateway/routes.h"

#include <string.h>

#include "gateway/handlers.h"

static const struct route ROUTES[] = {
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

enum { ROUTE_COUNT = sizeof ROUTES / sizeof ROUTES[0] };

/* By the set of methods of a path. */
enum { GET = 1 << METHOD_GET, POST = 1 << METHOD_POST, PUT = 1 << METHOD_PUT };
static const char *const ALLOW[] = {
    [GET] = "GET, HEAD, OPTIONS",
    [POST] = "OPTIONS, POST",
    [PUT] = "OPTIONS, PUT",
    [GET | POST] = "GET, HEAD, OPTIONS, POST",
    [GET | PUT] = "GET, HEAD, OPTIONS, PUT",
    [POST | PUT] = "OPTIONS, POST, PUT",
    [GET | POST | PUT] = "GET, HEAD, OPTIONS, POST, PUT",
};
_Static_assert(sizeof ALLOW / sizeof ALLOW[0] == 1 << METHOD_OPTIONS,
               "each set of methods");

const char *routes_all_methods(void)
{
    return ALLOW[GET | POST | PUT];
}

size_t routes_count(void)
{
    return ROUTE_COUNT;
}

const struct route *routes_at(size_t index)
{
    return &ROUTES[index];
}

enum method method_of(const char *name)
{
    static const struct {
        const char *name;
        enum method method;
    } METHODS[] = {
        {"POST", METHOD_POST}, {"GET", METHOD_GET},         {"PUT", METHOD_PUT},
        {"HEAD", METHOD_GET},  {"OPTIONS", METHOD_OPTIONS},
    };

    for (size_t i = 0; i < sizeof METHODS / sizeof METHODS[0]; i++)
        if (strcmp(METHODS[i].name, name) == 0)
            return METHODS[i].method;
    return METHOD_OTHER;
}

/* Whether the pattern covers the path; *id is where its {id} begins, or NULL. */
static bool matches(const char *pattern, const char *path, const char **id)
{
    *id = NULL;
    for (; *pattern != '{'; pattern++, path++) {
        if (*pattern != *path)
            return false;
        if (*pattern == '\0')
            return true;
    }
    *id = path;
    return *path != '\0' && strchr(path, '/') == NULL;
}

struct err routes_find(enum method method, const char *path, const struct route **out,
                       const char **id, const char **allow)
{
    unsigned methods = 0;
    const char *at;

    *out = NULL;
    *id = NULL;
    *allow = NULL;
    for (size_t i = 0; i < ROUTE_COUNT; i++) {
        if (!matches(ROUTES[i].path, path, &at))
            continue;
        methods |= 1u << ROUTES[i].method;
        if (ROUTES[i].method != method)
            continue;
        *out = &ROUTES[i];
        *id = at;
        return ERR_NONE;
    }
    if (methods == 0)
        return err_make(ERR_NOT_FOUND, "There is nothing at this path.");
    *allow = ALLOW[methods];
    if (method == METHOD_OPTIONS)
        return ERR_NONE;
    return err_make(ERR_METHOD_NOT_ALLOWED, "This path answers to %s.", *allow);
}
