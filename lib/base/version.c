/* version.c - see version.h. */
#include "base/version.h"

const char *version_text(void)
{
    return CHECKOUT_VERSION;
}
