/* cart-view.js - the cart as the shopper sees and changes it. */
import {announce, byId, element, reconcile, unseen} from './dom.js';
import {cartLines, quantityOf, setQuantity} from './cart.js';
import {isKnown, product, title} from './catalogue.js';
import {money} from './money.js';
import {picture} from './pictures.js';

/* {cents, currency} of the lines, or null when it cannot be told: prices in two
 * currencies, or of something that is not sold any more. */
export function cartTotal() {
    let cents = 0, currency = null;

    for (const [sku, quantity] of cartLines()) {
        const item = product(sku);
        if (item === undefined || currency !== null && item.currency !== currency)
            return null;
        currency = item.currency;
        cents += item.price_cents * quantity;
    }
    return currency === null ? null : {cents, currency};
}

export function totalWords() {
    const total = cartTotal();
    return total === null ? '' : money(total.cents, total.currency);
}

function pieces() {
    return cartLines().reduce((sum, [, quantity]) => sum + quantity, 0);
}

function change(sku, quantity) {
    setQuantity(sku, quantity);
    announce(quantity > 0 ? `${title(sku)}: ${quantity} in the cart.`
        : `${title(sku)} is taken out of the cart.`);
}

/* One more, unless that is all there is. */
export function addOne(sku) {
    const quantity = quantityOf(sku) + 1;

    if (quantity > (product(sku)?.available ?? 0))
        announce(`There is no more of ${title(sku)}.`);
    else
        change(sku, quantity);
}

/* The focus goes to the neighbour of a line that goes, else to the heading. */
function takeOut(sku, line) {
    const near = line.nextElementSibling ?? line.previousElementSibling;

    change(sku, 0);
    (near?.querySelector('.take-out') ?? byId('cart-heading')).focus();
}

function step(text, label, onclick) {
    return element('button', {class: 'step', type: 'button', onclick},
        element('span', {'aria-hidden': 'true'}, text), unseen(label));
}

function makeLine([sku]) {
    const name = title(sku);
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

function fillLine(line, [sku, quantity]) {
    const item = product(sku);
    const [less, more] = line.querySelectorAll('.step');

    line.querySelector('.line-title').textContent = title(sku);
    line.querySelector('.line-price').textContent = item !== undefined
        ? money(item.price_cents * quantity, item.currency)
        : isKnown(sku) ? 'No longer sold' : '…';
    line.querySelector('.quantity').textContent = String(quantity);
    less.setAttribute('aria-disabled', String(quantity <= 1));
    more.setAttribute('aria-disabled', String(quantity >= (item?.available ?? 0)));
}

/* Everything that shows the cart. */
export function showCart() {
    const lines = cartLines(), count = String(pieces()), total = totalWords();

    reconcile(byId('cart-lines'), lines, ([sku]) => sku, makeLine, fillLine);
    byId('cart-empty').hidden = lines.length > 0;
    byId('cart-full').hidden = lines.length === 0;
    byId('cart-total').textContent = total;
    byId('cart-count').textContent = count;
    byId('cart-bar-count').textContent = count;
    byId('cart-bar-total').textContent = total;
    byId('cart-bar').hidden = lines.length === 0;
}

/* On a phone a bar leads to the cart while that is out of sight. */
export function watchCartBar() {
    const observer = new IntersectionObserver(entries =>
        byId('cart-bar').classList.toggle('away', entries.at(-1).isIntersecting));
    observer.observe(byId('cart'));
}
