/* audit_letters.h - audit's look at the events that the bus refused. */
#pragma once

#include "cli/cli.h"
#include "cli/findings.h"

/* Finds a violation in each event that was given up.  Changes nothing; a call waits
 * timeout_ms at most. */
struct outcome audit_letters(const struct cli *cli, int64_t timeout_ms,
                             struct findings *findings)
    __attribute__((warn_unused_result));
