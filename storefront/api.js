/*
 * api.js - requests to the gateway, sent once or retried until the answer is final.
 *
 * An answer is {status, ok, code, body, retryAfter}.  Status 0: no answer came, so the request
 * may have taken effect or not; retry.  304 has no body.
 */
const NO_ANSWER = {status: 0, ok: false, code: 'unreachable', body: {}, retryAfter: 0};

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 8000;

async function askOnce(method, path, {body, key, headers: others = {}, timeout = 10000}) {
    const headers = {...others};
    if (key !== undefined)
        headers['Idempotency-Key'] = key;
    if (body !== undefined)
        headers['Content-Type'] = 'application/json';
    try {
        const response = await fetch(path, {
            method, headers, body: body && JSON.stringify(body), cache: 'no-store',
            redirect: 'error', keepalive: method === 'PUT', signal: AbortSignal.timeout(timeout),
        });
        const json = response.status === 304 ? {} : await response.json();
        return {
            status: response.status, ok: response.ok, code: json.code, body: json,
            retryAfter: Number(response.headers.get('Retry-After')) || 0,
        };
    } catch {
        return NO_ANSWER; /* also a body that is not JSON, as the gateway did not send it */
    }
}

/* Loading the page signs in; so does fetching it. */
async function signInAgain() {
    await fetch('/', {cache: 'no-store', signal: AbortSignal.timeout(5000)}).catch(() => {});
}

/* `key` is the Idempotency-Key, `headers` are other fields; `timeout` in ms. */
export async function ask(method, path, options = {}) {
    let answer = await askOnce(method, path, options);
    if (answer.status === 401) {
        await signInAgain();
        answer = await askOnce(method, path, options);
    }
    return answer;
}

/* Whether a retry may get another answer. */
function mayChange(answer) {
    if (answer.status === 304)
        return false;
    return answer.status === 0 || answer.status === 429 || answer.status >= 500 ||
        answer.body.retryable === true || answer.code === undefined && !answer.ok;
}

/* Exponential backoff with jitter, at least Retry-After. */
function pauseOf(round, retryAfter) {
    const most = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** round);
    return Math.max(retryAfter * 1000, most * (0.5 + Math.random() / 2));
}

/* Ends early when the browser is online again. */
function pause(ms) {
    return new Promise(resolve => {
        const timer = setTimeout(end, ms);
        window.addEventListener('online', end);
        function end() {
            clearTimeout(timer);
            window.removeEventListener('online', end);
            resolve();
        }
    });
}

/* Retries until the answer is final; calls onRetry(answer, pause in ms) before each retry. */
export async function askUntilSettled(method, path, options = {}, onRetry = () => {}) {
    for (let round = 0; ; round++) {
        const answer = await ask(method, path, options);
        if (!mayChange(answer))
            return answer;
        const ms = pauseOf(round, answer.retryAfter);
        onRetry(answer, ms);
        await pause(ms);
    }
}
