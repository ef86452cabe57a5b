/* cursors.h - the table of cursors, which `events lag` shows too. */
#pragma once

#include <stdio.h>

#include "proto/events.pb-c.h"

void print_cursors(FILE *out, const Events__V1__GetLagReply *lag);
