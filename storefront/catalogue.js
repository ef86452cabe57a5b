/* catalogue.js - the list of products, as many pages as the shopper has loaded. */
import {askUntilSettled} from './api.js';
import {byId, element, reconcile, unseen} from './dom.js';
import {money} from './money.js';
import {picture} from './pictures.js';

const FEW = 10;   /* pieces; up to this the remaining number is shown */
const PAGE = 48;  /* products per page */
const MOST = 100; /* products per request */

let products = new Map(); /* by SKU: the loaded products */
let next = null;          /* the cursor of the next page */
let loaded = () => {};
let turn = Promise.resolve();

/* Calls back after each load. */
export function watchProducts(to) {
    loaded = to;
}

/* One load at a time, so that none overwrites a newer one. */
function inTurn(work) {
    turn = turn.then(work, work);
    return turn;
}

async function read(query, onRetry) {
    const answer = await askUntilSettled(
        'GET', `/v1/products?${new URLSearchParams(query)}`, {}, onRetry);
    return answer.ok ? answer.body : null;
}

function bySku(found) {
    return new Map(found.map(product => [product.sku, product]));
}

/* `count` products from a cursor: {found, next}, or null. */
async function readList(count, cursor, onRetry) {
    const found = [];

    do {
        const limit = Math.min(count - found.length, MOST);
        const page = await read({limit, ...cursor !== null && {cursor}}, onRetry);
        if (page === null)
            return null;
        found.push(...page.products);
        cursor = page.next_cursor;
    } while (cursor !== null && found.length < count);
    return {found, next: cursor};
}

/* Reloads as many products as are listed. */
export function loadProducts(onRetry) {
    return inTurn(async () => {
        const list = await readList(Math.max(products.size, PAGE), null, onRetry);
        if (list === null)
            return;
        products = bySku(list.found);
        next = list.next;
        loaded();
    });
}

/* The next page; the focus goes to its first product. */
export function loadMoreProducts(onRetry) {
    return inTurn(async () => {
        const list = next === null ? null : await readList(PAGE, next, onRetry);
        if (list === null)
            return;
        products = new Map([...products, ...bySku(list.found)]);
        next = list.next;
        loaded();
        const first = list.found[0];
        if (first !== undefined)
            byId('product-list').querySelector(`[data-key="${first.sku}"] button`).focus();
    });
}

/* The product, or undefined when it is not loaded. */
export function product(sku) {
    return products.get(sku);
}

export function title(sku) {
    return product(sku)?.title ?? sku;
}

function stockWords(available) {
    if (available <= 0)
        return 'Sold out';
    return available <= FEW ? `Only ${available} left` : 'In stock';
}

function makeCard(item, add) {
    return element('li', {class: 'product'},
        element('div', {class: 'frame'}, picture(item.sku), element('span', {class: 'in-cart'})),
        element('h2', {class: 'product-title'}),
        element('p', {class: 'product-stock'}),
        element('p', {class: 'product-price'}),
        element('button', {class: 'add', type: 'button', onclick: () => add(item.sku)},
            'Add to cart', unseen(` ${item.title}`)));
}

function fillCard(card, item, inCart) {
    const part = name => card.querySelector(name);
    const soldOut = item.available <= 0, few = !soldOut && item.available <= FEW;

    part('.product-title').textContent = item.title;
    part('.product-price').textContent = money(item.price_cents, item.currency);
    part('.product-stock').textContent = stockWords(item.available);
    part('.product-stock').classList.toggle('few', few);
    card.classList.toggle('sold-out', soldOut);
    part('button').setAttribute('aria-disabled', String(inCart >= item.available));
    part('.in-cart').textContent = inCart > 0 ? `${inCart} in cart` : '';
}

/* Renders the list; `quantityOf(sku)` is the quantity in the cart, add(sku) adds one. */
export function showProducts(quantityOf, add) {
    const list = byId('product-list');

    reconcile(list, [...products.values()], item => item.sku, item => makeCard(item, add),
        (card, item) => fillCard(card, item, quantityOf(item.sku)));
    list.setAttribute('aria-busy', 'false');
    byId('products-more').hidden = next === null;
}
