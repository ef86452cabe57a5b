/* layout.c - see layout.h. */
#include "gateway/layout.h"

#include <string.h>

enum { CRLF = 2 };

static void expect(struct layout *layout, const char *part)
{
    layout->broken = layout->broken || part != layout->at;
}

struct layout layout_start(const char *method, const char *target, size_t target_size,
                           const char *version)
{
    struct layout layout = {.start = method, .at = method};

    layout.at += strlen(method) + 1;
    expect(&layout, target);
    layout.at += target_size + 1;
    expect(&layout, version);
    layout.at += strlen(version) + CRLF;
    return layout;
}

void layout_field(struct layout *layout, const char *name, const char *value)
{
    expect(layout, name);
    if (layout->broken)
        return;
    layout->at += strlen(name) + 1;
    layout->at += strspn(layout->at, " \t");
    expect(layout, value);
    layout->at += strlen(layout->at) + CRLF;
}

bool layout_good(const struct layout *layout, size_t head_size)
{
    return !layout->broken &&
           (size_t)(layout->at - layout->start) + CRLF == head_size;
}
