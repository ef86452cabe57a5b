/*
 * shop.js - the page: loads the data and connects the modules.
 *
 * The folder is one page without a build step: index.html, shop.css, pictures/, and modules.  The
 * gateway serves every file from memory, under a Content-Security-Policy without other origins,
 * inline scripts or text that becomes HTML.
 *
 *     state     cart.js, attempt.js (the pending order), store.js (browser storage)
 *     requests  api.js: which are retried, and when
 *     display   catalogue, cart-view, checkout, receipt, orders, payment-cards; dom, money, words
 *
 * An order's idempotency key is stored before the first request and kept until the outcome is
 * final; the order is what was shown.  Tests: test/browser.
 */
import * as attempts from './attempt.js';
import {addOne, showCart, watchCartBar} from './cart-view.js';
import * as cart from './cart.js';
import {loadMoreProducts, loadProducts, showProducts, watchProducts} from './catalogue.js';
import {
    clearNotice, isOrdering, placeOrder, resumeOrder, showButton, showOrderedElsewhere,
} from './checkout.js';
import {announce, banner, byId} from './dom.js';
import {loadOlderOrders, loadOrders, openOrder} from './orders.js';
import {showCards} from './payment-cards.js';
import {hideReceipt} from './receipt.js';
import * as store from './store.js';
import {delayedWords, followedWords, overtakenWords} from './words.js';

function add(sku) {
    if (isOrdering()) {
        announce('Wait until your order is placed.');
        return;
    }
    hideReceipt();
    clearNotice();
    addOne(sku);
}

let ready = false; /* the cart is loaded, so products can be added */

function show() {
    if (!ready)
        return;
    showProducts(cart.quantityOf, add);
    showCart();
    showButton();
}

let late = false; /* the banner says that a request is being retried */

function showDelay(what, answer) {
    late = true;
    banner(delayedWords(what, answer));
}

function endDelay() {
    if (late)
        banner('');
    late = false;
}

/* The cart was replaced; while an order is pending, checkout.js reports that. */
function showChanges(words) {
    if (!isOrdering())
        banner(words);
    loadProducts(); /* prices and stock may have changed, too */
}

function listenToCart() {
    cart.listen({
        changed: show,
        delayed: showDelay,
        settled: saved => saved ? banner('') : endDelay(),
        followed: changes => showChanges(followedWords(changes)),
        overtaken: changes => showChanges(overtakenWords(changes)),
        ordered: (order, name) => order === undefined
            ? banner('The cart is just being ordered in another window, and cannot be changed.')
            : showOrderedElsewhere(order, name),
        refused: answer => banner(answer.status === 401
            ? 'You are not signed in, so the cart is not saved. Reload this page to sign in.'
            : `The cart could not be saved: ${answer.body.detail ?? 'the shop did not say why.'}`),
    });
    cart.watchCart();
    watchProducts(show);
}

/* Explains that the browser stores nothing. */
function listenToStore() {
    store.watchLasting(() => {
        byId('memory').hidden = false;
        byId('memory').textContent = 'Your browser keeps no data for this shop: its storage is ' +
            'full or blocked. Your cart is in this window alone; do not close or reload it ' +
            'before you have your receipt.';
    });
    store.probe();
}

function listenToPage() {
    byId('checkout').addEventListener('submit', event => {
        event.preventDefault();
        placeOrder();
    });
    byId('cart-lines').addEventListener('click', clearNotice);
    byId('cards').addEventListener('change', clearNotice);
    byId('banner-close').addEventListener('click', () => banner(''));
    byId('receipt-close').addEventListener('click', () => {
        hideReceipt();
        banner('');
        byId('products').focus();
    });
    byId('products-more').addEventListener('click', () => loadMoreProducts());
    byId('orders-more').addEventListener('click', () => loadOlderOrders());
    window.addEventListener('hashchange', openOrder);
    attempts.watch(resumeOrder);
}

async function start() {
    const delayed = answer => showDelay('It is shown', answer);

    listenToStore();
    showCards();
    listenToCart();
    listenToPage();
    watchCartBar();
    const orders = loadOrders(delayed);
    await Promise.all([loadProducts(delayed), cart.loadCart()]);
    ready = true;
    show();
    await orders;
    endDelay();
}

start();
resumeOrder();
