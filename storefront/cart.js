/*
 * cart.js - what the shopper means to buy.
 *
 * The cart is the gateway's; this browser only knows its name.  A change shows at once and
 * is saved behind it: one PUT at a time, always of the whole cart, so that the last one
 * carries the newest state and a repeated one does no harm.
 */
import {askUntilSettled} from './api.js';
import {newId} from './ids.js';
import * as store from './store.js';

const NOTE = 'shop.cart';
const MOST = 10000; /* of one product, at the gateway */

let id = null;
let lines = new Map(); /* quantity by SKU */
let unsaved = false;
let saving = null;     /* the promise of the PUT under way */
let refused = false;   /* the last PUT was */
let listener = null;

/*
 * changed(): show it.  saved(): the gateway has it.  delayed(answer): saving it takes several attempts.  lost(): it was
 * ordered elsewhere, and there is a new, empty one.  refused(answer): it cannot be saved.
 */
export function listen(to) {
    listener = to;
}

function adopt(name) {
    id = name;
    lines = new Map();
    unsaved = false;
    refused = false;
}

export async function loadCart(tell) {
    const name = store.get(NOTE);

    if (name === null) {
        store.put(NOTE, newId());
        adopt(store.get(NOTE));
        return undefined;
    }
    const answer = await askUntilSettled('GET', `/v1/carts/${name}`, {}, tell);
    if (store.get(NOTE) !== name)
        return loadCart(tell); /* ordered meanwhile */
    if (unsaved || saving !== null)
        return undefined; /* changed meanwhile: ours is newer */
    adopt(name);
    if (answer.ok)
        lines = new Map(answer.body.lines.map(line => [line.sku, line.quantity]));
    listener.changed();
    return undefined;
}

export function cartId() {
    return id;
}

/* [sku, quantity] pairs, in the order they were put in. */
export function cartLines() {
    return [...lines];
}

export function quantityOf(sku) {
    return lines.get(sku) ?? 0;
}

/* 0 takes it out. */
export function setQuantity(sku, quantity) {
    if (quantity > 0)
        lines.set(sku, Math.min(quantity, MOST));
    else
        lines.delete(sku);
    unsaved = true;
    saving ??= save();
    listener.changed();
}

async function save() {
    while (unsaved) {
        unsaved = false;
        const body = {lines: cartLines().map(([sku, quantity]) => ({sku, quantity}))};
        const answer = await askUntilSettled('PUT', `/v1/carts/${id}`, {body},
            listener.delayed);
        if (answer.code === 'cart_already_ordered') {
            startNewCart(id);
            listener.lost();
        } else {
            refused = !answer.ok;
            if (refused)
                listener.refused(answer);
            else
                listener.saved();
        }
    }
    saving = null;
}

/* Waits until nothing is on its way; whether the gateway has the cart as it is shown. */
export async function cartSaved() {
    while (saving !== null)
        await saving;
    return !refused;
}

/* After `ordered` was ordered: a new cart, unless there is one already. */
export function startNewCart(ordered) {
    const noted = store.get(NOTE);

    if (noted === ordered)
        store.put(NOTE, newId());
    if (id !== ordered)
        return;
    adopt(store.get(NOTE));
    listener.changed();
}

/* Another window has a new cart, or this one was not looked at for a while. */
export function watchCart() {
    store.watch(NOTE, () => loadCart());
    document.addEventListener('visibilitychange', () => {
        if (document.visibilityState === 'visible' && id !== null && saving === null)
            loadCart();
    });
}
