/*
 * trace.h - W3C Trace Context: continues the trace of a request, or starts one.
 *
 *      traceparent   00-(trace id)-(span id of the caller)-(flags)
 *      tracestate    data of tracing systems: key=value,key=value
 *
 * A malformed header never fails a request; it starts a new trace.
 * https://www.w3.org/TR/trace-context-2/
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum {
    TRACEPARENT_SIZE = 56,   /* bytes, with its NUL */
    SPAN_ID_SIZE = 17,       /* bytes, with its NUL */
    TRACESTATE_MAX = 512,    /* bytes passed on, without NUL */
    TRACESTATE_MEMBERS = 32, /* entries of one tracestate at most */
};

/* The trace fields of a request's header, zero at first.  Values are borrowed. */
struct trace_fields {
    size_t parents;                        /* traceparent fields seen */
    const char *parent;                    /* the first one's value */
    size_t states;                         /* tracestate fields seen */
    const char *state[TRACESTATE_MEMBERS]; /* the first values, in order */
};

/* Add a field, in the order of the header. */
void trace_add_parent(struct trace_fields *fields, const char *value);
void trace_add_state(struct trace_fields *fields, const char *value);

/* Our span: sent with each call that we make for the request. */
struct trace {
    char parent[TRACEPARENT_SIZE];  /* version 00, with our span id */
    char caller[SPAN_ID_SIZE];      /* the caller's span id; "": the trace is new */
    char state[TRACESTATE_MAX + 1]; /* a tracestate, or "" */
};

/*
 * Starts our span in the request's trace, with a new span id.
 *
 * Exactly one well-formed traceparent continues its trace: the trace id and the flags
 * "sampled" and "random" are kept.  A version above 00 is read as 00, more data after a
 * dash is ignored; ff is invalid.  None, several or a malformed one start a new trace,
 * sampled, without tracestate.
 *
 * The tracestate fields form one list.  It is dropped when a member is malformed or there
 * are more than TRACESTATE_MEMBERS.  A list longer than TRACESTATE_MAX first loses
 * members above 128 bytes, then members from its end.
 */
void trace_begin(const struct trace_fields *given, struct trace *out);

/* Whether text is a well-formed traceparent of version 00. */
bool trace_valid(const char *traceparent);
