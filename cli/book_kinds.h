/* book_kinds.h - how each of the books of books.h is asked for, and its rows shown. */
#pragma once

#include "cli/books.h"

/* How one book is asked for, and how its rows are shown. */
struct book_kind {
    const char *place;
    const char *method;
    const ProtobufCMessageDescriptor *reply_type;
    /* Asks for the page after a key, or for one id alone. */
    void (*ask)(const struct book_kind *kind, struct line *line, struct line_call *call,
                const char *after, const char *only, struct arena *arena,
                int64_t timeout_ms);
    size_t (*count)(const ProtobufCMessage *reply);
    const char *(*key)(const ProtobufCMessage *reply, size_t row); /* what pages go by */
    const char *(*id)(const ProtobufCMessage *reply, size_t row);  /* what books share */
    void (*show)(const ProtobufCMessage *reply, size_t row, struct view *view);
};

extern const struct book_kind BOOK_KINDS[BOOK_COUNT];
