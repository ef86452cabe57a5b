/*
 * session.h - the token that a browser sends in a cookie.
 *
 * A cookie goes along with whatever makes the browser ask, another site's page too.  So
 * it only counts where no other site can have made the request: a change must come from
 * a page of this origin, by what the browser says of it (Sec-Fetch-Site, else Origin),
 * and an order must have its key in the header, which no form can send.
 */
#pragma once

struct request;

/* The token in the request's session cookie; NULL when there is none that counts.  It
 * lives in the request's arena. */
const char *session_token(const struct request *request);
