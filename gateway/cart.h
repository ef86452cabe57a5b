/*
 * cart.h - a cart as it is answered: its lines with titles and prices as they are now.
 *
 * Carts are the orchestrator's, products the inventory's; here they are put together.  An
 * answer says nothing that was not read: when the inventory cannot be asked, the lines are
 * told without titles and prices, for a shopper is better off with a cart than without.
 * What is charged is decided when it is ordered, by the inventory, not by this.
 */
#pragma once

#include "gateway/request.h"
#include "proto/inventory.pb-c.h"
#include "proto/orders.pb-c.h"

/* All of it is borrowed from the request's arena and the messages there. */
struct cart_view {
    const Orders__V1__Cart *cart;
    unsigned status; /* to be answered with, as given to cart_price */
    const char *etag;
    bool priced; /* the products were read */
    /* By line, when priced; NULL: there is no such product (any more). */
    const Inventory__V1__Product **products;
};

/* Answers or fails the request, and resumes it; `view` is NULL when failed. */
typedef void cart_priced(struct request *request, struct err error,
                         const struct cart_view *view);

/*
 * In a completion (see request_call_next): reads the products of `cart`, which lives in the
 * request's arena, and calls `done`, once, perhaps before it returns.  That the products
 * cannot be read is no failure.  RESOURCE_EXHAUSTED; DATA_LOSS when the cart has no version.
 */
void cart_price(struct request *request, const Orders__V1__Cart *cart, unsigned status,
                cart_priced *done);

/* {"cart_id","etag","lines":[...]}; with "total_cents" and "currency" when each line has a
 * price and all have one currency, and there is a line. */
void cart_write(struct text *text, const struct cart_view *view);
