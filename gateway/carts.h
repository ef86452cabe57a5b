/* carts.h - a cart as it is answered, also beside what it stood in the way of. */
#pragma once

#include "gateway/request.h"
#include "proto/orders.pb-c.h"

/* In a completion: answers with a cart_changed problem of that status, and resumes the
 * request: 412 when a field of the head demanded another cart, 409 when the body did.  Its
 * member `cart` is the cart as it is, or null when `cart` is NULL: there is none. */
void carts_changed(struct request *request, unsigned status,
                   const Orders__V1__Cart *cart);
