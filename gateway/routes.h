/* routes.h - the table of what the gateway answers to; see route_find in admission.h. */
#pragma once

#include "gateway/http/admission.h"

extern const struct route_table ROUTES;
