/* dom.js - making and finding elements.  Text only ever becomes text. */

export function byId(id) {
    return document.getElementById(id);
}

/* element('button', {type: 'button', onclick}, 'Text', child): names with a '-' and `class`
 * are attributes, the others are properties; null children are left out. */
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

/* Text for screen readers alone. */
export function unseen(text) {
    return element('span', {class: 'unseen'}, text);
}

/* Makes `list`'s children those of `items`, keeping the elements that are there already, so
 * that focus stays where it is: one a key, made by make(item), filled by fill(element, item). */
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

/* A message that stays in sight at the top; empty: none. */
export function banner(text) {
    byId('banner-box').hidden = text === ''; /* first: a hidden text is not read out */
    byId('banner').textContent = text;
}

/* Says it to those who listen to the page. */
export function announce(text) {
    byId('announcer').textContent = text;
}
