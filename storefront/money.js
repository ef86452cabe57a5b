/* money.js - amounts are whole minor units (cents) with a currency, never fractions. */

const formats = new Map();

function formatOf(currency) {
    if (!formats.has(currency))
        formats.set(currency, new Intl.NumberFormat(undefined, {style: 'currency', currency}));
    return formats.get(currency);
}

/* "€12.90", in the reader's locale. */
export function money(cents, currency) {
    const format = formatOf(currency);
    return format.format(cents / 10 ** format.resolvedOptions().maximumFractionDigits);
}
