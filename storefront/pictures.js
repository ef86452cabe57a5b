/* pictures.js - one picture per SKU. */
import {element} from './dom.js';

const DRAWN = new Set(['kettle', 'mug-blue', 'mug-white', 'strainer', 'tea-assam',
    'tea-first-flush', 'tea-sencha', 'teapot']);

/* Decorative: the title is always beside it. */
export function picture(sku) {
    const name = DRAWN.has(sku) ? sku : 'default';

    return element('img', {
        class: 'picture', src: `/shop/pictures/${name}.svg`, alt: '', width: 200, height: 160,
    });
}
