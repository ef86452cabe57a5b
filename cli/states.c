/* states.c - see states.h. */
#include "cli/states.h"

const char *checkout_state_text(Orders__V1__CheckoutState state)
{
    switch (state) {
    case ORDERS__V1__CHECKOUT_STATE__RUNNING:
        return "running";
    case ORDERS__V1__CHECKOUT_STATE__ABORTING:
        return "aborting";
    case ORDERS__V1__CHECKOUT_STATE__COMPLETED:
        return "completed";
    case ORDERS__V1__CHECKOUT_STATE__FAILED:
        return "failed";
    default:
        return "gone";
    }
}

const char *reservation_state_text(Inventory__V1__ReservationState state)
{
    switch (state) {
    case INVENTORY__V1__RESERVATION_STATE__HELD:
        return "held";
    case INVENTORY__V1__RESERVATION_STATE__CONFIRMED:
        return "confirmed";
    case INVENTORY__V1__RESERVATION_STATE__RELEASED:
        return "released";
    case INVENTORY__V1__RESERVATION_STATE__EXPIRED:
        return "expired";
    case INVENTORY__V1__RESERVATION_STATE__REFUSED:
        return "refused";
    default:
        return "in an unknown state";
    }
}

const char *charge_state_text(Payment__V1__ChargeState state)
{
    switch (state) {
    case PAYMENT__V1__CHARGE_STATE__INTENT:
        return "intended";
    case PAYMENT__V1__CHARGE_STATE__CAPTURED:
        return "captured";
    case PAYMENT__V1__CHARGE_STATE__DECLINED:
        return "declined";
    case PAYMENT__V1__CHARGE_STATE__REFUNDING:
        return "being refunded";
    case PAYMENT__V1__CHARGE_STATE__REFUNDED:
        return "refunded";
    default:
        return "in an unknown state";
    }
}

const char *provider_status_text(Payment__V1__ProviderStatus status)
{
    switch (status) {
    case PAYMENT__V1__PROVIDER_STATUS__PROVIDER_CAPTURED:
        return "captured";
    case PAYMENT__V1__PROVIDER_STATUS__PROVIDER_DECLINED:
        return "declined";
    case PAYMENT__V1__PROVIDER_STATUS__PROVIDER_REFUNDED:
        return "refunded";
    case PAYMENT__V1__PROVIDER_STATUS__PROVIDER_VOIDED:
        return "barred";
    default:
        return "in an unknown state";
    }
}
