/* trace.h - the W3C trace context a request travels with. */
#pragma once

#include <stdbool.h>

enum { TRACEPARENT_SIZE = 56 }; /* with its NUL */

/* Whether a traceparent of version 00 is well-formed.
 * https://www.w3.org/TR/trace-context/ */
bool trace_valid(const char *traceparent);

/* Takes over a valid traceparent; makes a new one when it is not, or NULL. */
void trace_context(const char *given, char out[TRACEPARENT_SIZE]);
