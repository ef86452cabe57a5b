/*
 * store.js - notes that survive a reload and are shared by this shop's windows.
 *
 * A browser may forbid it (private windows, a full disk); then they live as long as the
 * page, and `lasting` is false.
 */
const memory = new Map();

export const lasting = probe();

function probe() {
    try {
        localStorage.setItem('shop.probe', '1');
        localStorage.removeItem('shop.probe');
        return true;
    } catch {
        return false;
    }
}

/* The value, or null; what is not ours to read counts as not there. */
export function get(name) {
    try {
        return JSON.parse(lasting ? localStorage.getItem(name) : memory.get(name) ?? null);
    } catch {
        return null;
    }
}

export function put(name, value) {
    const text = JSON.stringify(value);

    memory.set(name, text);
    if (lasting)
        localStorage.setItem(name, text);
}

export function remove(name) {
    memory.delete(name);
    if (lasting)
        localStorage.removeItem(name);
}

/* Calls when another window wrote or removed that note. */
export function watch(name, changed) {
    window.addEventListener('storage', event => {
        if (event.key === name)
            changed();
    });
}
