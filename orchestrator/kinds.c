/* kinds.c - see kinds.h. */
#include "orchestrator/kinds.h"

#include "orchestrator/checkout/carts.h"
#include "orchestrator/checkout/checkouts.h"
#include "orchestrator/events/cursors.h"
#include "orchestrator/events/dead_letters.h"
#include "orchestrator/orders/orders.h"
#include "orchestrator/orders/prune.h"

void orchestrator_configure(struct db_config *config)
{
    static const struct db_kind *const KINDS[] = {
        &CARTS_PUT,           &CHECKOUTS_CLAIM,
        &CHECKOUTS_PERSIST,   &CHECKOUTS_TRANSITION,
        &CHECKOUTS_RENEW,     &CHECKOUTS_NEED_ATTENTION,
        &CHECKOUTS_TAKE_OVER, &CHECKOUTS_RETRY,
        &CURSORS_COMMIT,      &CURSORS_REPLAY,
        &CURSORS_RESET,       &CURSORS_DELETE,
        &DEAD_LETTERS_RESEND, &DEAD_LETTERS_DROP,
        &CHECKOUTS_PRUNE,
    };

    config->kinds = KINDS;
    config->kind_count = sizeof KINDS / sizeof *KINDS;
}
