/* layout.c - see layout.h. */
#include "gateway/layout.h"

#include <string.h>

enum { CRLF = 2 };

static void expect(struct layout *layout, const char *part)
{
    layout->broken = layout->broken || part != layout->at;
}

/* Both bytes of the line end that begins here were overwritten, so none of them is text. */
static void end_line(struct layout *layout)
{
    layout->broken = layout->broken || layout->at[0] != '\0' || layout->at[1] != '\0';
    layout->at += CRLF;
}

struct layout layout_start(const char *method, const char *target, size_t target_size,
                           const char *version)
{
    struct layout layout = {.start = method, .at = method};

    layout.at += strlen(method) + 1;
    expect(&layout, target);
    layout.at += target_size + 1;
    expect(&layout, version);
    layout.at += strlen(version);
    end_line(&layout);
    return layout;
}

void layout_field(struct layout *layout, const char *name, const char *value)
{
    expect(layout, name);
    if (layout->broken)
        return;
    layout->at += strlen(name) + 1;
    while (*layout->at == ' ' || *layout->at == '\t')
        layout->at++;
    expect(layout, value);
    layout->at += strlen(layout->at);
    end_line(layout);
}

bool layout_good(const struct layout *layout, size_t head_size)
{
    return !layout->broken && (size_t)(layout->at - layout->start) + CRLF == head_size &&
           layout->at[0] == '\0' && layout->at[1] == '\0';
}
