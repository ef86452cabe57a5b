/* shop.js - the page: loads what is shown, and joins its parts. */
import * as attempts from './attempt.js';
import {addOne, showCart, watchCartBar} from './cart-view.js';
import * as cart from './cart.js';
import {
    loadMoreProducts, loadProducts, lookUpProducts, showProducts, watchProducts,
} from './catalogue.js';
import {clearNotice, isOrdering, placeOrder, resumeOrder, showButton} from './checkout.js';
import {announce, byId} from './dom.js';
import {loadOlderOrders, loadOrders} from './orders.js';
import {showCards} from './payment-cards.js';
import {hideReceipt} from './receipt.js';
import {delayedWords} from './words.js';

/* One line above the shop; empty: none. */
function banner(text) {
    byId('banner').hidden = text === ''; /* first: a hidden text is not read out */
    byId('banner').textContent = text;
}

function add(sku) {
    if (isOrdering()) {
        announce('Wait until your order is placed.');
        return;
    }
    hideReceipt();
    clearNotice();
    addOne(sku);
}

let ready = false; /* nothing can be put into a cart that is not known yet */

function show() {
    if (!ready)
        return;
    showProducts(cart.quantityOf, add);
    showCart();
    showButton();
    lookUpProducts(cart.cartLines().map(([sku]) => sku));
}

function listenToCart() {
    cart.listen({
        changed: show,
        saved: () => banner(''),
        delayed: answer => banner(delayedWords('Your cart is saved', answer)),
        lost: () => banner('Your cart was ordered from another window; here is a new one.'),
        refused: answer => banner(answer.status === 401
            ? 'You are not signed in, so the cart is not saved. Reload this page to sign in.'
            : `The cart could not be saved: ${answer.body.detail ?? 'the shop did not say why.'}`),
    });
    cart.watchCart();
    watchProducts(show);
}

function listenToPage() {
    byId('checkout').addEventListener('submit', event => {
        event.preventDefault();
        placeOrder();
    });
    byId('cart-lines').addEventListener('click', clearNotice);
    byId('cards').addEventListener('change', clearNotice);
    byId('receipt-close').addEventListener('click', () => {
        hideReceipt();
        byId('products').focus();
    });
    byId('products-more').addEventListener('click', () => loadMoreProducts());
    byId('orders-more').addEventListener('click', () => loadOlderOrders());
    attempts.watch(resumeOrder);
}

async function start() {
    const delayed = answer => banner(delayedWords('It is shown', answer));

    showCards();
    listenToCart();
    listenToPage();
    watchCartBar();
    const orders = loadOrders(delayed);
    await Promise.all([loadProducts(delayed), cart.loadCart(delayed)]);
    ready = true;
    show();
    await orders;
    banner('');
}

start();
resumeOrder();
