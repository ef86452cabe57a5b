/* dom.js - creates and finds elements.  Text is never parsed as HTML. */

export function byId(id) {
    return document.getElementById(id);
}

/* element('button', {type: 'button', onclick}, 'Text', child): names with a '-' and `class`
 * are attributes, others are properties; null children are skipped. */
export function element(tag, properties = {}, ...children) {
    const made = document.createElement(tag);

    for (const [name, value] of Object.entries(properties))
        if (name === 'class' || name.includes('-'))
            made.setAttribute(name, value);
        else
            made[name] = value;
    made.append(...children.filter(child => child !== null));
    return made;
}

/* Text for screen readers only. */
export function unseen(text) {
    return element('span', {class: 'unseen'}, text);
}

/* Makes `list`'s children match `items`, reusing existing elements so that the focus stays: one
 * per key, created by make(item), updated by fill(element, item). */
export function reconcile(list, items, keyOf, make, fill) {
    const old = new Map(Array.from(list.children, child => [child.dataset.key, child]));
    let at = list.firstElementChild;

    for (const item of items) {
        const key = keyOf(item);
        const child = old.get(key) ?? make(item);
        child.dataset.key = key;
        fill(child, item);
        old.delete(key);
        if (child === at)
            at = at.nextElementSibling;
        else
            list.insertBefore(child, at);
    }
    for (const child of old.values())
        child.remove();
}

/* A message that stays visible at the top; empty: none. */
export function banner(text) {
    byId('banner-box').hidden = text === ''; /* first: screen readers skip hidden text */
    byId('banner').textContent = text;
}

/* Announces it to screen readers. */
export function announce(text) {
    byId('announcer').textContent = text;
}
