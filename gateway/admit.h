/* admit.h - whether a request may go on to its body: route, caller, rate, type, size. */
#pragma once

#include "gateway/request.h"

/*
 * Finds the route and the user.  The error is for the client; why a caller was refused is
 * logged here and told to nobody.  A NULL route without an error is OPTIONS, also of *.
 */
struct err admit(struct request *request) __attribute__((warn_unused_result));
