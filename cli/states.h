/* states.h - the states of checkouts, reservations and charges in words: "being refunded". */
#pragma once

#include "proto/inventory.pb-c.h"
#include "proto/orders.pb-c.h"
#include "proto/payment.pb-c.h"

/* Constants that fit into a sentence; there are words for a state we do not know, too. */
const char *checkout_state_text(Orders__V1__CheckoutState state);
const char *reservation_state_text(Inventory__V1__ReservationState state);
const char *charge_state_text(Payment__V1__ChargeState state);
const char *provider_status_text(Payment__V1__ProviderStatus status);
