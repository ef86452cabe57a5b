/* orders.js - past orders, newest first, page by page. */
import {askUntilSettled} from './api.js';
import {byId, element} from './dom.js';
import {money} from './money.js';
import {dateWords, orderAnchor, orderDetails} from './receipt.js';

const PAGE = 5;

let next = null; /* the cursor of the page after the last one shown */

function item(order) {
    const count = order.lines.reduce((sum, line) => sum + line.quantity, 0);

    return element('li', {id: orderAnchor(order.order_id), 'data-order': order.order_id},
        element('details', {},
            element('summary', {},
                element('span', {class: 'order-date'}, dateWords(order.created_at)),
                element('span', {class: 'order-count'}, count === 1 ? '1 piece' : `${count} pieces`),
                element('strong', {}, money(order.total_cents, order.currency))),
            orderDetails(order)));
}

async function page(cursor, onRetry) {
    const more = cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`;
    const answer = await askUntilSettled('GET', `/v1/orders?limit=${PAGE}${more}`, {}, onRetry);

    byId('orders-empty').textContent = answer.ok ? 'No orders yet.'
        : 'Your orders cannot be shown: you are not signed in.';
    return answer.ok ? answer.body : {orders: [], next_cursor: null};
}

/* Loads the first page. */
export async function loadOrders(onRetry) {
    const {orders, next_cursor: cursor} = await page(null, onRetry);

    next = cursor;
    byId('order-list').replaceChildren(...orders.map(item));
    byId('orders-empty').hidden = orders.length > 0;
    byId('orders-more').hidden = next === null;
}

/* One order, or undefined when it cannot be read. */
export async function readOrder(id) {
    const answer = await askUntilSettled('GET', `/v1/orders/${id}`);
    return answer.ok ? answer.body : undefined;
}

/* After a link to an order: opens and focuses it. */
export function openOrder() {
    const summary = byId('order-list').querySelector(':target summary');

    if (summary === null)
        return; /* another link, or an order on a later page */
    summary.parentElement.open = true;
    summary.focus();
}

/* The next page; the focus goes to its first order. */
export async function loadOlderOrders(onRetry) {
    if (next === null)
        return;
    const from = next;
    next = null; /* a second click does nothing */
    const {orders, next_cursor: cursor} = await page(from, onRetry);
    const items = orders.map(item);

    next = cursor;
    byId('order-list').append(...items);
    byId('orders-more').hidden = next === null;
    items[0]?.querySelector('summary').focus();
}
