/* handlers.h - the handlers of the API; routes.c names them.  One file for each noun. */
#pragma once

#include "gateway/http/request.h"
#include "proto/orders.pb-c.h"

/* orders.c */
struct err orders_place(struct request *request) __attribute__((warn_unused_result));
struct err orders_list(struct request *request) __attribute__((warn_unused_result));
struct err orders_get(struct request *request) __attribute__((warn_unused_result));

/* carts.c */
struct err carts_get(struct request *request) __attribute__((warn_unused_result));
struct err carts_put(struct request *request) __attribute__((warn_unused_result));

/* products.c */
struct err products_list(struct request *request) __attribute__((warn_unused_result));
struct err products_get(struct request *request) __attribute__((warn_unused_result));

/* health.c */
struct err health_check(struct request *request) __attribute__((warn_unused_result));

/* carts.c, for orders.c.  In a completion: answers with a cart_changed problem and sends
 * it: 412 when a header field demanded another cart, 409 when the body did.  Its member
 * `cart` is the current cart, or null when `cart` is NULL because there is none. */
void carts_changed(struct request *request, unsigned status,
                   const Orders__V1__Cart *cart);
