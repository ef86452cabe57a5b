/*
 * payment-cards.js - the available payment cards.
 *
 * They are the test methods of payment/sandbox.h, under names a shopper might know.
 */
import {byId, element} from './dom.js';
import * as store from './store.js';

const NOTE = 'shop.card';

const CARDS = [
    {id: 'pm_card_visa', name: 'Visa ··4242', hint: 'pays'},
    {id: 'pm_card_chargeDeclined', name: 'Mastercard ··0002', hint: 'declined'},
    {id: 'pm_card_insufficientFunds', name: 'Visa ··9995', hint: 'not enough on it'},
    {id: 'pm_card_late', name: 'Visa ··2000', hint: 'takes two seconds', rare: true},
    {id: 'pm_card_timeout', name: 'Mastercard ··1500', hint: 'answer lost',
        rare: true},
    {id: 'pm_card_failOnce', name: 'Visa ··0001', hint: 'fails once', rare: true},
    {id: 'pm_card_processingError', name: 'Visa ··0119', hint: 'the bank has a fault',
        rare: true},
    {id: 'pm_card_stolenCard', name: 'Visa ··9979', hint: 'declined, not said why', rare: true},
    {id: 'pm_card_unreachable', name: 'Mastercard ··0404', hint: 'never answers',
        rare: true},
];

function radio(card, chosen) {
    return element('label', {class: 'card'},
        element('input', {
            type: 'radio', name: 'card', value: card.id, checked: card.id === chosen,
            onchange: () => store.put(NOTE, card.id),
        }),
        element('span', {class: 'card-name'}, card.name),
        element('span', {class: 'card-hint'}, card.hint));
}

export function showCards() {
    const note = store.get(NOTE);
    const chosen = CARDS.find(card => card.id === note) ?? CARDS[0];

    for (const card of CARDS)
        byId(card.rare ? 'cards-rare' : 'cards-common').append(radio(card, chosen.id));
    byId('cards-more').open = chosen.rare === true;
}

export function chosenCard() {
    return byId('checkout').elements.card.value;
}

/* Focuses the chosen card, to choose another. */
export function focusCards() {
    byId('cards').querySelector('input:checked').focus();
}

export function cardName(id) {
    return CARDS.find(card => card.id === id)?.name ?? 'The card';
}
