/* words.js - sentences for the shopper about the gateway's answers.  `code` is the problem's. */
import {money} from './money.js';
import {cardName} from './payment-cards.js';

function inSeconds(ms) {
    const seconds = Math.max(1, Math.round(ms / 1000));
    return seconds === 1 ? 'in a second' : `in ${seconds} seconds`;
}

/* While the outcome of an order is unknown: why, and that the request is retried. */
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

/* While another request is retried. */
export function delayedWords(what, answer) {
    return answer.status === 0
        ? `The shop cannot be reached. ${what} as soon as it is back.`
        : `The shop is busy. ${what} as soon as it can.`;
}

/* One sentence per line of the cart that is short of stock. */
export function shortWords({title, quantity, known, available: left}) {
    if (known === false)
        return `${title} is no longer sold.`;
    if (left <= 0)
        return `${title} is sold out.`;
    return left < quantity ? `Only ${left} left of ${title}; you want ${quantity}.`
        : `${title} ran short just now.`;
}

/* The change of one product in the cart; see differences() in cart.js. */
export function changeWords({was, now}) {
    const parts = [];

    if (was === undefined)
        return `${now.title}: ${now.quantity} put in.`;
    if (now === undefined)
        return `${was.title}: taken out.`;
    if (was.quantity !== now.quantity)
        parts.push(`${was.quantity} before, ${now.quantity} now`);
    if (was.known && now.known && (was.unit_price_cents !== now.unit_price_cents ||
        was.currency !== now.currency))
        parts.push(`${money(was.unit_price_cents, was.currency)} before, ` +
            `${money(now.unit_price_cents, now.currency)} now`);
    return `${now.title}: ${parts.join('; ')}.`;
}

/* Whether quantities changed, not only prices. */
export function linesChanged(changes) {
    return changes.some(({was, now}) => was?.quantity !== now?.quantity);
}

/* The shown cart was updated. */
export function followedWords(changes) {
    const why = linesChanged(changes) ? 'The cart was changed in another window.'
        : 'Prices have changed.';
    return [why, ...changes.map(changeWords)].join(' ');
}

/* The same, and this window's change was dropped. */
export function overtakenWords(changes) {
    return ['The cart was changed in another window, so your last change was not made.',
        ...changes.map(changeWords)].join(' ');
}

/* Why the bank declined, as far as it may be shown: the problem's decline_code. */
const DECLINES = {
    card_not_supported: 'The card cannot be used for this.',
    currency_not_supported: 'The card cannot pay in this currency.',
    expired_card: 'The card has expired.',
    incorrect_cvc: 'Its security code is not right.',
    incorrect_number: 'Its number is not right.',
    insufficient_funds: 'There is not enough money on it.',
    issuer_not_available: 'The bank that gave out the card cannot be reached just now.',
    payment_method_unknown: 'The shop does not know this card as yours.',
    processing_error: 'Something went wrong at the bank.',
    try_again_later: 'It asks to try again later.',
};

/* Whether the same card may work later. */
export function mayTryAgain(answer) {
    return answer.body.advice === 'try_again_later';
}

/* Whether a refused order was charged: the problem's `money`; empty if that is absent. */
export function moneyWords(answer) {
    return {
        none: 'Nothing was charged.',
        refunded: 'What was charged has been given back.',
        refund_pending: 'If anything was charged, it is being given back.',
    }[answer.body.money] ?? '';
}

/* Joins the sentences that are not empty. */
function sentences(...all) {
    return all.filter(sentence => sentence !== '').join(' ');
}

function declinedWords(answer, card) {
    return sentences(`The bank said no to ${card}.`,
        DECLINES[answer.body.decline_code] ?? 'It did not say why.',
        'Nothing was ordered.', moneyWords(answer),
        mayTryAgain(answer) ? 'The same card may work in a while; or choose another one.'
            : 'The same card will not work; choose another one and order again.');
}

/* Why an order was finally refused: {title, text}. */
export function refusalWords(answer, order) {
    const card = cardName(order.payment_method_id);
    const words = {
        payment_declined: ['The card was declined', declinedWords(answer, card)],
        checkout_failed: ['The order could not be placed in time',
            sentences('A part of the shop or the bank did not answer for too long.',
                'Nothing was ordered.', moneyWords(answer),
                'Try again, perhaps with another card.')],
        reservation_expired: ['The order took too long',
            sentences('The things set aside for you ran out of time before the payment was ' +
                'done.', moneyWords(answer), 'Try again.')],
        cart_already_ordered: ['This cart is being ordered already',
            'Another window is just ordering it, and it is never ordered twice. Wait a ' +
            'moment; if nothing comes of it there, order again.'],
        cart_empty: ['The cart is empty', 'Add something first.'],
        failed_precondition: ['These things cannot be ordered together',
            sentences('Their prices are in several currencies.', moneyWords(answer),
                'Order them one after the other.')],
        data_loss: ['Something went wrong',
            'The shop does not know the outcome of this order. Look at your orders before you ' +
            'order again, and contact the shop.'],
        unauthenticated: ['You are not signed in',
            'The shop no longer knows who you are. Sign in again; the order goes on where ' +
            'it is, and cannot be placed twice.'],
    }[answer.code] ?? ['The order was refused',
        sentences(answer.body.detail ?? 'The shop did not say why. Nothing was ordered.',
            moneyWords(answer))];
    return {title: words[0], text: words[1]};
}
