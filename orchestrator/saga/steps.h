/* steps.h - the steps that turn one checkout into one order. */
#pragma once

#include "orchestrator/saga/engine.h"

/* The table; `count` is set to its length. */
const struct saga_step *steps_of_checkout(int *count);
