/*
 * cart.js - what the shopper means to buy.
 *
 * The cart is the gateway's; this browser only knows its name.  `told` is what the gateway
 * said of it last, `wanted` what is shown.  A change shows at once and is saved behind it:
 *
 *     change ─► shown ─► PUT, if the cart is as told ─┬─ 200 ─► told; other windows hear of it
 *                                                     ├─ 412 ─► shown as it is instead
 *                                                     └─ 409 ─► it was ordered; a new cart
 *
 * so that no window replaces what it did not show.  One request is on its way at a time.  The
 * cart is read again when another window has changed it, and when this one comes into sight.
 */
import {askUntilSettled} from './api.js';
import {product, title} from './catalogue.js';
import {newId} from './ids.js';
import * as store from './store.js';

const NOTE = 'shop.cart';
const MOST = 10000; /* of one product, at the gateway */

let id = null;
let told;               /* the gateway's cart; null: there is none yet; undefined: not read */
let wanted = new Map(); /* quantity by SKU */
let unsaved = false;    /* `wanted` has yet to be sent */
let saving = false;     /* it was sent, and is not answered */
let stale = false;      /* the cart has to be read */
let working = null;     /* the promise that there is none of these */
let refused = false;    /* the last PUT was */
let listener = null;
let tellOthers = () => {};

/*
 * changed(): show it.  delayed(what, answer): that takes several attempts.  settled(saved):
 * the gateway has answered; saved: it has the cart.  followed(changes): the cart was not as
 * shown, and now is.  overtaken(changes): the same, and a change of this window is dropped.
 * ordered(order id, cart): that cart was ordered elsewhere, and there is a new one; without an
 * order id: it is being ordered and cannot be changed.  refused(answer): it cannot be saved.
 */
export function listen(to) {
    listener = to;
}

/* ---- as it is shown ---- */

export function cartId() {
    return id;
}

/* Names the lines that are shown, once they are saved. */
export function cartTag() {
    return told.etag;
}

export function quantityOf(sku) {
    return wanted.get(sku) ?? 0;
}

/* What one of it costs: as the cart was told, and by the list of products until it is. */
function lineOf(sku, quantity) {
    const line = told?.lines.find(one => one.sku === sku), item = product(sku);

    if (line !== undefined)
        return {...line, quantity, title: line.title ?? title(sku)};
    return item === undefined ? {sku, quantity, title: title(sku)} : {
        sku, quantity, known: true, title: item.title, unit_price_cents: item.price_cents,
        currency: item.currency, available: item.available,
    };
}

/* Lines like the gateway's, in the order they were put in; those without `known` have no
 * price that could be told. */
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

/* {cents, currency} as the gateway says, or as it will once the cart is saved; null when it
 * cannot be told. */
export function cartTotal() {
    if (unsaved || saving)
        return sumOf(cartLines());
    return told?.total_cents === undefined ? null
        : {cents: told.total_cents, currency: told.currency};
}

/* Lines by SKU; of one SKU there may be several. */
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

/* What differs between two carts' lines: {was, now}, undefined where it is not in the cart. */
export function differences(before, after) {
    const was = bySku(before), now = bySku(after);

    return [...new Set([...was.keys(), ...now.keys()])]
        .map(sku => ({was: was.get(sku), now: now.get(sku)}))
        .filter(change => differ(change.was, change.now));
}

/* ---- to and from the gateway ---- */

/* Shows the cart as it was told; what differs from what was told before. */
function accept(cart) {
    const before = told;

    told = cart;
    unsaved = false;
    wanted = new Map(Array.from(bySku(cart.lines), ([sku, line]) => [sku, line.quantity]));
    listener.changed();
    return before === undefined ? [] : differences(before?.lines ?? [], cart.lines);
}

function adopt(name, isNew) {
    id = name;
    told = isNew ? null : undefined;
    wanted = new Map();
    unsaved = refused = false;
    stale = !isNew;
    work();
    listener.changed();
}

function saved(cart) {
    const shown = cartLines();

    if (unsaved)
        told = cart; /* and the next PUT goes at once */
    else
        accept(cart);
    tellOthers({cart: id, etag: cart.etag});
    const changes = differences(shown, cartLines()); /* prices */
    if (changes.length > 0)
        listener.followed(changes);
}

/* It was ordered elsewhere, or is being ordered: then nothing can be changed. */
function wasOrdered(order) {
    const name = id;

    if (order !== undefined) {
        startNewCart(name);
    } else {
        refused = stale = true;
        unsaved = false;
        told = undefined; /* so that it is read in full, and shown as it is */
    }
    listener.ordered(order, name);
}

function notSaved(answer) {
    if (answer.status === 412 && answer.body.cart === null) {
        told = null; /* long forgotten: it is made again */
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
        headers: told ? {'If-Match': told.etag} : {'If-None-Match': '*'},
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
    const answer = await request('GET', {headers: told ? {'If-None-Match': told.etag} : {}});
    if (name !== id)
        return;
    listener.settled(false);
    if (unsaved)
        return; /* changed meanwhile: the PUT tells */
    if (answer.ok) {
        const changes = accept(answer.body);
        if (changes.length > 0)
            listener.followed(changes);
    } else if (answer.status === 404) {
        told = null;
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

/* ---- what others call ---- */

/* The cart of this browser, as it is; a new one, if there is none. */
export function loadCart() {
    const noted = store.get(NOTE);

    if (noted === null)
        store.put(NOTE, newId());
    adopt(store.get(NOTE), noted === null);
    return idle();
}

/* 0 takes it out. */
export function setQuantity(sku, quantity) {
    if (quantity > 0)
        wanted.set(sku, Math.min(quantity, MOST));
    else
        wanted.delete(sku);
    unsaved = true;
    work();
    listener.changed();
}

/* Waits until nothing is on its way; whether the gateway has the cart as it is shown. */
export async function cartSaved() {
    if (refused) {
        unsaved = true; /* perhaps it is taken now */
        work();
    }
    await idle();
    return !refused;
}

/* Reads it again, and waits until it is shown. */
export function lookAgain() {
    stale = true;
    work();
    return idle();
}

/* After `ordered` was ordered: a new cart, unless there is one already. */
export function startNewCart(ordered) {
    const noted = store.get(NOTE), isNew = noted === ordered || noted === null;

    if (isNew)
        store.put(NOTE, newId());
    if (id === ordered)
        adopt(store.get(NOTE), isNew);
}

/* ---- other windows ---- */

/*
 * The note is not of our cart: another window has ordered ours and has a new one.  A PUT of
 * what is there already changes nothing, and tells whether it was ordered, and by which order.
 */
function followNote() {
    const noted = store.get(NOTE);

    if (id === null)
        return; /* not read yet */
    if (noted === null)
        store.put(NOTE, id); /* somebody removed all notes */
    else if (noted !== id && wanted.size === 0)
        adopt(noted, false);
    else if (noted !== id)
        unsaved = true;
    work();
}

export function watchCart() {
    tellOthers = store.openChannel(NOTE, message => {
        if (message.cart === id && message.etag !== told?.etag)
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
