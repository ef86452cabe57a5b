/* connect.c - see connect.h. */
#include "db/connection/connect.h"

#include <ctype.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "db/connection/sqlstate.h"

enum {
    KEYS_MAX = 80, /* more than libpq has parameters, and ours */
    PART_SIZE = 256,
    URL_MAX = 4096,
};

/* One host of the URL; a part that is not given is "". */
struct host {
    char name[PART_SIZE], address[PART_SIZE], port[PART_SIZE];
};

/* ---- what the URL says ------------------------------------------------------------------ */

/* libpq has no such session attribute: it rejects it, and its message has this word. */
static const char NOT_YET[] = "not-yet";

static const char *value_of(const PQconninfoOption *options, const char *key)
{
    for (; options->keyword != NULL; options++)
        if (strcmp(options->keyword, key) == 0)
            return options->val != NULL ? options->val : "";
    return "";
}

static struct err misread(void)
{
    /* libpq's message may quote the URL, so it is not passed on. */
    return err_make(ERR_UNAVAILABLE, "The database URL is not one libpq understands.");
}

/* Without the whitespace that a file or an editor leaves around it. */
static struct err trimmed(const char *url, char out[URL_MAX])
{
    while (isspace((unsigned char)*url))
        url++;
    size_t length = strlen(url);
    while (length > 0 && isspace((unsigned char)url[length - 1]))
        length--;
    if (length >= URL_MAX)
        return err_make(ERR_UNAVAILABLE, "The database URL is longer than %d bytes.",
                        URL_MAX - 1);
    memcpy(out, url, length);
    out[length] = '\0';
    PQconninfoOption *parsed = PQconninfoParse(out, NULL);
    if (parsed == NULL)
        return misread();
    PQconninfoFree(parsed);
    return ERR_NONE;
}

/*
 * The options from URL, service file and environment together.  libpq merges them only
 * when it connects, and would look names up at once; so it is given an option that it
 * must reject.
 */
static struct err read_options(const char *url, PQconninfoOption **out)
{
    char text[URL_MAX];
    const char *const keys[] = {"dbname", "target_session_attrs", NULL};
    const char *const values[] = {text, NOT_YET, NULL};
    struct err e = trimmed(url, text);

    if (failed(e))
        return e;
    PGconn *pg = PQconnectStartParams(keys, values, 1);
    if (pg == NULL)
        return err_memory();
    if (strstr(PQerrorMessage(pg), NOT_YET) == NULL)
        e = words_of_connection(pg);
    else if ((*out = PQconninfo(pg)) == NULL)
        e = err_memory();
    PQfinish(pg);
    return e;
}

/* The i-th part of a comma-separated list, or its only part for all. */
static const char *part_of(const char *list, size_t i, char out[PART_SIZE])
{
    if (strchr(list, ',') == NULL)
        i = 0;
    for (; i > 0 && list != NULL; i--) {
        const char *comma = strchr(list, ',');
        list = comma != NULL ? comma + 1 : NULL;
    }
    if (list == NULL)
        list = "";
    snprintf(out, PART_SIZE, "%.*s", (int)strcspn(list, ","), list);
    return out;
}

static struct host host_of(const PQconninfoOption *options, size_t i)
{
    struct host host;

    part_of(value_of(options, "host"), i, host.name);
    part_of(value_of(options, "hostaddr"), i, host.address);
    part_of(value_of(options, "port"), i, host.port);
    return host;
}

static size_t count_hosts(const PQconninfoOption *options)
{
    const char *hosts = value_of(options, "host");
    size_t count = 1;

    if (*hosts == '\0')
        hosts = value_of(options, "hostaddr");
    for (; *hosts != '\0'; hosts++)
        count += *hosts == ',' ? 1 : 0;
    return count;
}

/* ---- one address ------------------------------------------------------------------------ */

struct parameters {
    const char *keys[KEYS_MAX], *values[KEYS_MAX];
    size_t count;
};

static void add(struct parameters *p, const char *key, const char *value)
{
    p->keys[p->count] = key;
    p->values[p->count++] = value;
    p->keys[p->count] = NULL;
}

/*
 * A network connection that was cut silently is noticed within three seconds: the kernel
 * sends a keepalive after each second of silence, and connection.c sees that two are
 * unanswered.  A migrator waits longer.
 */
static void add_keepalives(struct parameters *p, bool patient)
{
    add(p, "keepalives", "1");
    add(p, "keepalives_idle", patient ? "20" : "1");
    add(p, "keepalives_interval", patient ? "10" : "1");
    add(p, "keepalives_count", patient ? "4" : "2");
    if (patient)
        add(p, "tcp_user_timeout", "60000");
}

static bool is_ours(const char *key)
{
    static const char *const OURS[] = {"host", "hostaddr", "port",
                                       "target_session_attrs"};

    for (size_t i = 0; i < sizeof OURS / sizeof *OURS; i++)
        if (strcmp(key, OURS[i]) == 0)
            return true;
    return strncmp(key, "keepalives", strlen("keepalives")) == 0 ||
           strcmp(key, "tcp_user_timeout") == 0;
}

/* Starts connecting to one address of one host. */
static PGconn *start(const struct conn *conn, const PQconninfoOption *options,
                     const struct host *host, const char *address)
{
    struct parameters p = {.count = 0};

    for (; options->keyword != NULL && p.count < KEYS_MAX - 12; options++)
        if (options->val != NULL && !is_ours(options->keyword))
            add(&p, options->keyword, options->val);
    add(&p, "host", host->name); /* for the certificate and the password file */
    add(&p, "hostaddr", address);
    add(&p, "port", host->port);
    add(&p, "fallback_application_name", conn->name);
    add(&p, "client_encoding", "UTF8");
    add_keepalives(&p, conn->of == SETTINGS_MIGRATOR);
    /* A standby gives readers old data and rejects writes.  ("read-write" would also reject
     * a primary whose default_transaction_read_only is on, which setup.c overrides.) */
    add(&p, "target_session_attrs", "primary");
    return PQconnectStartParams(p.keys, p.values, 0);
}

/* 1: connected, 0: the deadline passed, -1: refused. */
static int finish_within(struct conn *conn, int64_t deadline_ms)
{
    PostgresPollingStatusType next = PGRES_POLLING_WRITING;

    if (PQstatus(conn->pg) == CONNECTION_BAD)
        return -1;
    while (next != PGRES_POLLING_OK) {
        short events = next == PGRES_POLLING_READING ? POLLIN : POLLOUT;
        int ready = conn_poll(conn, events, deadline_ms);
        if (ready <= 0)
            return ready;
        next = PQconnectPoll(conn->pg);
        if (next == PGRES_POLLING_FAILED)
            return -1;
    }
    return 1;
}

static struct err silent(const struct host *host, const char *address)
{
    const char *name = *host->name != '\0' ? host->name : "the server";

    if (*address == '\0' || strcmp(address, host->name) == 0)
        return err_make(ERR_UNAVAILABLE,
                        "Cannot connect to the database: %.90s did not answer in time.",
                        name);
    return err_make(ERR_UNAVAILABLE,
                    "Cannot connect to the database: %.90s (%s) did not answer in time.",
                    name, address);
}

/* Set before the first byte comes: libpq would write to stderr, which is our log. */
static void on_notice(void *arg, const PGresult *notice)
{
    struct conn *conn = arg;
    const char *severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
    char words[WORDS_SIZE];

    if (severity == NULL || strcmp(severity, "WARNING") != 0)
        return;
    conn->warned = true;
    words_for_log(conn->pg, notice, words);
    log_warn("database_warning", "database=%s sqlstate=%s message=%s", conn->name,
             PQresultErrorField(notice, PG_DIAG_SQLSTATE), words);
}

static struct err connect_address(struct conn *conn, const PQconninfoOption *options,
                                  const struct host *host, const char *address,
                                  int64_t deadline_ms)
{
    conn->pg = start(conn, options, host, address);
    if (conn->pg == NULL)
        return err_memory();
    if (conn->of != SETTINGS_MIGRATOR) /* whose notices go to the terminal */
        PQsetNoticeReceiver(conn->pg, on_notice, conn);
    int finished = finish_within(conn, deadline_ms);
    if (finished == 1)
        return ERR_NONE;
    struct err e = finished == 0 ? silent(host, address) : words_of_connection(conn->pg);
    conn_close(conn);
    return e;
}

/*
 * ---- looking a name up -------------------------------------------------------------------
 *
 * getaddrinfo has no deadline: with a silent name server it takes ten seconds or more.
 * So each look-up runs on its own thread, and an attempt waits for it only until its own
 * deadline.  The look-up continues, and the next attempt takes its result.  A name never
 * has two look-ups at once, so that threads do not pile up while a name server is
 * down.
 */

enum {
    RESOLVE_MOST = 8,  /* addresses of one name; those after them are left out */
    ADDRESS_SIZE = 64, /* of an IPv6 address with its scope */
};

struct addresses {
    size_t count;
    char text[RESOLVE_MOST][ADDRESS_SIZE]; /* numeric; in the order of RFC 6724 */
    const char *problem; /* why there are none, in the resolver's words; or NULL */
};

struct lookup {
    char *name;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t finished;
    bool done;
    int owners; /* its thread, and the connection; the last one frees it */
    struct addresses found;
};

static void take_addresses(const struct addrinfo *list, struct addresses *out)
{
    for (; list != NULL && out->count < RESOLVE_MOST; list = list->ai_next)
        if (getnameinfo(list->ai_addr, list->ai_addrlen, out->text[out->count],
                        ADDRESS_SIZE, NULL, 0, NI_NUMERICHOST) == 0)
            out->count++;
    if (out->count == 0)
        out->problem = "it has no address";
}

static int resolve(const char *name, int flags, struct addresses *out)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags};
    struct addrinfo *list = NULL;

    *out = (struct addresses){.count = 0};
    int status = getaddrinfo(name, NULL, &hints, &list);
    if (status != 0) {
        out->problem = gai_strerror(status);
        return status;
    }
    take_addresses(list, out);
    freeaddrinfo(list);
    return 0;
}

/* If `name` is a numeric address, gives that.  Never waits. */
static bool resolve_numeric(const char *name, struct addresses *out)
{
    return resolve(name, AI_NUMERICHOST, out) == 0;
}

/* Drops one owner, whether or not the look-up is done. */
static void lookup_release(struct lookup *lookup)
{
    if (lookup == NULL)
        return;
    pthread_mutex_lock(&lookup->lock);
    bool last = --lookup->owners == 0;
    pthread_mutex_unlock(&lookup->lock);
    if (!last)
        return;
    pthread_cond_destroy(&lookup->finished);
    pthread_mutex_destroy(&lookup->lock);
    free(lookup->name);
    free(lookup);
}

static void *lookup_main(void *arg)
{
    struct lookup *lookup = arg;
    struct addresses found;

    resolve(lookup->name, 0, &found);
    pthread_mutex_lock(&lookup->lock);
    lookup->found = found;
    lookup->done = true;
    pthread_cond_signal(&lookup->finished);
    pthread_mutex_unlock(&lookup->lock);
    lookup_release(lookup);
    return NULL;
}

/* Detached; signals are left to the program's other threads. */
static bool start_thread(struct lookup *lookup)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    pthread_t thread;

    if (pthread_attr_init(&attributes) != 0)
        return false;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(&thread, &attributes, lookup_main, lookup) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return started;
}

/* Starts a look-up.  NULL: no memory, or no thread. */
static struct lookup *lookup_start(const char *name)
{
    struct lookup *lookup = calloc(1, sizeof *lookup);

    if (lookup == NULL)
        return NULL;
    pthread_mutex_init(&lookup->lock, NULL);
    clock_cond_init(&lookup->finished);
    lookup->owners = 1;
    lookup->name = strdup(name);
    if (lookup->name != NULL) {
        lookup->owners = 2;
        if (start_thread(lookup))
            return lookup;
        lookup->owners = 1;
    }
    lookup_release(lookup);
    return NULL;
}

/* True when `out` has the answer, which may be a problem.  False: ask again later. */
static bool lookup_wait(struct lookup *lookup, int64_t until_ms, struct addresses *out)
{
    pthread_mutex_lock(&lookup->lock);
    while (!lookup->done && clock_cond_wait(&lookup->finished, &lookup->lock, until_ms))
        ;
    bool done = lookup->done;
    if (done)
        *out = lookup->found;
    pthread_mutex_unlock(&lookup->lock);
    return done;
}

/* ---- the addresses of a host ------------------------------------------------------------ */

/* Continues the connection's look-up of that name if one still runs. */
static struct err look_up(struct conn *conn, size_t i, const struct host *host,
                          struct addresses *out, int64_t deadline_ms)
{
    struct lookup **lookup = &conn->lookups[i];

    if (*lookup != NULL && strcmp((*lookup)->name, host->name) != 0) {
        lookup_release(*lookup);
        *lookup = NULL;
    }
    if (*lookup == NULL)
        *lookup = lookup_start(host->name);
    if (*lookup == NULL)
        return err_memory();
    for (int64_t until; (until = conn_tick(conn, deadline_ms)) != 0;)
        if (lookup_wait(*lookup, until, out)) {
            lookup_release(*lookup);
            *lookup = NULL;
            return ERR_NONE;
        }
    return err_make(ERR_UNAVAILABLE,
                    "Cannot connect to the database: the name servers did not resolve "
                    "\"%.90s\" in time.",
                    host->name);
}

/* The one address that needs no look-up, which may be "" for libpq's default; or
 * false. */
static bool is_address(const struct host *host, struct addresses *out)
{
    *out = (struct addresses){.count = 1};
    if (*host->address != '\0') {
        snprintf(out->text[0], ADDRESS_SIZE, "%.*s", ADDRESS_SIZE - 1, host->address);
        return true;
    }
    /* A socket's folder begins with '/', an abstract socket's name with '@'. */
    return *host->name == '\0' || *host->name == '/' || *host->name == '@' ||
           resolve_numeric(host->name, out);
}

static struct err connect_host(struct conn *conn, const PQconninfoOption *options,
                               size_t i, int64_t deadline_ms)
{
    const struct host host = host_of(options, i);
    struct addresses addresses;
    struct err e = ERR_NONE;

    if (!is_address(&host, &addresses))
        e = look_up(conn, i, &host, &addresses, deadline_ms);
    if (!failed(e) && addresses.count == 0)
        e = err_make(ERR_UNAVAILABLE,
                     "Cannot connect to the database: \"%.90s\" has no address: %s.",
                     host.name, addresses.problem);
    for (size_t a = 0; !failed(e) && a < addresses.count; a++) {
        int64_t left = clock_remaining_ms(deadline_ms);
        int64_t share = left / (int64_t)(addresses.count - a);
        struct err own = connect_address(conn, options, &host, addresses.text[a],
                                         clock_monotonic_ms() + share);
        if (!failed(own) || a + 1 == addresses.count)
            return own;
    }
    return e;
}

struct err connect_any(struct conn *conn, int64_t deadline_ms)
{
    PQconninfoOption *options = NULL;
    struct err e = read_options(conn->url, &options);

    if (failed(e))
        return e;
    size_t hosts = count_hosts(options);
    if (hosts > CONN_HOSTS_MAX)
        e = err_make(ERR_UNAVAILABLE,
                     "The database URL names %zu hosts; at most %d are allowed.", hosts,
                     CONN_HOSTS_MAX);
    for (size_t i = 0; i < hosts && hosts <= CONN_HOSTS_MAX; i++) {
        int64_t share = clock_remaining_ms(deadline_ms) / (int64_t)(hosts - i);
        e = connect_host(conn, options, i, clock_monotonic_ms() + share);
        if (!failed(e))
            break;
    }
    PQconninfoFree(options);
    return e;
}

void conn_end(struct conn *conn)
{
    conn_close(conn);
    for (size_t i = 0; i < CONN_HOSTS_MAX; i++) {
        lookup_release(conn->lookups[i]);
        conn->lookups[i] = NULL;
    }
}
