/*
 * handlers.h - the request handlers, one file a noun.
 *
 * Each runs on the HTTP thread with the body complete and the user known, and either
 * answers, or starts one call and returns, or returns an error to be answered.
 */
#pragma once

#include "gateway/request.h"

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

/* files.c: the shop page */
struct err files_get(struct request *request) __attribute__((warn_unused_result));

/* health.c */
struct err health_check(struct request *request) __attribute__((warn_unused_result));

/* document.c */
struct err document_get(struct request *request) __attribute__((warn_unused_result));
