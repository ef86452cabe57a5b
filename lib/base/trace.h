/*
 * trace.h - W3C Trace Context: the trace a request belongs to, and our place in it.
 *
 *      traceparent   00-(trace id)-(span id of the caller)-(flags)
 *      tracestate    what tracing systems keep of it: key=value, by commas
 *
 * Whatever a request brings, it is served: what cannot be followed starts a new trace.
 * https://www.w3.org/TR/trace-context-2/
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum {
    TRACEPARENT_SIZE = 56,   /* bytes, with its NUL */
    SPAN_ID_SIZE = 17,       /* likewise */
    TRACESTATE_MAX = 512,    /* bytes handed on, without NUL */
    TRACESTATE_MEMBERS = 32, /* entries of one tracestate at most */
};

/* What a request's header has of a trace; zero to begin with.  Values are borrowed. */
struct trace_fields {
    size_t parents;                        /* traceparent fields that came */
    const char *parent;                    /* the first one's value */
    size_t states;                         /* tracestate fields that came */
    const char *state[TRACESTATE_MEMBERS]; /* the first ones' values, in their order */
};

/* Adds a field, in the order of the header. */
void trace_add_parent(struct trace_fields *fields, const char *value);
void trace_add_state(struct trace_fields *fields, const char *value);

/* Our place in a trace: what goes with each call that we make for the request. */
struct trace {
    char parent[TRACEPARENT_SIZE]; /* of version 00, with a span id of our own */
    char caller[SPAN_ID_SIZE];     /* the span id of who asked us; "": the trace is new */
    char state[TRACESTATE_MAX + 1]; /* a tracestate, or "" */
};

/*
 * Takes our place in the request's trace, with a new span id.
 *
 * One well-formed traceparent is followed: its trace id and its flags "sampled" and "random"
 * go on.  A version above 00 is read as 00, also with more behind a dash; ff is none.
 * None, several or a malformed one: a new trace, sampled, and no tracestate.
 *
 * The tracestate fields are one list.  It is dropped as a whole when a member is malformed
 * or there are more than TRACESTATE_MEMBERS; of one longer than TRACESTATE_MAX, members of
 * more than 128 bytes go first, then those at its end.
 */
void trace_begin(const struct trace_fields *given, struct trace *out);

/* Whether text is a well-formed traceparent of version 00. */
bool trace_valid(const char *traceparent);
