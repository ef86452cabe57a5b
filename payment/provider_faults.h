/*
 * provider_faults.h - a provider that fails where a test arms it; test builds only.
 *
 * It stands in front of the real one, so that the ledger knows nothing of it.
 *
 *   before  error: out of order, not asked     drop: not asked, no answer
 *           repeat: asked twice                late: no answer, and asked some time after
 *   after   error, drop, repeat, late: asked, and the answer lost
 */
#pragma once

#include "payment/provider.h"

/* Failpoints PROGRAM.provider.charge and .refund around `real`, which is borrowed; lives as
 * long as the process.  NULL when memory is short. */
struct provider *provider_faults(struct provider *real)
    __attribute__((warn_unused_result));
