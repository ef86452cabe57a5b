/* cart.h - what a cart may hold, wherever it has passed the checks. */
#pragma once

#include <assert.h>
#include <string.h>

#include "base/contract/bounds.h"
#include "base/contract/ids.h"
#include "proto/orders.pb-c.h"

static inline void assert_versions(const Orders__V1__PutCartRequest *in)
{
    assert(in->n_if_versions <= CART_VERSIONS_MAX);
    for (size_t i = 0; i < in->n_if_versions; i++)
        assert(strcmp(in->if_versions[i], "*") == 0 ||
               cart_version_valid(in->if_versions[i]));
}

static inline void assert_lines(const Orders__V1__Cart *cart)
{
    assert(cart->n_lines <= LINES_MAX);
    for (size_t i = 0; i < cart->n_lines; i++) {
        int64_t sum = 0;
        for (size_t k = 0; k < cart->n_lines; k++)
            if (strcmp(cart->lines[k]->sku, cart->lines[i]->sku) == 0)
                sum += cart->lines[k]->quantity;
        assert(sku_valid(cart->lines[i]->sku) && cart->lines[i]->quantity >= 1);
        assert(sum <= QUANTITY_MAX);
    }
}
