/* headers.h - the header of an answer: what it says of itself, and what a browser may do.
 */
#pragma once

#include <microhttpd.h>

#include "gateway/answers.h"

/* Adds all fields but those of CORS (cors.h) and TLS.  `request_id` is copied. */
void headers_add(struct MHD_Response *response, const struct answer *answer,
                 const char *request_id);
