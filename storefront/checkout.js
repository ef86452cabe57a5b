/*
 * checkout.js - from the order button to a receipt or a refusal.
 *
 *   press ─► cart saved ─► attempt ─► settled ─┬─ 201 ────────────► receipt, a new cart
 *                 │           ▲                ├─ refused ────────► notice with what to do
 *   not as shown ─┘           │                └─ not signed in ──► notice; the attempt stays
 *   when pressed: notice   reload, another window
 *
 * The order is what was shown when the button was pressed: the lines by their version, the total
 * and the currency.  If the cart differs, the shopper sees what changed and presses again.  While
 * an order is pending, pressing does nothing.
 */
import * as attempts from './attempt.js';
import {announce, banner, byId, element} from './dom.js';
import {
    cartId, cartLines, cartSaved, cartTag, cartTotal, differences, lookAgain, quantityOf,
    setQuantity, startNewCart,
} from './cart.js';
import {totalWords} from './cart-view.js';
import {loadProducts} from './catalogue.js';
import {money} from './money.js';
import {loadOrders, readOrder} from './orders.js';
import {chosenCard, focusCards} from './payment-cards.js';
import {hideReceipt, showReceipt} from './receipt.js';
import {lasting} from './store.js';
import {
    changeWords, linesChanged, mayTryAgain, moneyWords, refusalWords, shortWords, waitingWords,
} from './words.js';

const LONG_MS = 1500; /* then a message says that it takes a while */

let busy = false;
let settling = false; /* an attempt is pending and will show its outcome */

export function isOrdering() {
    return busy;
}

/* ---- display ---- */

export function showButton() {
    const button = byId('order'), total = totalWords();

    button.setAttribute('aria-disabled', String(busy));
    button.textContent = busy ? 'Placing your order …'
        : total === '' ? 'Place order' : `Place order · ${total}`;
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

/* An error, and buttons for what to do: [label, onclick] each. */
function notice({title: heading, text}, actions = [], details = []) {
    byId('notice').hidden = false; /* first: screen readers skip hidden text */
    byId('notice').replaceChildren(
        element('h3', {}, heading), element('p', {}, text),
        details.length > 0 ? element('ul', {}, ...details.map(one => element('li', {}, one))) : '',
        element('div', {class: 'actions'}, ...actions.map(([label, onclick]) =>
            element('button', {class: 'secondary', type: 'button', onclick}, label))));
    byId('notice').focus();
}

/* ---- refusals that the shopper can act on ---- */

function backToCart() {
    clearNotice();
    byId('cart-heading').focus();
}

function chooseCard() {
    clearNotice();
    focusCards();
}

function fitToStock(short) {
    for (const {sku, known, available} of short)
        if (known !== undefined)
            setQuantity(sku, Math.min(quantityOf(sku), available ?? 0));
    clearNotice();
    announce('The cart is adjusted to what there is.');
    (cartLines().length > 0 ? byId('order') : byId('cart-heading')).focus();
}

/* `charged`: the sentence of moneyWords. */
function refusedForStock(skus, charged) {
    const short = cartLines().filter(({sku}) => skus.includes(sku));

    notice({
        title: 'Not everything is there',
        text: `Nothing was ordered. ${charged}`.trim(),
    }, [['Adjust the cart', () => fitToStock(short)]], short.map(shortWords));
}

function againActions() {
    const total = totalWords();
    return [
        ...total === '' ? [] : [[`Order for ${total}`, placeOrder]],
        ['Back to the cart', backToCart],
    ];
}

/* `agreed`: the accepted total; undefined in an attempt of an earlier version of this page. */
function refusedForPrice(agreed, charged, changes) {
    const now = totalWords();
    const before = agreed === undefined ? ''
        : `You agreed to ${money(agreed.cents, agreed.currency)}. `;

    notice({
        title: 'The price has changed',
        text: before + (now === ''
            ? `The new price is not available. Nothing was ordered. ${charged}`.trim()
            : `The total is now ${now}. ${charged} Nothing was ordered; do you want it for the ` +
                'new price?'),
    }, againActions(), changes.map(changeWords));
}

function refusedForCart(changes) {
    notice({
        title: 'The cart has changed',
        text: 'It was changed in another window, so nothing was ordered. This is the cart as it ' +
            'is now; look at it, and order it if you want it so.',
    }, againActions(), changes.map(changeWords));
}

/* No total was shown, so none was accepted. */
async function refusedForTotal() {
    await lookAgain();
    const now = totalWords();
    const gone = cartLines().filter(line => line.known === false).map(line => line.sku);

    if (now !== '')
        notice({
            title: 'Now the price is known',
            text: `The total is ${now}. Nothing was ordered yet; do you want it for that?`,
        }, againActions());
    else if (gone.length > 0)
        refusedForStock(gone, '');
    else if (cartLines().every(line => line.known))
        notice(refusalWords({code: 'failed_precondition', body: {}}, {}));
    else
        notice({
            title: 'The price is not available',
            text: 'The shop cannot determine the price just now, so nothing was ordered. ' +
                'Try again in a moment.',
        });
}

/* `shown`: the lines that the shopper saw; undefined after a reload. */
async function refused(answer, order, shown) {
    const words = refusalWords(answer, order), {body} = answer;

    if (body.order_id !== undefined) {
        await orderedElsewhere(body.order_id, order.cart_id);
        return byId('receipt-heading').focus();
    }
    await Promise.all([loadProducts(), lookAgain()]);
    const changes = shown === undefined ? [] : differences(shown, cartLines());

    switch (answer.code) {
    case 'out_of_stock':
    case 'unknown_sku':
        return refusedForStock(body.skus ?? [], moneyWords(answer));
    case 'cart_changed':
        return refusedForCart(changes);
    case 'price_changed':
        return refusedForPrice(order.expected_currency === undefined ? undefined
            : {cents: order.expected_total_cents, currency: order.expected_currency},
        moneyWords(answer), changes);
    case 'payment_declined':
        return notice(words, [
            ...mayTryAgain(answer) ? [['Try this card again', placeOrder]] : [],
            ['Choose another card', chooseCard],
        ]);
    default:
        return notice(words);
    }
}

/* ---- one order ---- */

async function ordered(order, heading, text) {
    progress('');
    clearNotice();
    showReceipt(order, heading, text);
    await Promise.all([loadProducts(), loadOrders()]);
}

async function placed(order, attempt) {
    startNewCart(attempt.order.cart_id); /* first: a reload after this repeats the request */
    attempts.finish(attempt);
    const done = ordered(order, 'Thank you, it is ordered', '');
    byId('receipt-heading').focus();
    await done;
}

/* Another window ordered `cart`. */
async function orderedElsewhere(orderId, cart) {
    startNewCart(cart);
    const order = await readOrder(orderId);

    if (order === undefined) {
        banner(`The cart was ordered in another window, as order ${orderId}; here is a new one.`);
    } else {
        banner('The cart was ordered in another window. The receipt is shown instead.');
        await ordered(order, 'Ordered in another window', 'This cart was ordered there, and is ' +
            'not ordered again. What you add now goes into a new cart.');
    }
}

/* The same in the background, unless an order is pending. */
export function showOrderedElsewhere(orderId, cart) {
    return settling ? undefined : orderedElsewhere(orderId, cart);
}

async function askUntilPlaced(attempt) {
    const timer = setTimeout(() => progress('The bank is taking its time. ' + (lasting()
        ? 'You may close or reload this page: the order is placed once, and only once.'
        : 'Please leave this page open.')), LONG_MS);

    settling = true;
    try {
        return await attempts.settle(attempt, (unsettled, ms) => {
            clearTimeout(timer);
            progress(waitingWords(unsettled, ms));
        });
    } finally {
        settling = false;
        clearTimeout(timer);
        progress('');
    }
}

async function settle(attempt, shown) {
    const answer = await askUntilPlaced(attempt);

    if (answer.ok)
        return placed(answer.body, attempt);
    if (answer.status === 401)
        return notice(refusalWords(answer, attempt.order),
            [['Sign in again', () => location.reload()]]);
    attempts.finish(attempt);
    return refused(answer, attempt.order, shown);
}

/* Runs `work`, unless an order is pending. */
async function exclusively(work) {
    if (busy)
        return;
    setBusy(true);
    clearNotice();
    banner('');
    try {
        await work();
    } finally {
        setBusy(false);
    }
}

/* Saves the cart and orders it, if it is still the one shown. */
async function placeShown(cart, lines, total) {
    progress('Placing your order …');
    const saved = await cartSaved();
    progress('');
    if (!saved || cartId() !== cart)
        return undefined; /* the reason is shown already */
    const changes = differences(lines, cartLines()), now = cartTotal();
    if (linesChanged(changes))
        return refusedForCart(changes);
    if (total === null || now === null)
        return refusedForTotal();
    if (now.cents !== total.cents || now.currency !== total.currency)
        return refusedForPrice(total, changes);
    progress('Placing your order …');
    return settle(attempts.begin({
        cart_id: cart,
        payment_method_id: chosenCard(),
        expected_cart: cartTag(),
        expected_total_cents: total.cents,
        expected_currency: total.currency,
    }), lines);
}

/* The order button. */
export function placeOrder() {
    const lines = cartLines();
    return lines.length === 0 ? undefined
        : exclusively(() => placeShown(cartId(), lines, cartTotal()));
}

/* Resumes the order whose outcome is unknown: after a reload, or when another window has begun
 * one. */
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
