/*
 * store.js - notes in localStorage, which survive a reload and are shared by all windows.
 *
 * Storage may be unavailable (blocked, private) or full.  Notes are then kept in this window's
 * memory and end with it: `lasting()` is false, and the shopper must be warned.
 */
const memory = new Map(); /* notes that could not be stored */

let kept = true;
let lost = () => {};

export function lasting() {
    return kept;
}

/* Calls back the first time that a note cannot be stored. */
export function watchLasting(to) {
    lost = to;
}

/* The value, or null; an unreadable note counts as absent. */
export function get(name) {
    try {
        return JSON.parse(memory.get(name) ?? localStorage.getItem(name));
    } catch {
        return null;
    }
}

export function put(name, value) {
    const text = JSON.stringify(value);

    try {
        localStorage.setItem(name, text);
        memory.delete(name);
    } catch {
        remove(name); /* after a reload an outdated note would be worse than none */
        memory.set(name, text);
        if (kept) {
            kept = false;
            lost();
        }
    }
}

export function remove(name) {
    memory.delete(name);
    try {
        localStorage.removeItem(name);
    } catch {
        /* nothing was stored */
    }
}

/* Tests whether there is room for what a visit writes; reports if not. */
export function probe() {
    const name = 'shop.probe';

    put(name, 'x'.repeat(1024));
    remove(name);
}

/* Calls back when another window wrote or removed the note, or all were removed. */
export function watch(name, changed) {
    window.addEventListener('storage', event => {
        if (event.key === name || event.key === null)
            changed();
    });
}

/* A broadcast channel: returns a function to send with; heard(message) is called in other windows.
 * Does nothing if the browser has none. */
export function openChannel(name, heard) {
    try {
        const channel = new BroadcastChannel(name);
        channel.onmessage = event => heard(event.data);
        return message => channel.postMessage(message);
    } catch {
        return () => {};
    }
}
