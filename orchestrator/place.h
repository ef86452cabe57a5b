/* place.h - the steps that turn one checkout into one order. */
#pragma once

#include "orchestrator/saga.h"

/* The table; `count` is set to its length. */
const struct saga_step *place_steps(int *count);
