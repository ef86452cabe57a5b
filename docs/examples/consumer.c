/*
 * consumer.c - a consumer on the embedded bus: each event takes effect once, whoever dies.
 *
 *      wait: a live message, or a second     (nng SUB, says that something happened)
 *      read: everything after the position   (checkoutctl events read; durable, no gap)
 *      write: the event and the new position, in one transaction   (exactly once, by id)
 *
 * What is heard live is only the bell; what is read is the truth.  A message that was missed
 * therefore costs a second, and never an event.  The position stands in the consumer's own
 * database, beside what the events did there: so the two cannot disagree, and no cursor needs
 * to be committed.  The table's primary key drops what was delivered twice.
 *
 *      cc -std=c11 -D_GNU_SOURCE consumer.c -o consumer \
 *                 $(pkg-config --cflags --libs libpq jansson) -lnng
 *      ./consumer ipc:///var/lib/checkout/run/events.sock postgresql:///mine \
 *                 build/bin/checkoutctl --state /var/lib/checkout
 *
 * A program of your own would call events.v1.Events/Read itself (lib/rpc/client/channel.h).
 */
#include <jansson.h>
#include <libpq-fe.h>
#include <nng/nng.h>
#include <nng/protocol/pubsub0/sub.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WAIT_MS = 1000, WORDS_MAX = 16 };

static const char TABLES[] =
    "CREATE TABLE IF NOT EXISTS received (id text PRIMARY KEY, order_id text NOT NULL,"
    "                                     type text NOT NULL, data jsonb NOT NULL);"
    "CREATE TABLE IF NOT EXISTS progress (one boolean PRIMARY KEY DEFAULT true CHECK (one),"
    "                                     position bigint NOT NULL);"
    "INSERT INTO progress (position) VALUES (0) ON CONFLICT DO NOTHING";

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "consumer: %s: %s\n", what, why);
    exit(1);
}

static void sql(PGconn *db, const char *text, int count, const char *const *values)
{
    PGresult *result = count == 0
                           ? PQexec(db, text)
                           : PQexecParams(db, text, count, NULL, values, NULL, NULL, 0);

    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        fail(text, PQerrorMessage(db));
    PQclear(result);
}

static long long position_of(PGconn *db)
{
    PGresult *result = PQexec(db, "SELECT position FROM progress");

    if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1)
        fail("progress", PQerrorMessage(db));
    long long position = atoll(PQgetvalue(result, 0, 0));
    PQclear(result);
    return position;
}

/* What an event does: here, a row.  Together with the position, or not at all. */
static long long take(PGconn *db, const char *line)
{
    json_error_t problem;
    json_t *root = json_loads(line, 0, &problem), *data;
    json_int_t position;
    const char *id, *subject, *type;
    char number[32];

    if (root == NULL ||
        json_unpack(root, "{s:I, s:{s:s, s:s, s:s, s:o}}", "position", &position, "event",
                    "id", &id, "subject", &subject, "type", &type, "data", &data) != 0)
        fail("not an event", line);
    char *text = json_dumps(data, JSON_COMPACT);
    snprintf(number, sizeof number, "%lld", (long long)position);
    sql(db, "BEGIN", 0, NULL);
    sql(db, "INSERT INTO received VALUES ($1, $2, $3, $4::jsonb) ON CONFLICT DO NOTHING",
        4, (const char *[]){id, subject, type, text});
    sql(db, "UPDATE progress SET position = $1::bigint", 1, (const char *[]){number});
    sql(db, "COMMIT", 0, NULL);
    free(text);
    json_decref(root);
    return position;
}

/* The command's words, then ours, for the shell: so none of them may have a blank. */
static FILE *start_read(char **command, long long after)
{
    char text[4096] = "", number[32];
    size_t used = 0;

    for (char **word = command; *word != NULL; word++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s ", *word);
    snprintf(number, sizeof number, "%lld", after);
    snprintf(text + used, sizeof text - used, "events read --limit 1000 --after %s",
             number);
    return popen(text, "r");
}

/* Everything there is; the position it has come to. */
static long long catch_up(PGconn *db, char **command, long long position)
{
    char *line = NULL;
    size_t room = 0;
    long long before;

    do {
        before = position;
        FILE *events = start_read(command, position);
        while (events != NULL && getline(&line, &room, events) > 0)
            position = take(db, line);
        if (events == NULL || pclose(events) != 0)
            fprintf(stderr, "consumer: nobody could be asked; trying again\n");
    } while (position > before);
    free(line);
    return position;
}

static nng_socket listen_to(const char *url)
{
    nng_socket socket;
    int rv = nng_sub0_open(&socket);

    if (rv == 0)
        rv = nng_socket_set(socket, NNG_OPT_SUB_SUBSCRIBE, "order.", strlen("order."));
    if (rv == 0)
        rv = nng_socket_set_ms(socket, NNG_OPT_RECVTIMEO, WAIT_MS);
    if (rv == 0) /* it need not be there yet: nng dials again and again */
        rv = nng_dial(socket, url, NULL, NNG_FLAG_NONBLOCK);
    if (rv != 0)
        fail(url, nng_strerror(rv));
    return socket;
}

/* "order.created 17\n{...}"; 0 when it is not of that form. */
static long long position_heard(const char *text, size_t size)
{
    const char *end = memchr(text, '\n', size);
    const char *blank = end == NULL ? NULL : memchr(text, ' ', (size_t)(end - text));

    return blank == NULL ? 0 : atoll(blank);
}

int main(int argc, char **argv)
{
    if (argc < 4 || argc > WORDS_MAX)
        fail("usage", "consumer EVENTS_URL DATABASE_URL CHECKOUTCTL [OPTION...]");
    PGconn *db = PQconnectdb(argv[2]);
    if (PQstatus(db) != CONNECTION_OK)
        fail("database", PQerrorMessage(db));
    sql(db, "SET client_min_messages = warning", 0, NULL);
    sql(db, TABLES, 0, NULL);
    nng_socket live = listen_to(argv[1]);
    long long position = position_of(db);
    for (;;) {
        nng_msg *message = NULL;
        position = catch_up(db, argv + 3, position);
        /* One that was seen already wakes nobody. */
        while (nng_recvmsg(live, &message, 0) == 0) {
            long long heard = position_heard(nng_msg_body(message), nng_msg_len(message));
            nng_msg_free(message);
            if (heard > position)
                break;
        }
    }
}
