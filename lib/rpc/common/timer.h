/* timer.h - run a function later, on an nng thread. */
#pragma once

#include <stdint.h>

#include "base/err.h"

/*
 * Calls fn(arg) once, `ms` milliseconds from now, on an nng thread: it must not block.
 * RESOURCE_EXHAUSTED when a timer cannot be made; fn is then not called.
 */
struct err timer_after(int64_t ms, void (*fn)(void *arg), void *arg)
    __attribute__((warn_unused_result));
