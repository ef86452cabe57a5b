/* catalogue.js - what the shop sells: loaded, looked up, shown. */
import {askUntilSettled} from './api.js';
import {byId, element, reconcile, unseen} from './dom.js';
import {money} from './money.js';
import {picture} from './pictures.js';

const FEW = 10; /* pieces, from which on we say how many are left */

let products = new Map();
let loaded = () => {};

/* Calls whenever they were read. */
export function watchProducts(to) {
    loaded = to;
}

/* Reads the products again; the ones whose price changed, as {sku, was, now}. */
export async function loadProducts(tell) {
    const answer = await askUntilSettled('GET', '/v1/products', {}, tell);
    if (!answer.ok)
        return [];
    const before = products;
    products = new Map(answer.body.products.map(product => [product.sku, product]));
    loaded();
    return [...products.values()]
        .filter(now => before.has(now.sku) && before.get(now.sku).price_cents !== now.price_cents)
        .map(now => ({sku: now.sku, was: before.get(now.sku), now}));
}

/* The product, or undefined when it is not sold (any more). */
export function product(sku) {
    return products.get(sku);
}

export function title(sku) {
    return products.get(sku)?.title ?? sku;
}

function stockWords(available) {
    if (available <= 0)
        return 'Sold out';
    return available <= FEW ? `Only ${available} left` : 'In stock';
}

function makeCard(item, add) {
    return element('li', {class: 'product'},
        element('div', {class: 'frame'}, picture(item.sku), element('span', {class: 'in-cart'})),
        element('h3', {class: 'product-title'}),
        element('p', {class: 'product-stock'}),
        element('p', {class: 'product-price'}),
        element('button', {class: 'add', type: 'button', onclick: () => add(item.sku)},
            'Add to cart', unseen(` ${item.title}`)));
}

function fillCard(card, item, inCart) {
    const part = name => card.querySelector(name);
    const soldOut = item.available <= 0, few = !soldOut && item.available <= FEW;

    part('h3').textContent = item.title;
    part('.product-price').textContent = money(item.price_cents, item.currency);
    part('.product-stock').textContent = stockWords(item.available);
    part('.product-stock').classList.toggle('few', few);
    card.classList.toggle('sold-out', soldOut);
    part('button').setAttribute('aria-disabled', String(inCart >= item.available));
    part('.in-cart').textContent = inCart > 0 ? `${inCart} in cart` : '';
}

/* Shows them all; `quantityOf(sku)` is what is in the cart, add(sku) puts one more in. */
export function showProducts(quantityOf, add) {
    const list = byId('product-list');

    reconcile(list, [...products.values()], item => item.sku, item => makeCard(item, add),
        (card, item) => fillCard(card, item, quantityOf(item.sku)));
    list.setAttribute('aria-busy', 'false');
}
