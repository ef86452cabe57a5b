/*
 * attempt.js - one click, one order: the note of an order whose outcome is not known yet.
 *
 *     begin ── written down ──► settle ── asked, and asked again with the same key ──► finish
 *                                  ▲                                                     │
 *                reload, crash ────┘                          the key is spent, forgotten
 *
 * The note (key, cart, payment method, what was shown of cart and total) is written before
 * the first POST and stays until the outcome is final, so that whatever happens to the
 * network, the gateway or this page, the question asked next is the same question.  There is
 * one note for all windows: a second window joins the order of the first instead of placing
 * another.  Where the browser keeps no notes it is this window's alone, and ends with it.
 */
import {askUntilSettled} from './api.js';
import {newId} from './ids.js';
import * as store from './store.js';

const NOTE = 'shop.attempt';
const TIMEOUT_MS = 20000; /* longer than the gateway's own budget */

/* The attempt whose outcome is not known, or null. */
export function pending() {
    return store.get(NOTE);
}

/* A new attempt for `order` (the POST's body), or the pending one. */
export function begin(order) {
    const attempt = pending() ?? {key: newId(), order};

    store.put(NOTE, attempt);
    return attempt;
}

/* The final answer; tell(answer, pause in ms) hears of those before it. */
export function settle(attempt, tell) {
    const options = {key: attempt.key, body: attempt.order, timeout: TIMEOUT_MS};

    return askUntilSettled('POST', '/v1/orders', options, tell);
}

/* Forgets it, once the outcome was taken note of. */
export function finish(attempt) {
    if (pending()?.key === attempt.key)
        store.remove(NOTE);
}

/* Calls when another window begins an attempt. */
export function watch(began) {
    store.watch(NOTE, () => {
        if (pending() !== null)
            began();
    });
}
