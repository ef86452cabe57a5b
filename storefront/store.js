/*
 * store.js - notes that survive a reload and are shared by this shop's windows.
 *
 * A browser may keep none (blocked, private), or no more of them (full).  What it does not
 * keep lives in this window's memory, and dies with it: then `lasting()` is false, and the
 * shopper must be told.
 */
const memory = new Map(); /* the texts of notes that the browser did not keep */

let kept = true;
let lost = () => {};

export function lasting() {
    return kept;
}

/* Calls when the browser does not keep a note, the first time. */
export function watchLasting(to) {
    lost = to;
}

/* The value, or null; what is not ours to read counts as not there. */
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
        remove(name); /* after a reload an old note would be worse than none */
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
        /* nothing is kept, so nothing is there */
    }
}

/* Finds out whether there is room for what a shopper's visit writes, and tells. */
export function probe() {
    const name = 'shop.probe';

    put(name, 'x'.repeat(1024));
    remove(name);
}

/* Calls when another window wrote or removed that note, or somebody removed them all. */
export function watch(name, changed) {
    window.addEventListener('storage', event => {
        if (event.key === name || event.key === null)
            changed();
    });
}

/* A way to tell other windows something: a function to tell with, heard(message) is called in
 * the others.  Where the browser has none, nobody hears. */
export function openChannel(name, heard) {
    try {
        const channel = new BroadcastChannel(name);
        channel.onmessage = event => heard(event.data);
        return message => channel.postMessage(message);
    } catch {
        return () => {};
    }
}
