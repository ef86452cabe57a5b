/*
 * pages.h - what libmicrohttpd answers by itself becomes a problem like ours.
 *
 * A request it cannot read (no colon, a head that does not fit, a broken chunk) it
 * answers with an HTML page and hangs up; no option of 0.9.75 changes that.  But it
 * queues its page through the public MHD_queue_response, which pages.c defines: the page
 * is replaced there.  Our own answers go past it through the function that pages_queue
 * finds.
 */
#pragma once

#include <microhttpd.h>

typedef enum MHD_Result queue_response(struct MHD_Connection *connection, unsigned status,
                                       struct MHD_Response *response);

/* libmicrohttpd's own MHD_queue_response; never NULL. */
queue_response *pages_queue(void);
