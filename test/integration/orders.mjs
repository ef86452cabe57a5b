/*
 * orders.mjs - a shop's server: orders by Node's own clients, each repeated until final.
 *
 * The first line of its input is an object:
 *
 *      via        "fetch", or "agent": node:http with kept connections
 *      urls       of gateways; an order goes to each in turn
 *      token, sku
 *      at_once    orders at any moment
 *      count      orders in all; without it: until the input ends
 *
 * Prints one object: `orders` (order ids by their keys), `repeated` (how many requests had to
 * be), `broken` (how many of these because an accepted connection broke), and `connections`.
 */
import diagnostics from 'node:diagnostics_channel';
import http from 'node:http';
import readline from 'node:readline';
import {randomUUID} from 'node:crypto';

const REPEAT_AFTER_MS = 50;
const said = {orders: {}, repeated: 0, broken: 0, connections: 0};
const lines = readline.createInterface({input: process.stdin});
const task = JSON.parse(await new Promise(resolve => lines.once('line', resolve)));
const agent = new http.Agent({keepAlive: true, maxSockets: task.at_once});
let begun = 0;
let ended = false;

lines.once('close', () => { ended = true; });
diagnostics.subscribe('undici:client:connected', () => { said.connections++; });

/* {status, text} */
function byAgent(url, {method, headers, body}) {
    return new Promise((resolve, reject) => {
        const request = http.request(url, {method, headers, agent}, answer => {
            let text = '';
            answer.setEncoding('utf8');
            answer.on('data', more => { text += more; });
            answer.on('end', () => resolve({status: answer.statusCode, text}));
            answer.on('error', reject);
        });
        request.on('socket', () => { said.connections += request.reusedSocket ? 0 : 1; });
        request.on('error', reject);
        request.end(body);
    });
}

async function byFetch(url, options) {
    const answer = await fetch(url, options);
    return {status: answer.status, text: await answer.text()};
}

const ask = task.via === 'agent' ? byAgent : byFetch;

/* Asks one gateway after the other, until the answer will not change. */
async function untilFinal(method, path, headers, body) {
    const options = {
        method, body: JSON.stringify(body),
        headers: {...headers, 'Authorization': `Bearer ${task.token}`,
            'Content-Type': 'application/json'},
    };

    for (let n = begun; ; n++) {
        try {
            const answer = await ask(task.urls[n % task.urls.length] + path, options);
            const json = JSON.parse(answer.text);
            if (answer.status < 400)
                return json;
            if (!json.retryable)
                throw new Error(`${method} ${path}: ${answer.status} ${answer.text}`);
        } catch (error) {
            if (error.cause === undefined && error.code === undefined)
                throw error;
            said.broken += (error.cause ?? error).code === 'ECONNREFUSED' ? 0 : 1;
        }
        said.repeated++;
        await new Promise(resolve => setTimeout(resolve, REPEAT_AFTER_MS));
    }
}

async function shop() {
    while (task.count === undefined ? !ended : begun < task.count) {
        begun++;
        const key = randomUUID();
        await untilFinal('PUT', `/v1/carts/${key}`, {},
                         {lines: [{sku: task.sku, quantity: 1}]});
        const order = await untilFinal('POST', '/v1/orders', {'Idempotency-Key': key},
                                       {cart_id: key, payment_method_id: 'pm_card_visa'});
        said.orders[key] = order.order_id;
    }
}

await Promise.all(Array.from({length: task.at_once}, shop));
agent.destroy();
process.stdout.write(JSON.stringify(said));
process.exit(0);
