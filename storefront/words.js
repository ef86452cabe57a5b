/* words.js - what the shop's answers mean to a shopper.  `code` is the problem's. */
import {product, title} from './catalogue.js';
import {quantityOf} from './cart.js';
import {cardName} from './payment-cards.js';

function inSeconds(ms) {
    const seconds = Math.max(1, Math.round(ms / 1000));
    return seconds === 1 ? 'in a second' : `in ${seconds} seconds`;
}

/* While the outcome of an order is not known: why, and that it will be asked again. */
export function waitingWords(answer, ms) {
    const again = `Asking again about the same order ${inSeconds(ms)}; ` +
        'it cannot be placed twice.';
    const why = {
        unreachable: 'The connection to the shop is lost.',
        outcome_unknown: 'The bank has not answered yet.',
        checkout_in_progress: 'The order is still being placed.',
        overloaded: 'The shop is very busy.',
        rate_limited: 'That was too much at once.',
    }[answer.code] ?? 'The shop cannot take the order just now.';
    return `${why} ${again}`;
}

/* While something else has to be asked again. */
export function delayedWords(what, answer) {
    return answer.status === 0
        ? `The shop cannot be reached. ${what} as soon as it is back.`
        : `The shop is busy. ${what} as soon as it can.`;
}

/* One sentence a product that there is not enough of. */
export function shortWords(sku) {
    const wanted = quantityOf(sku), left = product(sku)?.available ?? 0;

    if (product(sku) === undefined)
        return `${title(sku)} is no longer sold.`;
    if (left <= 0)
        return `${title(sku)} is sold out.`;
    return left < wanted ? `Only ${left} left of ${title(sku)}; you want ${wanted}.`
        : `${title(sku)} ran short just now.`;
}

/* Why an order was refused for good: {title, text}. */
export function refusalWords(answer, order) {
    const card = cardName(order.payment_method_id);
    const words = {
        payment_declined: ['The card was declined',
            `The bank said no to ${card}. Nothing was ordered and nothing was charged. ` +
            'Choose another card and order again.'],
        payment_failed: ['The payment did not work',
            `${card} could not be charged, so nothing was ordered. Choose another card and ` +
            'order again.'],
        checkout_failed: ['The order could not be placed in time',
            'A part of the shop or the bank did not answer for too long. Nothing was ordered ' +
            'and nothing stays charged. Try again, perhaps with another card.'],
        reservation_expired: ['The order took too long',
            'The things set aside for you ran out of time before the payment was done. ' +
            'Nothing was charged; try again.'],
        cart_already_ordered: ['This cart was ordered already',
            'It was ordered from another window, or is just being ordered there. Look at ' +
            'your orders below before you order again.'],
        cart_empty: ['The cart is empty', 'Add something first.'],
        failed_precondition: ['These things cannot be ordered together',
            'Their prices are in several currencies. Order them one after the other.'],
        unauthenticated: ['You are not signed in',
            'The shop no longer knows who you are. Sign in again; the order goes on where ' +
            'it is, and cannot be placed twice.'],
    }[answer.code] ?? ['The order was refused',
        answer.body.detail ?? 'The shop did not say why. Nothing was ordered.'];
    return {title: words[0], text: words[1]};
}
