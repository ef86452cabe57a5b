/*
 * shopper.mjs - somebody at the shop page in Chromium, and looks behind the page.
 *
 * Every shopper has a browser context of its own: an empty profile.  All are the stack's one
 * demo user.  What went over the wire is kept: `posts` are the orders asked for, `puts` the
 * bodies of carts.
 */
import assert from 'node:assert/strict';
import {execFile, execFileSync} from 'node:child_process';
import {isDeepStrictEqual, promisify} from 'node:util';
import {chromium} from 'playwright-core';

const {SHOP, STATE, DATABASE, CTL, REPO, TMPDIR} = process.env;
const PATIENCE_MS = 30000;
const run = promisify(execFile);

let browser = null;

export async function open() {
    browser = await chromium.launch({
        executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
        chromiumSandbox: process.getuid() !== 0,
        args: ['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync',
            '--disable-background-networking', '--disable-component-update'],
    });
}

export async function close() {
    await browser?.close();
}

/* ---- behind the page ---- */

/* Rows as lists of texts, as the database's owner. */
export async function sql(statement) {
    const {stdout} = await run('psql', ['-XAtq', '-F', '\t', '-v', 'ON_ERROR_STOP=1',
        DATABASE, '-c', statement]);
    return stdout.split('\n').filter(line => line !== '').map(line => line.split('\t'));
}

export async function call(method, message) {
    await run(CTL, ['--state', STATE, 'call', method, JSON.stringify(message)]);
}

export async function until(fact, what) {
    const deadline = Date.now() + PATIENCE_MS;

    while (!await fact()) {
        assert.ok(Date.now() < deadline,
            `not within ${PATIENCE_MS} ms: ${typeof what === 'string' ? what : what()}`);
        await new Promise(resolve => setTimeout(resolve, 20));
    }
}

export function gatewayPid() {
    const status = execFileSync(`${REPO}/up`, ['--status', '--state', STATE], {encoding: 'utf8'});
    return Number(/^pid\.gateway=(\d+)$/m.exec(status)[1]);
}

/* ---- the shopper ---- */

/* A page that is loaded; `complaints` are errors in its scripts, and what its policy
 * forbade.  `init` runs in every page before its scripts. */
export async function shopper({init, ...options} = {}) {
    const context = await browser.newContext(
        {locale: 'en-GB', reducedMotion: 'reduce', ...options});
    const seen = {context, posts: [], puts: [], complaints: []};

    context.setDefaultTimeout(PATIENCE_MS);
    if (init !== undefined)
        await context.addInitScript(init);
    context.on('request', request => {
        if (request.method() === 'POST')
            seen.posts.push({key: request.headers()['idempotency-key'], body: request.postData()});
        if (request.method() === 'PUT')
            seen.puts.push(request.postData());
    });
    return openWindow(seen);
}

/* A window of the shopper's. */
async function openWindow({context, posts, puts, complaints}) {
    const page = await context.newPage();

    page.on('pageerror', error => complaints.push(error.message));
    page.on('console', message => {
        if (/Content.Security.Policy|TrustedHTML/.test(message.text()))
            complaints.push(message.text());
    });
    await page.goto(SHOP);
    await page.locator('.product').first().waitFor();
    return new Shopper({context, page, posts, puts, complaints});
}

class Shopper {
    constructor(parts) {
        Object.assign(this, parts);
    }

    button(name) {
        return this.page.getByRole('button', {name});
    }

    /* The same shopper in a second window: one profile, one list of posts. */
    second() {
        return openWindow(this);
    }

    /* Waits until the cart shows these lines: quantities by SKU. */
    async shows(cart) {
        let shown;
        await until(async () => {
            shown = Object.fromEntries(await this.page.locator('#cart-lines .line').evaluateAll(
                lines => lines.map(line => [line.dataset.key,
                    Number(line.querySelector('.quantity').textContent)])));
            return isDeepStrictEqual(shown, cart);
        }, () => `the cart shows ${JSON.stringify(cart)}; it shows ${JSON.stringify(shown)}`);
    }

    /* Asks the gateway in the page's place, and tells the page nothing: as from a window that
     * this one has not heard. */
    behind(method, path, body) {
        return this.page.evaluate(async ([how, where, what]) => {
            const cart = JSON.parse(localStorage.getItem('shop.cart'));
            const answer = await fetch(where.replace('CART', cart), {
                method: how, headers: {'Idempotency-Key': `behind-${cart}`},
                body: JSON.stringify(what).replace('CART', cart),
            });
            return {...await answer.json(), http: answer.status};
        }, [method, path, body]);
    }

    /* The id of an order of the cart, placed behind the page. */
    async orderBehind() {
        const order = await this.behind('POST', '/v1/orders',
            {cart_id: 'CART', payment_method_id: 'pm_card_visa'});
        assert.equal(order.http, 201);
        return order.order_id;
    }

    /* Fills the cart behind the page: quantities by SKU. */
    async fillBehind(cart) {
        const lines = Object.entries(cart).map(([sku, quantity]) => ({sku, quantity}));
        assert.equal((await this.behind('PUT', '/v1/carts/CART', {lines})).http, 200);
    }

    async add(name, times = 1) {
        for (let n = 0; n < times; n++)
            await this.button(`Add to cart ${name}`).click();
    }

    /* The same, and the gateway has the cart. */
    async addAndSave(name) {
        const saved = this.page.waitForResponse(answer => answer.request().method() === 'PUT');
        await this.add(name);
        assert.ok((await saved).ok());
    }

    async choose(card) {
        const radio = this.page.locator(`input[value="${card}"]`);
        if (!await radio.isVisible())
            await this.page.locator('#cards-more summary').click();
        await radio.check();
    }

    async order(card) {
        await this.choose(card);
        await this.page.locator('#order').click();
    }

    /* Waits for the words of a refusal, or of what goes on. */
    async reads(id, words) {
        await this.page.locator(`#${id}`).getByText(words).waitFor();
    }

    /* The key of the order that is on its way, once the orchestrator has claimed it: from
     * here on it is in mid-flight, until the bank answers two seconds later. */
    async inFlight() {
        let key;
        await until(async () => {
            key = await this.page.evaluate(
                () => JSON.parse(localStorage.getItem('shop.attempt'))?.key);
            return key !== undefined && (await sql('SELECT 1 FROM orders.checkouts WHERE ' +
                `split_part(idempotency_key, ' ', 2) = '${key}' AND state = 'running'`)).length === 1;
        }, 'the order is in flight');
        return key;
    }

    /* The receipt's order: the only one of its cart and key, charged once, asked for with
     * one key and one body from the `from`th POST on. */
    async oneOrder(from = 0) {
        const id = await this.receipt();
        const asked = this.posts.slice(from);
        const {key, body} = asked.at(-1);
        const cart = JSON.parse(body).cart_id;

        assert.deepEqual(new Set(asked.map(post => post.key)), new Set([key]));
        assert.deepEqual(new Set(asked.map(post => post.body)), new Set([body]));
        assert.deepEqual(await sql('SELECT id FROM orders.orders ' +
            `WHERE cart_id = '${cart}' OR split_part(idempotency_key, ' ', 2) = '${key}'`), [[id]]);
        assert.deepEqual(await sql('SELECT count(*) FROM sandbox.charges ' +
            `WHERE idempotency_key LIKE '%${id}%' AND status = 'captured'`), [['1']]);
        return id;
    }

    /* The order's number on the receipt, which is also the newest past order. */
    async receipt() {
        await this.page.locator('#receipt').waitFor();
        const id = await this.page.locator('#receipt .order-id').textContent();
        await this.page.locator(`#order-list [data-order="${id}"]`).waitFor();
        return id;
    }

    async leave() {
        assert.deepEqual(this.complaints, []);
        await this.context.close();
    }

    /* All that the page has to say just now. */
    async words() {
        const parts = await this.page.locator('#banner, #notice, #progress')
            .allTextContents().catch(() => []);
        return parts.filter(text => text !== '').join(' | ') || 'nothing';
    }

    /* For a look at what went wrong; CHECKOUT_KEEP keeps it. */
    async picture(name) {
        const path = `${TMPDIR}/${name.replace(/\W+/g, '-')}.png`;
        await this.page.screenshot({path, fullPage: true}).catch(() => {});
        return path;
    }
}
