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
        await shopper.reads('notice', /did not answer for too long.*nothing stays charged/);
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
        const second = await shopper.context.newPage();
        await second.goto(page.url());
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

    visit('a cart that was ordered elsewhere is not ordered again', async (shopper, page) => {
        const elsewhere = () => page.evaluate(async () => {
            const cart = JSON.parse(localStorage.getItem('shop.cart'));
            const answer = await fetch('/v1/orders', {
                method: 'POST', headers: {'Idempotency-Key': `elsewhere-${cart}`},
                body: JSON.stringify({cart_id: cart, payment_method_id: 'pm_card_visa'}),
            });
            return answer.status;
        });

        await shopper.addAndSave('Mug, white');
        assert.equal(await elsewhere(), 201);
        await shopper.order('pm_card_visa');
        await shopper.reads('notice', /ordered from another window/);
        await shopper.button('Start a new cart').click();
        await shopper.addAndSave('Mug, white');
        assert.equal(await elsewhere(), 201);
        await shopper.add('Mug, blue');
        await shopper.reads('banner', /ordered from another window; here is a new one/);
        await page.locator('#cart-empty').waitFor();
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
        await shopper.reads('cart-lines', 'Plate 220');
        await shopper.reads('cart-lines', '€7.00');
        assert.ok((await shown()).length < (await all()).length);
        await page.locator('#order').click();
        await shopper.oneOrder();
        await shop.sql("UPDATE inventory.products SET title = 'Renamed' WHERE sku = 'z-220'");
        await page.reload();
        await page.locator('#order-list summary').first().click();
        await shopper.reads('order-list', '1 × Plate 220');
    });
