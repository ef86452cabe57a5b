/* bus_nats_words.c - see bus_nats_words.h. */
#include "orchestrator/bus_nats_words.h"

#include <string.h>

/* libnats writes "(file.c:123): " before what was said.  What it says of an argument that is
 * not valid may quote a URL, with its password. */
const char *nats_words(natsStatus status)
{
    natsStatus last = NATS_OK;
    const char *words = nats_GetLastError(&last);

    if (words == NULL || last != status || status == NATS_INVALID_ARG)
        return natsStatus_GetText(status);
    const char *end = *words == '(' ? strstr(words, "): ") : NULL;
    words = end == NULL ? words : end + strlen("): ");
    return *words == '\0' ? natsStatus_GetText(status) : words;
}

struct err nats_unavailable(const char *what, natsStatus status)
{
    return err_make(ERR_UNAVAILABLE, "NATS: %s: %s.", what, nats_words(status));
}
