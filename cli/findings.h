/* findings.h - what an audit looked at and what it found, and how that is told. */
#pragma once

#include "cli/cli.h"
#include "cli/view.h"

enum { FINDINGS_LISTED_MAX = 1000 }; /* more are counted, not listed */

struct finding {
    enum check check;
    const char *id;
    const char *what;
    const char *todo;
};

struct findings {
    struct arena *arena; /* of the texts */
    int64_t looked_at[CHECK_COUNT];
    int64_t violations[CHECK_COUNT];
    int64_t total;     /* violations in all */
    int64_t under_way; /* ids that were not judged */
    uint32_t possible; /* checks that were made; the others lacked a service */
    bool cut_short;    /* not everything was looked at */
    struct finding list[FINDINGS_LISTED_MAX];
    size_t listed;
};

/* Counts a violation and, while there is room, keeps its words.  `what` is a sentence. */
struct err findings_add(struct findings *findings, enum check check, const char *id,
                        const char *what) __attribute__((warn_unused_result));

/* For people: a table, then each violation.  For programs: one JSON object. */
void findings_print(const struct findings *findings, FILE *out);
struct err findings_json(const struct findings *findings, FILE *out)
    __attribute__((warn_unused_result));
