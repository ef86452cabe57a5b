/*
 * cart.js - the shopper's cart.
 *
 * The gateway stores the cart; the browser only stores its id.  `stored` is the gateway's latest
 * version, `wanted` is what is shown.  A change is shown at once and saved afterwards:
 *
 *     change ─► shown ─► PUT If-Match the stored tag ─┬─ 200 ─► stored; other windows are notified
 *                                                     ├─ 412 ─► the gateway's cart is shown
 *                                                     └─ 409 ─► already ordered; a new cart
 *
 * so no window overwrites a cart it did not show.  One request runs at a time.  The cart is read
 * again when another window has changed it, and when this window becomes visible.
 */
import {askUntilSettled} from './api.js';
import {product, title} from './catalogue.js';
import {newId} from './ids.js';
import * as store from './store.js';

const NOTE = 'shop.cart';
const MOST = 10000; /* of one product, at the gateway */

let id = null;
let stored;               /* the gateway's cart; null: none yet; undefined: not read */
let wanted = new Map(); /* quantity by SKU */
let unsaved = false;    /* `wanted` is not sent yet */
let saving = false;     /* it was sent and is not answered */
let stale = false;      /* the cart must be read */
let working = null;     /* the promise that the three above are done */
let refused = false;    /* the last PUT was refused */
let listener = null;
let notifyOthers = () => {};

/*
 * Callbacks.  changed(): render.  delayed(what, answer): a request is being retried.
 * settled(saved): the gateway has answered; saved: it has the cart.  followed(changes): the shown
 * cart was updated to the gateway's.  overtaken(changes): the same, and a change of this window was
 * dropped.  ordered(order id, cart): another window ordered the cart, and there is a new one;
 * without an order id: it is being ordered and cannot be changed.  refused(answer): it cannot be
 * saved.
 */
export function listen(to) {
    listener = to;
}

/* ---- the shown cart ---- */

export function cartId() {
    return id;
}

/* The version of the shown lines, once they are saved. */
export function cartTag() {
    return stored.etag;
}

export function quantityOf(sku) {
    return wanted.get(sku) ?? 0;
}

/* Unit price: from the gateway's cart, or else from the list of products. */
function lineOf(sku, quantity) {
    const line = stored?.lines.find(one => one.sku === sku), item = product(sku);

    if (line !== undefined)
        return {...line, quantity, title: line.title ?? title(sku)};
    return item === undefined ? {sku, quantity, title: title(sku)} : {
        sku, quantity, known: true, title: item.title, unit_price_cents: item.price_cents,
        currency: item.currency, available: item.available,
    };
}

/* Lines like the gateway's, in the order of adding; without `known` the price is unknown. */
export function cartLines() {
    return Array.from(wanted, ([sku, quantity]) => lineOf(sku, quantity));
}

function sumOf(lines) {
    const currency = lines[0]?.currency;

    if (currency === undefined || lines.some(line => line.currency !== currency))
        return null;
    return {
        cents: lines.reduce((sum, line) => sum + line.quantity * line.unit_price_cents, 0),
        currency,
    };
}

/* {cents, currency} of the gateway's cart, or as expected after saving; null when unknown. */
export function cartTotal() {
    if (unsaved || saving)
        return sumOf(cartLines());
    return stored?.total_cents === undefined ? null
        : {cents: stored.total_cents, currency: stored.currency};
}

/* Lines by SKU; a SKU may have several. */
function bySku(lines) {
    const all = new Map();

    for (const line of lines)
        all.set(line.sku, {...line, quantity: line.quantity + (all.get(line.sku)?.quantity ?? 0)});
    return all;
}

function differ(was, now) {
    return was?.quantity !== now?.quantity || was.known === true && now.known === true &&
        (was.unit_price_cents !== now.unit_price_cents || was.currency !== now.currency);
}

/* Differences between two carts' lines: {was, now}; undefined where the SKU is missing. */
export function differences(before, after) {
    const was = bySku(before), now = bySku(after);

    return [...new Set([...was.keys(), ...now.keys()])]
        .map(sku => ({was: was.get(sku), now: now.get(sku)}))
        .filter(change => differ(change.was, change.now));
}

/* ---- to and from the gateway ---- */

/* Shows the gateway's cart; returns what changed since its previous version. */
function accept(cart) {
    const before = stored;

    stored = cart;
    unsaved = false;
    wanted = new Map(Array.from(bySku(cart.lines), ([sku, line]) => [sku, line.quantity]));
    listener.changed();
    return before === undefined ? [] : differences(before?.lines ?? [], cart.lines);
}

function adopt(name, isNew) {
    id = name;
    stored = isNew ? null : undefined;
    wanted = new Map();
    unsaved = refused = false;
    stale = !isNew;
    work();
    listener.changed();
}

function saved(cart) {
    const shown = cartLines();

    if (unsaved)
        stored = cart; /* and the next PUT goes at once */
    else
        accept(cart);
    notifyOthers({cart: id, etag: cart.etag});
    const changes = differences(shown, cartLines()); /* prices */
    if (changes.length > 0)
        listener.followed(changes);
}

/* Ordered elsewhere, or being ordered: it cannot be changed. */
function wasOrdered(order) {
    const name = id;

    if (order !== undefined) {
        startNewCart(name);
    } else {
        refused = stale = true;
        unsaved = false;
        stored = undefined; /* so that it is read in full and shown */
    }
    listener.ordered(order, name);
}

function notSaved(answer) {
    if (answer.status === 412 && answer.body.cart === null) {
        stored = null; /* expired: it is created again */
        unsaved = true;
    } else if (answer.status === 412) {
        listener.overtaken(accept(answer.body.cart));
    } else if (answer.code === 'cart_already_ordered') {
        wasOrdered(answer.body.order_id);
    } else {
        refused = true;
        listener.refused(answer);
    }
}

function request(method, options) {
    const what = method === 'PUT' ? 'Your cart is saved' : 'Your cart is shown';

    return askUntilSettled(method, `/v1/carts/${id}`, options,
        answer => listener.delayed(what, answer));
}

async function save() {
    const name = id;
    const lines = Array.from(wanted, ([sku, quantity]) => ({sku, quantity}));

    unsaved = stale = refused = false;
    saving = true;
    const answer = await request('PUT', {
        body: {lines},
        headers: stored ? {'If-Match': stored.etag} : {'If-None-Match': '*'},
    });
    saving = false;
    if (name !== id)
        return;
    listener.settled(answer.ok);
    if (answer.ok)
        saved(answer.body);
    else
        notSaved(answer);
}

async function read() {
    const name = id;

    stale = false;
    const answer = await request('GET', {headers: stored ? {'If-None-Match': stored.etag} : {}});
    if (name !== id)
        return;
    listener.settled(false);
    if (unsaved)
        return; /* changed meanwhile: the PUT will show */
    if (answer.ok) {
        const changes = accept(answer.body);
        if (changes.length > 0)
            listener.followed(changes);
    } else if (answer.status === 404) {
        stored = null;
        unsaved = wanted.size > 0;
    }
}

function work() {
    if (unsaved || stale)
        working ??= workOff();
}

async function workOff() {
    while (unsaved || stale)
        await (unsaved ? save() : read());
    working = null;
}

async function idle() {
    while (working !== null)
        await working;
}

/* ---- the interface ---- */

/* Reads the cart of this browser, or starts a new one. */
export function loadCart() {
    const noted = store.get(NOTE);

    if (noted === null)
        store.put(NOTE, newId());
    adopt(store.get(NOTE), noted === null);
    return idle();
}

/* 0 removes it. */
export function setQuantity(sku, quantity) {
    if (quantity > 0)
        wanted.set(sku, Math.min(quantity, MOST));
    else
        wanted.delete(sku);
    unsaved = true;
    work();
    listener.changed();
}

/* Waits until no request is pending; returns whether the gateway has the shown cart. */
export async function cartSaved() {
    if (refused) {
        unsaved = true; /* it may be accepted now */
        work();
    }
    await idle();
    return !refused;
}

/* Reads the cart again and waits until it is shown. */
export function lookAgain() {
    stale = true;
    work();
    return idle();
}

/* After `ordered` was ordered: starts a new cart, unless there is one already. */
export function startNewCart(ordered) {
    const noted = store.get(NOTE), isNew = noted === ordered || noted === null;

    if (isNew)
        store.put(NOTE, newId());
    if (id === ordered)
        adopt(store.get(NOTE), isNew);
}

/* ---- other windows ---- */

/*
 * The note names another cart: another window has ordered ours and has a new one.  A PUT of the
 * unchanged lines changes nothing, and its answer says whether, and by which order, it was ordered.
 */
function followNote() {
    const noted = store.get(NOTE);

    if (id === null)
        return; /* not read yet */
    if (noted === null)
        store.put(NOTE, id); /* all notes were removed */
    else if (noted !== id && wanted.size === 0)
        adopt(noted, false);
    else if (noted !== id)
        unsaved = true;
    work();
}

export function watchCart() {
    notifyOthers = store.openChannel(NOTE, message => {
        if (message.cart === id && message.etag !== stored?.etag)
            lookAgain();
    });
    store.watch(NOTE, followNote);
    document.addEventListener('visibilitychange', () => {
        if (document.visibilityState !== 'visible' || id === null)
            return;
        followNote();
        lookAgain();
    });
}
