#!/bin/bash
#
# undici_pool_connections - a client that never has more than eight requests in flight opens
# more than eight connections.
#
# undici 6.21.0 (the HTTP client behind Node's own fetch), Node 20.20.2, seen on 2026-11-30:
# eight loops, each of which sends its next request when the body of the last answer has been
# read, make fetch() and request() open 12 or 13 connections to one origin; node:http with a
# keep-alive agent opens eight.  The pool has no limit unless it is given one, and the
# connection of an answer that has just been read is not yet free in the moment in which the
# next request is sent, so another is opened.  With `connections: 8` it stays at eight.
#
# So a server's limit of connections an address must leave room for more than the requests
# that one client has in flight.
#
# Ends with 0 while this is so, with 1 when it has changed.
set -euo pipefail

FOLDER=$(mktemp -d)
trap 'rm -rf "$FOLDER"' EXIT
cd "$FOLDER"
echo '{"private": true, "type": "module"}' >package.json
npm install --silent --no-audit --no-fund --ignore-scripts undici@6.21.0 >/dev/null

cat >measure.mjs <<'END'
import http from 'node:http';
import {Agent, fetch, request} from 'undici';

const LOOPS = 8, REQUESTS = 50;
let opened = 0;
const server = http.createServer((_, answer) => answer.end('{}'));
server.keepAliveTimeout = 60_000;
server.on('connection', () => opened++);
await new Promise(listening => server.listen(0, '127.0.0.1', listening));
const url = `http://127.0.0.1:${server.address().port}/`;
const limited = new Agent({connections: LOOPS});
const kept = new http.Agent({keepAlive: true});

const plain = () => new Promise((done, failed) => http.get(url, {agent: kept}, answer =>
    answer.resume().on('end', done)).on('error', failed));
const WAYS = {
    fetch: async () => (await fetch(url)).text(),
    request: async () => (await request(url)).body.text(),
    limited: async () => (await request(url, {dispatcher: limited})).body.text(),
    node_http: plain,
};

async function loop(ask) {
    for (let i = 0; i < REQUESTS; i++)
        await ask();
}

await Promise.all(Array.from({length: LOOPS}, () => loop(WAYS[process.argv[2]])));
console.log(opened);
process.exit(0);
END

echo "node $(node --version), undici $(node -p "require('undici/package.json').version")"
status=0
for way in fetch request limited node_http; do
    opened=$(node measure.mjs "$way")
    echo "$way: 8 requests in flight, $opened connections"
    case $way in
    fetch | request) ((opened > 8)) || status=1 ;;
    *) ((opened <= 8)) || status=1 ;;
    esac
done
exit "$status"
