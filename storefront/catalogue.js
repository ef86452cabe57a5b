/*
 * catalogue.js - what the shop sells: read page by page, looked up, shown.
 *
 * The list is as long as the shopper has asked for.  What is in the cart is known as well,
 * wherever in the list it stands.
 */
import {askUntilSettled} from './api.js';
import {byId, element, reconcile, unseen} from './dom.js';
import {money} from './money.js';
import {picture} from './pictures.js';

const FEW = 10;   /* pieces, from which on we say how many are left */
const PAGE = 48;  /* products more at a time */
const MOST = 100; /* SKUs in one question, at the gateway; products too, to keep it short */

let products = new Map(); /* by SKU; null: there is no such product */
let listed = [];          /* SKUs of the list as far as it was read */
let next = null;          /* the cursor of what follows */
let loaded = () => {};
let turn = Promise.resolve();

/* Calls whenever they were read. */
export function watchProducts(to) {
    loaded = to;
}

/* One reading after the other, so that none overwrites a newer one. */
function inTurn(work) {
    turn = turn.then(work, work);
    return turn;
}

async function read(query, tell) {
    const answer = await askUntilSettled(
        'GET', `/v1/products?${new URLSearchParams(query)}`, {}, tell);
    return answer.ok ? answer.body : null;
}

/* `count` products from a place on: {found, next}, or null. */
async function readList(count, cursor, tell) {
    const found = [];

    do {
        const limit = Math.min(count - found.length, MOST);
        const page = await read({limit, ...cursor !== null && {cursor}}, tell);
        if (page === null)
            return null;
        found.push(...page.products);
        cursor = page.next_cursor;
    } while (cursor !== null && found.length < count);
    return {found, next: cursor};
}

/* Those SKUs' products, as entries of `products`. */
async function readSome(skus, tell) {
    const entries = [];

    for (let from = 0; from < skus.length; from += MOST) {
        const some = skus.slice(from, from + MOST);
        const page = await read({sku: some.join(','), limit: MOST}, tell);
        if (page === null)
            return entries;
        entries.push(...some.map(sku => [sku, null]),
            ...page.products.map(product => [product.sku, product]));
    }
    return entries;
}

async function reload(tell) {
    const list = await readList(Math.max(listed.length, PAGE), null, tell);
    if (list === null)
        return [];
    const before = products, here = list.found.map(product => [product.sku, product]);
    const others = [...before.keys()].filter(sku => !list.found.some(item => item.sku === sku));

    products = new Map([...await readSome(others, tell), ...here]);
    listed = list.found.map(product => product.sku);
    next = list.next;
    loaded();
    return [...products.values()].filter(now => now !== null)
        .map(now => ({sku: now.sku, was: before.get(now.sku) ?? now, now}))
        .filter(({was, now}) => was.price_cents !== now.price_cents);
}

/* Reads the products again; the ones whose price changed, as {sku, was, now}. */
export function loadProducts(tell) {
    return inTurn(() => reload(tell));
}

/* The next page; the focus goes to its first product. */
export function loadMoreProducts(tell) {
    return inTurn(async () => {
        const list = next === null ? null : await readList(PAGE, next, tell);
        if (list === null)
            return;
        for (const product of list.found)
            products.set(product.sku, product);
        listed.push(...list.found.map(product => product.sku));
        next = list.next;
        loaded();
        const first = list.found[0];
        if (first !== undefined)
            byId('product-list').querySelector(`[data-key="${first.sku}"] button`).focus();
    });
}

/* Has these known as well, as soon as may be; watchProducts tells. */
export function lookUpProducts(skus) {
    if (skus.every(sku => products.has(sku)))
        return undefined;
    return inTurn(async () => {
        const unknown = skus.filter(sku => !products.has(sku));
        const entries = await readSome(unknown);
        for (const [sku, product] of entries)
            products.set(sku, product);
        if (entries.length > 0)
            loaded();
    });
}

/* Whether it was read what the SKU is. */
export function isKnown(sku) {
    return products.has(sku);
}

/* The product, or undefined when it is not sold (any more), or not known yet. */
export function product(sku) {
    return products.get(sku) ?? undefined;
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

/* Shows the list; `quantityOf(sku)` is what is in the cart, add(sku) puts one more in. */
export function showProducts(quantityOf, add) {
    const list = byId('product-list');

    reconcile(list, listed.map(product), item => item.sku, item => makeCard(item, add),
        (card, item) => fillCard(card, item, quantityOf(item.sku)));
    list.setAttribute('aria-busy', 'false');
    byId('products-more').hidden = next === null;
}
