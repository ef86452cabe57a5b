/* receipt.js - an order in print: on the receipt, and among the past orders. */
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

/* What was bought, for how much, under which number. */
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

export function showReceipt(order) {
    byId('receipt-body').replaceChildren(
        element('p', {}, `Placed on ${dateWords(order.created_at)}.`), orderDetails(order));
    byId('checkout').hidden = true;
    byId('receipt').hidden = false;
    byId('receipt-heading').focus();
}

export function hideReceipt() {
    if (byId('receipt').hidden)
        return;
    byId('receipt').hidden = true;
    byId('checkout').hidden = false;
}
