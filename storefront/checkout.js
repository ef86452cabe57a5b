/*
 * checkout.js - from the order button to a receipt, or to words about why not.
 *
 *   press ─► cart saved ─► attempt ─► settled ─┬─ 201 ────────────► receipt, a new cart
 *                             ▲                ├─ refused ────────► notice with what to do
 *           reload, another ──┘                └─ not signed in ──► notice; the attempt stays
 *           window
 *
 * There is one order at a time: while one is on its way, pressing does nothing.
 */
import * as attempts from './attempt.js';
import {announce, byId, element} from './dom.js';
import {cartId, cartLines, cartSaved, quantityOf, setQuantity, startNewCart} from './cart.js';
import {cartTotal} from './cart-view.js';
import {loadProducts, product, title} from './catalogue.js';
import {money} from './money.js';
import {loadOrders} from './orders.js';
import {chosenCard, focusCards} from './payment-cards.js';
import {hideReceipt, showReceipt} from './receipt.js';
import {lasting} from './store.js';
import {refusalWords, shortWords, waitingWords} from './words.js';

const LONG_MS = 1500; /* after which we say that it takes a while */

let busy = false;

export function isOrdering() {
    return busy;
}

/* ---- what is seen ---- */

export function showButton() {
    const button = byId('order'), total = cartTotal();

    button.setAttribute('aria-disabled', String(busy));
    button.textContent = busy ? 'Placing your order …'
        : total === null ? 'Place order' : `Place order · ${money(total.cents, total.currency)}`;
    byId('cart-lines').inert = busy;
    byId('cards').inert = busy;
}

function setBusy(on) {
    busy = on;
    showButton();
}

function progress(text) {
    byId('progress').textContent = text;
    if (text !== '')
        byId('progress').scrollIntoView({block: 'nearest'});
}

export function clearNotice() {
    byId('notice').hidden = true;
    byId('notice').replaceChildren();
}

/* What went wrong, and buttons for what to do: [label, onclick] each. */
function notice({title: heading, text}, actions = [], details = []) {
    byId('notice').hidden = false; /* first: a hidden text is not read out */
    byId('notice').replaceChildren(
        element('h3', {}, heading), element('p', {}, text),
        details.length > 0 ? element('ul', {}, ...details.map(one => element('li', {}, one))) : '',
        element('div', {class: 'actions'}, ...actions.map(([label, onclick]) =>
            element('button', {class: 'secondary', type: 'button', onclick}, label))));
    byId('notice').focus();
}

/* ---- refusals with something to do about them ---- */

function fitToStock(skus) {
    for (const sku of skus)
        setQuantity(sku, Math.min(quantityOf(sku), product(sku)?.available ?? 0));
    clearNotice();
    announce('The cart is adjusted to what there is.');
    (cartLines().length > 0 ? byId('order') : byId('cart-heading')).focus();
}

function refusedForStock(skus) {
    notice({
        title: 'Not everything is there',
        text: 'Nothing was ordered and nothing was charged.',
    }, [['Adjust the cart', () => fitToStock(skus)]], skus.map(shortWords));
}

function refusedForPrice(order, changed) {
    const total = cartTotal();
    const now = total === null ? '' : money(total.cents, total.currency);
    const was = total === null ? '' : money(order.expected_total_cents, total.currency);
    const details = changed.map(({sku, was: old, now: item}) => `${title(sku)}: ` +
        `${money(old.price_cents, old.currency)} before, ` +
        `${money(item.price_cents, item.currency)} now`);

    notice({
        title: 'The price has changed',
        text: `You agreed to ${was}. The total is now ${now}. Nothing was ordered; ` +
            'do you want it for the new price?',
    }, [
        [`Order for ${now}`, placeOrder],
        ['Back to the cart', () => {
            clearNotice();
            byId('cart-heading').focus();
        }],
    ], details);
}

async function refused(answer, order) {
    const changed = (await loadProducts()).filter(({sku}) => quantityOf(sku) > 0);
    const words = refusalWords(answer, order);

    switch (answer.code) {
    case 'out_of_stock':
    case 'unknown_sku':
        refusedForStock(answer.body.skus ?? []);
        break;
    case 'price_changed':
        refusedForPrice(order, changed);
        break;
    case 'payment_declined':
    case 'payment_failed':
        notice(words, [['Choose another card', () => {
            clearNotice();
            focusCards();
        }]]);
        break;
    case 'cart_already_ordered':
        await loadOrders();
        notice(words, [['Start a new cart', () => {
            clearNotice();
            startNewCart(order.cart_id);
            byId('cart-heading').focus();
        }]]);
        break;
    default:
        notice(words);
    }
}

/* ---- one order ---- */

async function placed(order, attempt) {
    startNewCart(attempt.order.cart_id); /* first: a reload from here on asks once more */
    attempts.finish(attempt);
    progress('');
    clearNotice();
    showReceipt(order);
    await Promise.all([loadProducts(), loadOrders()]);
}

async function settle(attempt) {
    const timer = setTimeout(() => progress('The bank is taking its time. ' + (lasting
        ? 'You may close or reload this page: the order is placed once, and only once.'
        : 'Please leave this page open.')), LONG_MS);
    const answer = await attempts.settle(attempt, (unsettled, ms) => {
        clearTimeout(timer);
        progress(waitingWords(unsettled, ms));
    });

    clearTimeout(timer);
    progress('');
    if (answer.ok)
        return placed(answer.body, attempt);
    if (answer.status === 401)
        return notice(refusalWords(answer, attempt.order),
            [['Sign in again', () => location.reload()]]);
    attempts.finish(attempt);
    return refused(answer, attempt.order);
}

/* Runs `work`, unless an order is on its way. */
async function exclusively(work) {
    if (busy)
        return;
    setBusy(true);
    clearNotice();
    try {
        await work();
    } finally {
        setBusy(false);
    }
}

/* The order button. */
export function placeOrder() {
    return exclusively(async () => {
        progress('Placing your order …');
        if (!await cartSaved() || cartLines().length === 0)
            return progress(''); /* it could not be saved, or was ordered elsewhere */
        const total = cartTotal();
        return settle(attempts.begin({
            cart_id: cartId(),
            payment_method_id: chosenCard(),
            ...total !== null && {expected_total_cents: total.cents},
        }));
    });
}

/* Goes on with the order whose outcome is not known: after a reload, or when another
 * window has begun one. */
export function resumeOrder() {
    const attempt = attempts.pending();

    if (attempt === null)
        return undefined;
    return exclusively(() => {
        hideReceipt();
        progress('Your last order is still on its way; asking what became of it …');
        return settle(attempt);
    });
}
