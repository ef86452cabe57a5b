/*
 * attempt.js - one click, one order: the stored note of an order whose outcome is unknown.
 *
 *     begin ── note stored ──► settle ── POST, retried with the same key ──► finish
 *                                ▲                                             │
 *               reload, crash ───┘                            the note is removed
 *
 * The note (key, cart, payment method, the cart and total shown) is stored before the first POST
 * and kept until the outcome is final.  So whatever happens to the network, the gateway or this
 * page, the next request repeats the same order.  All windows share one note: a second window
 * joins the order of the first instead of placing another.  If the browser stores no notes, the
 * note belongs to this window and ends with it.
 */
import {askUntilSettled} from './api.js';
import {newId} from './ids.js';
import * as store from './store.js';

const NOTE = 'shop.attempt';
const TIMEOUT_MS = 20000; /* longer than the gateway's own budget */

/* The attempt whose outcome is unknown, or null. */
export function pending() {
    return store.get(NOTE);
}

/* A new attempt for `order` (the POST's body), or the pending one. */
export function begin(order) {
    const attempt = pending() ?? {key: newId(), order};

    store.put(NOTE, attempt);
    return attempt;
}

/* Returns the final answer; calls onRetry(answer, pause in ms) for those before it. */
export function settle(attempt, onRetry) {
    const options = {key: attempt.key, body: attempt.order, timeout: TIMEOUT_MS};

    return askUntilSettled('POST', '/v1/orders', options, onRetry);
}

/* Removes the note, once the outcome was shown. */
export function finish(attempt) {
    if (pending()?.key === attempt.key)
        store.remove(NOTE);
}

/* Calls back when another window begins an attempt. */
export function watch(began) {
    store.watch(NOTE, () => {
        if (pending() !== null)
            began();
    });
}
