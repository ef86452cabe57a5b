/* receipt.js - renders an order, for the receipt and the list of past orders. */
import {byId, element} from './dom.js';
import {title} from './catalogue.js';
import {money} from './money.js';

export function dateWords(iso) {
    return new Date(iso).toLocaleString(undefined, {dateStyle: 'medium', timeStyle: 'short'});
}

function row(order, line) {
    return element('tr', {},
        element('td', {}, `${line.quantity} × ${line.title ?? title(line.sku)}`),
        element('td', {}, money(line.quantity * line.unit_price_cents, order.currency)));
}

/* The address of an order in the list of past orders. */
export function orderAnchor(id) {
    return `order-${id}`;
}

/* The lines, the total and the order id. */
export function orderDetails(order) {
    return element('div', {class: 'details'},
        element('table', {},
            element('caption', {class: 'unseen'}, 'What you ordered'),
            element('tbody', {}, ...order.lines.map(line => row(order, line))),
            element('tfoot', {}, element('tr', {},
                element('th', {scope: 'row'}, 'Total'),
                element('td', {}, money(order.total_cents, order.currency))))),
        element('p', {class: 'number'}, 'Order number ',
            element('code', {class: 'order-id'}, order.order_id)));
}

/* Replaces the cart; `heading` and `text` explain why it is ordered. */
export function showReceipt(order, heading, text) {
    const hadFocus = byId('checkout').contains(document.activeElement);

    byId('receipt-heading').textContent = heading;
    byId('receipt-body').replaceChildren(
        element('p', {}, `${text} Placed on ${dateWords(order.created_at)}.`),
        orderDetails(order),
        element('p', {}, element('a', {href: `#${orderAnchor(order.order_id)}`},
            'Find it among your orders')));
    byId('checkout').hidden = true;
    byId('receipt').hidden = false;
    if (hadFocus)
        byId('receipt-heading').focus();
}

export function hideReceipt() {
    if (byId('receipt').hidden)
        return;
    byId('receipt').hidden = true;
    byId('checkout').hidden = false;
}
