/* cart-view.js - the cart as the shopper sees and changes it. */
import {announce, byId, element, reconcile, unseen} from './dom.js';
import {cartLines, cartTotal, quantityOf, setQuantity} from './cart.js';
import {product, title} from './catalogue.js';
import {money} from './money.js';
import {picture} from './pictures.js';

/* The cart's total, or '' when it is unknown. */
export function totalWords() {
    const total = cartTotal();
    return total === null ? '' : money(total.cents, total.currency);
}

function lineOf(sku) {
    return cartLines().find(line => line.sku === sku);
}

function titleOf(sku) {
    return lineOf(sku)?.title ?? title(sku);
}

/* The remaining stock is unknown here; the gateway will check. */
function left({known, available = 0}) {
    return known === undefined ? Infinity : available;
}

function change(sku, quantity) {
    const name = titleOf(sku);

    setQuantity(sku, quantity);
    announce(quantity > 0 ? `${name}: ${quantity} in the cart.`
        : `${name} is taken out of the cart.`);
}

/* Adds one, unless no more are in stock. */
export function addOne(sku) {
    const quantity = quantityOf(sku) + 1, line = lineOf(sku);

    if (quantity > (line === undefined ? product(sku)?.available ?? 0 : left(line)))
        announce(`There is no more of ${titleOf(sku)}.`);
    else
        change(sku, quantity);
}

/* When a line is removed, the focus moves to its neighbour, or else to the heading. */
function takeOut(sku, line) {
    const near = line.nextElementSibling ?? line.previousElementSibling;

    change(sku, 0);
    (near?.querySelector('.take-out') ?? byId('cart-heading')).focus();
}

function step(text, label, onclick) {
    return element('button', {class: 'step', type: 'button', onclick},
        element('span', {'aria-hidden': 'true'}, text), unseen(label));
}

function makeLine({sku, title: name}) {
    const line = element('li', {class: 'line'},
        element('div', {class: 'thumb'}, picture(sku)),
        element('p', {class: 'line-title'}),
        element('p', {class: 'line-price'}),
        element('div', {class: 'stepper', role: 'group', 'aria-label': `Quantity of ${name}`},
            step('−', `One less of ${name}`, () => {
                if (quantityOf(sku) > 1)
                    change(sku, quantityOf(sku) - 1);
            }),
            element('span', {class: 'quantity'}),
            step('+', `One more of ${name}`, () => addOne(sku))),
        element('button', {class: 'take-out', type: 'button', onclick: () => takeOut(sku, line)},
            'Remove', unseen(` ${name}`)));
    return line;
}

function priceWords({known, quantity, unit_price_cents: cents, currency}) {
    if (known)
        return money(cents * quantity, currency);
    return known === undefined ? '…' : 'No longer sold';
}

function fillLine(row, line) {
    const [less, more] = row.querySelectorAll('.step');

    row.querySelector('.line-title').textContent = line.title;
    row.querySelector('.line-price').textContent = priceWords(line);
    row.querySelector('.quantity').textContent = String(line.quantity);
    less.setAttribute('aria-disabled', String(line.quantity <= 1));
    more.setAttribute('aria-disabled', String(line.quantity >= left(line)));
}

/* Renders everything that shows the cart. */
export function showCart() {
    const lines = cartLines(), total = totalWords();
    const count = String(lines.reduce((sum, line) => sum + line.quantity, 0));

    reconcile(byId('cart-lines'), lines, line => line.sku, makeLine, fillLine);
    byId('cart-empty').hidden = lines.length > 0;
    byId('cart-full').hidden = lines.length === 0;
    byId('order').hidden = lines.length === 0;
    byId('cart-total').textContent = total;
    byId('cart-count').textContent = count;
    byId('cart-bar-count').textContent = count;
    byId('cart-bar-total').textContent = total;
    byId('cart-bar').hidden = lines.length === 0;
}

/* On a phone a bar links to the cart while that is out of view. */
export function watchCartBar() {
    const observer = new IntersectionObserver(entries =>
        byId('cart-bar').classList.toggle('away', entries.at(-1).isIntersecting));
    observer.observe(byId('cart'));
}
