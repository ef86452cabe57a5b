/* The shop page as its shoppers use it: a click is one order, a refusal is told in words. */
import assert from 'node:assert/strict';
import {readFileSync} from 'node:fs';
import {after, before, describe, test} from 'node:test';
import * as shop from './shopper.mjs';

before(shop.open);
after(shop.close);

/* A test with a shopper of its own, who must have seen no error when leaving. */
function visit(sentence, story, options) {
    test(sentence, async () => {
        const shopper = await shop.shopper(options);
        try {
            await story(shopper, shopper.page);
        } catch (error) {
            error.message += `\n(the page said: ${await shopper.words()}; ` +
                `picture: ${await shopper.picture(sentence)})`;
            throw error;
        }
        await shopper.leave();
    });
}

/* Tabs on to the element; each stop on the way must be seen to have the focus. */
async function tabTo(page, selector) {
    for (let stops = 0; stops < 60; stops++) {
        await page.keyboard.press('Tab');
        const at = await page.evaluate(wanted => {
            const active = document.activeElement;
            const outlined = element => getComputedStyle(element).outlineStyle !== 'none';
            return {
                there: active.matches(wanted), name: active.outerHTML.slice(0, 120),
                seen: outlined(active) || active.closest('label') !== null &&
                    outlined(active.closest('label')),
            };
        }, selector);
        assert.ok(at.seen, `no focus to be seen on ${at.name}`);
        if (at.there)
            return;
    }
    assert.fail(`the keyboard does not lead to ${selector}`);
}

/* Three at a time, the longest first: they mostly wait. */
describe('a shopper', {concurrency: 3}, () => {
    visit('a bank that never answers is waited for with one key, then told', async shopper => {
        await shopper.add('Mug, blue');
        await shopper.order('pm_card_unreachable');
        await shopper.reads('progress', /taking its time.*placed once/);
        await shopper.reads('progress', /bank has not answered yet.*cannot be placed twice/);
        await shopper.reads('notice', /did not answer for too long.*Nothing was charged/);
        assert.ok(shopper.posts.length > 1);
        assert.equal(new Set(shopper.posts.map(post => post.key)).size, 1);
        const before = shopper.posts.length;
        await shopper.order('pm_card_visa');
        await shopper.oneOrder(before);
        assert.notEqual(shopper.posts[0].key, shopper.posts[before].key);
    });

    /* ---- one click, one order ---- */

    visit('a double click places one order', async (shopper, page) => {
        await shopper.add('Mug, blue', 2);
        await shopper.choose('pm_card_visa');
        await page.locator('#order').dblclick();
        await shopper.oneOrder();
        assert.equal(shopper.posts.length, 1);
    });

    visit('a reload in mid-flight finds the same order again', async (shopper, page) => {
        await page.route('**/v1/orders', async route => {
            await route.fetch().catch(() => {}); /* its answer never arrives */
        }, {times: 1});
        await shopper.add('Teapot');
        await shopper.order('pm_card_late');
        const key = await shopper.inFlight();
        await page.reload();
        await shopper.oneOrder();
        assert.deepEqual(shopper.posts.map(post => post.key), [key, key]);
    });

    visit('an order that the network swallows is sent again', async (shopper, page) => {
        await shopper.add('Tea strainer');
        await page.route('**/v1/orders', route => route.abort(), {times: 1});
        await shopper.order('pm_card_visa');
        await shopper.oneOrder();
        assert.equal(shopper.posts.length, 2);
    });

    visit('a second window joins the order of the first', async (shopper, page) => {
        await shopper.add('Mug, white');
        const {page: second} = await shopper.second();
        await second.locator('#cart-lines li').waitFor();
        await page.bringToFront();
        await shopper.order('pm_card_late');
        await second.locator('#receipt').waitFor();
        const id = await shopper.oneOrder();
        assert.equal(await second.locator('#receipt .order-id').textContent(), id);
        await second.locator('#receipt-close').click();
        await second.locator('#cart-empty').waitFor(); /* both have the new cart now */
    });

    /* ---- a refusal, in words ---- */

    visit('a declined card can be replaced by another', async (shopper, page) => {
        await shopper.add('Sencha');
        await shopper.order('pm_card_chargeDeclined');
        await shopper.reads('notice', /said no to Mastercard.*Nothing was ordered/);
        await shopper.button('Choose another card').click();
        await page.keyboard.press('ArrowUp');
        await page.locator('#order').click();
        await shopper.oneOrder(1);
        assert.notEqual(shopper.posts[0].key, shopper.posts[1].key);
    });

    visit('what is out of stock is named, and the cart can be changed to what there is',
        async (shopper, page) => {
            await shopper.add('Test scarce', 3);
            await shopper.add('Mug, blue');
            await shop.call('inventory.v1.Inventory/AdjustStock', {
                sku: 'scarce', delta: -2, reason: 'sold elsewhere', adjustment_id: 'elsewhere',
            });
            await shopper.order('pm_card_visa');
            await shopper.reads('notice', 'Only 1 left of Test scarce; you want 3.');
            assert.doesNotMatch(await page.locator('#notice').textContent(), /Mug/);
            await shopper.button('Adjust the cart').click();
            await page.locator('#order').click();
            await shopper.oneOrder(1);
            assert.match(await page.locator('#receipt').textContent(), /1 × Test scarce/);
        });

    visit('a changed price is shown with the old one and asked about', async (shopper, page) => {
        await shopper.add('Test moody', 2);
        await shop.call('inventory.v1.Inventory/PutProduct',
            {sku: 'moody', title: 'Test moody', price_cents: 1250, currency: 'EUR'});
        await shopper.order('pm_card_visa');
        await shopper.reads('notice', /You agreed to €20.00. The total is now €25.00/);
        await shopper.reads('notice', 'Test moody: €10.00 before, €12.50 now');
        await shopper.reads('product-list', '€12.50');
        assert.equal(shopper.posts.length, 1);
        await shopper.button('Order for €25.00').click();
        await shopper.oneOrder(1);
        assert.match(await page.locator('#receipt tfoot').textContent(), /€25.00/);
    });

    visit('a changed currency is no less a changed price', async shopper => {
        await shopper.addAndSave('Test fickle');
        await shop.call('inventory.v1.Inventory/PutProduct',
            {sku: 'fickle', title: 'Test fickle', price_cents: 5900, currency: 'GBP'});
        await shopper.order('pm_card_visa');
        await shopper.reads('notice', /You agreed to €59.00. The total is now £59.00/);
        await shopper.reads('notice', 'Test fickle: €59.00 before, £59.00 now');
        await shopper.button('Order for £59.00').click();
        await shopper.oneOrder(1);
        await shopper.reads('receipt', 'Total');
        assert.match(await shopper.page.locator('#receipt tfoot').textContent(), /£59.00/);
    });

    visit('what the cart costs is what the shop says now, not the list of products',
        async (shopper, page) => {
            const price = cents => shop.call('inventory.v1.Inventory/PutProduct',
                {sku: 'drifting', title: 'Test drifting', price_cents: cents, currency: 'EUR'});

            await price(1300);
            await shopper.add('Test drifting');
            await page.locator('#cart-total').getByText('€13.00').waitFor();
            await shopper.reads('banner', /Prices have changed.*€10.00 before, €13.00 now/);
            await price(900);
            await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
            await page.locator('#cart-total').getByText('€9.00').waitFor();
            await shopper.reads('banner', /Prices have changed.*€13.00 before, €9.00 now/);
            const same = page.waitForResponse(/carts/);
            await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
            assert.equal((await same).status(), 304);
            await page.locator('#order').click();
            await shopper.oneOrder();
        });

    visit('what has no price on the screen is not ordered', async (shopper, page) => {
        const unpriced = async route => { /* as when the inventory does not answer */
            const answer = await route.fetch();
            const {cart_id, etag, lines} = await answer.json();
            await route.fulfill({json: {
                cart_id, etag: etag.replace(/\..*"/, '"'),
                lines: lines.map(({sku, quantity}) => ({sku, quantity})),
            }});
        };

        await page.route('**/v1/carts/*', unpriced);
        await shopper.addAndSave('Tea strainer');
        await page.locator('#cart-lines .line-price').getByText('…').waitFor();
        await shopper.order('pm_card_visa');
        await shopper.reads('notice', /cannot determine the price just now/);
        await page.unroute('**/v1/carts/*', unpriced);
        await page.locator('#order').click();
        await shopper.reads('notice', /The total is €4.90/);
        assert.equal(shopper.posts.length, 0);
        await shopper.button('Order for €4.90').click();
        await shopper.oneOrder();
    });

    visit('a bank that has a fault may be asked again with the same card', async shopper => {
        await shopper.add('Tea strainer');
        await shopper.order('pm_card_insufficientFunds');
        await shopper.reads('notice', /not enough money.*The same card will not work/);
        await shopper.order('pm_card_processingError');
        await shopper.reads('notice', /went wrong at the bank.*same card may work in a while/);
        await shopper.button('Try this card again').click();
        await shop.until(() => shopper.posts.length === 3, 'it is tried again');
        await shopper.reads('notice', /same card may work in a while/);
        assert.equal(new Set(shopper.posts.map(post => post.key)).size, 3);
        await shopper.order('pm_card_visa');
        await shopper.oneOrder(3);
    });

    visit('a refusal tells what became of the money', async (shopper, page) => {
        const told = {
            none: /Nothing was ordered. Nothing was charged. /,
            refunded: /Nothing was ordered. What was charged has been given back. /,
            refund_pending: /Nothing was ordered. If anything was charged, it is being given back. /,
        };

        await shopper.add('Tea strainer');
        for (const [money, words] of Object.entries(told)) {
            await page.route('**/v1/orders', async route => {
                const answer = await route.fetch();
                await route.fulfill({response: answer, json: {...await answer.json(), money}});
            }, {times: 1});
            await shopper.order('pm_card_chargeDeclined');
            await shopper.reads('notice', words);
        }
    });

    /* ---- two windows, one cart ---- */

    visit('two windows show one cart, whichever changes it', async shopper => {
        await shopper.add('Teapot');
        const second = await shopper.second();
        await second.shows({teapot: 1});
        await second.add('Mug, blue', 2);
        await shopper.shows({teapot: 1, 'mug-blue': 2});
        await shopper.reads('banner', /changed in another window. Mug, blue/);
        await shopper.button('Remove Teapot').click();
        await second.shows({'mug-blue': 2});
        await second.reads('banner', /changed in another window. Teapot.*: taken out/);
        await shopper.order('pm_card_visa');
        await shopper.oneOrder();
        assert.match(await shopper.page.locator('#receipt').textContent(), /2 × Mug, blue/);
    });

    visit('what another window has put in is not ordered before it is shown', async shopper => {
        await shopper.addAndSave('Teapot');
        await shopper.fillBehind({teapot: 1, 'mug-blue': 3});
        await shopper.order('pm_card_visa');
        await shopper.reads('notice', /changed in another window, so nothing was ordered/);
        await shopper.reads('notice', 'Mug, blue: 3 put in.');
        await shopper.shows({teapot: 1, 'mug-blue': 3});
        const {cart_id: cart} = JSON.parse(shopper.posts[0].body);
        assert.deepEqual(await shop.sql(`SELECT id FROM orders.orders WHERE cart_id = '${cart}'`),
            []);
        await shopper.button('Order for').click();
        await shopper.oneOrder(1);
        assert.notEqual(shopper.posts[0].key, shopper.posts[1].key);
        assert.match(await shopper.page.locator('#receipt').textContent(), /3 × Mug, blue/);
    });

    visit('a cart that another window has emptied is not ordered, and that is told',
        async shopper => {
            await shopper.addAndSave('Teapot');
            await shopper.fillBehind({});
            await shopper.order('pm_card_visa');
            await shopper.reads('notice', /changed in another window, so nothing was ordered/);
            await shopper.reads('notice', /Teapot.*: taken out\./);
            await shopper.shows({});
        });

    visit('a change does not replace what another window has put in', async shopper => {
        await shopper.addAndSave('Teapot');
        await shopper.fillBehind({teapot: 2});
        await shopper.add('Kettle');
        await shopper.reads('banner', /so your last change was not made. Teapot.*: 1 before, 2 now/);
        await shopper.shows({teapot: 2});
        await shopper.addAndSave('Kettle');
        const seen = JSON.parse(shopper.puts.at(-1));
        assert.deepEqual(seen.lines.map(line => line.quantity), [2, 1]);
        await shopper.shows({teapot: 2, kettle: 1});
    });

    visit('a window that missed an order shows it, and has a new cart', async shopper => {
        await shopper.addAndSave('Mug, white');
        const second = await shopper.second();
        await second.shows({'mug-white': 1});
        const id = await shopper.orderBehind();
        await shopper.page.evaluate(() => localStorage.setItem('shop.cart', '"the-next-cart"'));
        await second.reads('receipt-heading', 'Ordered in another window');
        assert.equal(await second.page.locator('#receipt .order-id').textContent(), id);
        assert.match(await second.page.locator('#receipt').textContent(), /1 × Mug, white/);
        await second.page.locator('#receipt-close').click();
        await second.page.locator('#cart-empty').waitFor();
    });

    visit('a cart that was ordered elsewhere is not ordered again', async (shopper, page) => {
        const isShown = async id => {
            await shopper.reads('receipt-heading', 'Ordered in another window');
            assert.equal(await page.locator('#receipt .order-id').textContent(), id);
        };

        await shopper.addAndSave('Mug, white');
        const first = await shopper.orderBehind();
        await shopper.order('pm_card_visa');
        await isShown(first);
        await page.locator(`#order-${first}`).waitFor();
        await page.getByRole('link', {name: 'Find it among your orders'}).click();
        await page.locator(`#order-${first} summary:focus`).waitFor();
        await page.locator(`#order-${first} table`).waitFor();
        await page.locator('#receipt-close').click();
        await shopper.addAndSave('Mug, white');
        const second = await shopper.orderBehind();
        await shopper.add('Mug, blue');
        await isShown(second);
        await page.locator('#receipt-close').click();
        await page.locator('#cart-empty').waitFor();
    });

    /* ---- a browser that keeps nothing ---- */

    visit('a full storage keeps nobody from buying, and is told', async (shopper, page) => {
        const buyOnce = async from => {
            await page.route('**/v1/orders', route => route.abort(), {times: 1});
            await shopper.order('pm_card_visa');
            await shopper.oneOrder(from);
            assert.equal(shopper.posts.length, from + 2);
        };

        await shopper.addAndSave('Tea strainer');
        await page.evaluate(() => {
            for (let size = 1 << 20; size > 0; size >>= 1)
                try {
                    for (let n = 0; ; n++)
                        localStorage.setItem(`${size}-${n}`, 'x'.repeat(size));
                } catch {
                    /* less, then */
                }
        });
        await buyOnce(0);
        await page.reload();
        await shopper.reads('memory', /full or blocked.*this window alone.*do not close/);
        await shopper.add('Mug, white');
        await buyOnce(2);
    });

    visit('a blocked storage keeps nobody from buying, and is told', async (shopper, page) => {
        await shopper.reads('memory', /full or blocked.*this window alone.*do not close/);
        await shopper.add('Tea strainer');
        const second = await shopper.second();
        await second.page.locator('#cart-empty').waitFor();
        await page.route('**/v1/orders', route => route.abort(), {times: 1});
        await shopper.order('pm_card_visa');
        await shopper.oneOrder();
        assert.equal(shopper.posts.length, 2);
        await page.locator('#receipt-close').click();
        await shopper.add('Mug, white');
        await page.locator('#order').click();
        await shopper.oneOrder(2);
    }, {init: () => Object.defineProperty(window, 'localStorage', {
        get: () => { throw new DOMException('Access is denied', 'SecurityError'); },
    })});

    visit('a storage that is cleared loses neither the cart nor an order', async (shopper, page) => {
        const noted = window => window.evaluate(() => localStorage.getItem('shop.cart'));
        const second = await shopper.second();

        await shopper.addAndSave('Teapot');
        const before = await noted(page);
        await second.shows({teapot: 1});
        await second.page.evaluate(() => localStorage.clear());
        await shop.until(async () => await noted(page) === before, 'the note is there again');
        await page.reload();
        await shopper.shows({teapot: 1});
        await shopper.order('pm_card_late');
        await shopper.inFlight();
        await page.evaluate(() => localStorage.clear());
        await shopper.oneOrder();
    });

    visit('a session that ended in between is renewed', async (shopper, page) => {
        await shopper.addAndSave('Tea strainer');
        await shopper.context.clearCookies();
        await shopper.order('pm_card_visa');
        await shopper.oneOrder();
        assert.equal(shopper.posts.length, 2);
    });

    /* ---- for everybody ---- */

    visit('the keyboard alone leads from the products to a receipt', async (shopper, page) => {
        await tabTo(page, '.product:nth-child(2) button');
        await page.keyboard.press('Enter');
        await page.locator('#cart-lines .line').waitFor();
        await tabTo(page, '.step:last-child');
        await page.keyboard.press('Space');
        await tabTo(page, 'input[name=card]');
        await page.keyboard.press('ArrowDown');
        await page.keyboard.press('ArrowUp');
        await tabTo(page, '#order');
        await page.keyboard.press('Enter');
        await shopper.oneOrder();
        assert.equal(await page.evaluate(() => document.activeElement.id), 'receipt-heading');
        assert.match(await page.locator('#receipt').textContent(), /2 × /);
        await tabTo(page, '#receipt-close');
        await page.keyboard.press('Enter');
        await page.locator('#cart-empty').waitFor();
    });

    visit('a narrow phone never scrolls sideways', async (shopper, page) => {
        const fits = async () => {
            for (const width of [360, 320]) {
                await page.setViewportSize({width, height: 700});
                const wide = await page.evaluate(() => document.documentElement.scrollWidth);
                assert.ok(wide <= width, `${wide} pixels wide at ${width}`);
            }
        };

        await fits();
        await shopper.add('Darjeeling');
        await shopper.add('Kettle');
        await fits();
        await shopper.order('pm_card_insufficientFunds');
        await page.locator('#notice').waitFor();
        await page.locator('#cards-more summary').click();
        await fits();
        await shopper.order('pm_card_visa');
        await shopper.receipt();
        await page.locator('#order-list summary').first().click();
        await fits();
    }, {colorScheme: 'dark'});

    visit('on a phone a bar leads to the cart and keeps out of its way', async (shopper, page) => {
        const bar = page.locator('#cart-bar');

        await bar.waitFor({state: 'hidden'});
        await shopper.add('Mug, blue');
        await bar.click();
        await bar.waitFor({state: 'hidden'});
        await shopper.add('Teapot'); /* near the cart */
        await page.screenshot({fullPage: true}); /* for a moment all of the page is in sight */
        await page.screenshot();
        await bar.waitFor({state: 'hidden'});
        await page.evaluate(() => window.scrollTo(0, 0));
        await bar.waitFor();
        await page.locator('#order').click();
        await shopper.oneOrder();
        await bar.waitFor({state: 'hidden'});
    }, {viewport: {width: 390, height: 844}, reducedMotion: 'no-preference'});

    visit('every card of the sandbox is offered', async (shopper, page) => {
        const header = readFileSync(`${process.env.REPO}/payment/sandbox.h`, 'utf8');
        const cards = await page.locator('input[name=card]').evaluateAll(
            inputs => inputs.map(input => input.value));

        assert.deepEqual(new Set(cards), new Set(header.match(/pm_card_\w+/g)));
    });
});

/* Alone: the others would notice. */
visit('a gateway killed in mid-flight loses nothing', async (shopper, page) => {
    const pid = shop.gatewayPid();
    await shopper.add('Teapot');
    await shopper.order('pm_card_late');
    await shopper.inFlight();
    process.kill(pid, 'SIGKILL');
    await shopper.reads('progress', /connection to the shop is lost.*cannot be placed twice/);
    await shopper.oneOrder();
    assert.ok(shopper.posts.length > 1);
});

visit('past orders are all there, newest first, page after page', async (shopper, page) => {
    const rows = await shop.sql('SELECT id FROM orders.orders ORDER BY created_at DESC, id DESC');
    const all = rows.map(([id]) => id);
    const shown = () => page.locator('#order-list li').evaluateAll(
        items => items.map(item => item.dataset.order));

    assert.ok(all.length > 5);
    while (await page.locator('#orders-more').isVisible()) {
        const before = (await shown()).length;
        assert.ok(before < all.length, 'there is no end of pages');
        await page.locator('#orders-more').click();
        await shop.until(async () => (await shown()).length > before, 'the next page is shown');
    }
    assert.deepEqual(await shown(), all);
});

/* Alone: tabbing through all of them would be long. */
visit('all products are there, page after page, and in the cart whatever the page',
    async (shopper, page) => {
        const all = async () => (await shop.sql(
            'SELECT sku FROM inventory.products ORDER BY sku COLLATE "C"')).map(([sku]) => sku);
        const shown = () => page.locator('#product-list li').evaluateAll(
            items => items.map(item => item.dataset.key));

        await shop.sql("INSERT INTO inventory.products SELECT 'z-' || n, 'Plate ' || n, 700, 'EUR' " +
            'FROM generate_series(101, 220) n; INSERT INTO inventory.stock (sku, received, ' +
            "available) SELECT sku, 5, 5 FROM inventory.products WHERE sku LIKE 'z-%'; " +
            "INSERT INTO inventory.ledger SELECT 'z-' || n, 'z-' || n, 5, 'test' " +
            'FROM generate_series(101, 220) n');
        await page.reload();
        await page.locator('#products-more').waitFor();
        while (await page.locator('#products-more').isVisible()) {
            const before = (await shown()).length;
            await page.locator('#products-more').click();
            await shop.until(async () => (await shown()).length > before, 'more are shown');
        }
        assert.deepEqual(await shown(), await all());
        await shopper.addAndSave('Plate 220');
        await page.reload();
        await shopper.shows({'z-220': 1});
        await shopper.reads('cart-lines', /^Plate 220$/);
        await shopper.reads('cart-lines', '€7.00');
        assert.ok((await shown()).length < (await all()).length);
        await page.locator('#order').click();
        await shopper.oneOrder();
        await shop.sql("UPDATE inventory.products SET title = 'Renamed' WHERE sku = 'z-220'");
        await page.reload();
        await page.locator('#order-list summary').first().click();
        await shopper.reads('order-list', '1 × Plate 220');
    });
