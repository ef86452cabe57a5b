// consumer.mjs - a consumer on NATS JetStream: each event takes effect once, whoever dies.
//
//     npm install
//     node consumer.mjs nats://127.0.0.1:4222 received.jsonl [COUNT]
//
// The server delivers at least once: again when no acknowledgement came, and again when the
// publisher was not sure.  So the event's id decides: what is in the table already is only
// acknowledged.  An event is acknowledged after it is on the disk, never before.
//
// The table is a file of one line an event, so that this example needs no database; it is read
// at the start, and a last line that was cut short is cut off.  In a database the id would be
// the primary key, and the insert ON CONFLICT DO NOTHING.  With COUNT it ends when the table
// has so many.
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, truncateSync, writeSync }
    from "node:fs";
import { AckPolicy, connect, DeliverPolicy, StringCodec } from "nats";

const [url, path, count] = process.argv.slice(2);
const STREAM = "CHECKOUT", DURABLE = "example";

class Table {
    constructor(path) {
        this.ids = new Set();
        const text = existsSync(path) ? readFileSync(path, "utf8") : "";
        const whole = text.slice(0, text.lastIndexOf("\n") + 1);
        if (whole.length < text.length)
            truncateSync(path, Buffer.byteLength(whole));
        for (const line of whole.split("\n").filter(Boolean))
            this.ids.add(JSON.parse(line).id);
        this.file = openSync(path, "a");
    }

    // True when it was not there yet.  On the disk when it returns.
    insert(event) {
        if (this.ids.has(event.id))
            return false;
        writeSync(this.file, JSON.stringify(event) + "\n");
        fsyncSync(this.file);
        this.ids.add(event.id);
        return true;
    }

    close() {
        closeSync(this.file);
    }
}

// A durable consumer: the server remembers how far it came.
async function durable(connection) {
    const manager = await connection.jetstreamManager();
    await manager.consumers.add(STREAM, {
        durable_name: DURABLE,
        ack_policy: AckPolicy.Explicit,
        deliver_policy: DeliverPolicy.All,
        filter_subject: "checkout.order.>",
        ack_wait: 2_000_000_000, // ns; a message whose consumer died comes again after it
        max_ack_pending: 1, // one after another, so that repeats keep the order of an order
    });
    return connection.jetstream().consumers.get(STREAM, DURABLE);
}

const table = new Table(path);
const connection = await connect({ servers: url.split(","), maxReconnectAttempts: -1 });
const consumer = await durable(connection);
const codec = StringCodec();
for await (const message of await consumer.consume({ max_messages: 100 })) {
    const event = JSON.parse(codec.decode(message.data));
    table.insert(event);
    message.ack();
    if (count !== undefined && table.ids.size >= Number(count))
        break;
}
await connection.flush();
await connection.close();
table.close();
