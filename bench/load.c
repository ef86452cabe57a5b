/*
 * load.c - places prepared requests over many connections, and keeps every latency.
 *
 *     load --ports P[,P] --connections N --seconds S [--rate R] [--repeat]
 *          [--until-final ANSWERS] FILE
 *
 * FILE holds records: four bytes, little endian, and so many bytes of one whole HTTP/1.1
 * request.  Without --rate each connection sends its next request as soon as the last was
 * answered.  With --rate requests begin at random moments, R a second on average, and a
 * latency counts from the moment the request should have begun, sent or not: a server
 * that stalls cannot hide it.  With --repeat the file is sent again from its start.
 *
 * With --until-final each request is sent again, as it is, while its answer says that it is
 * retryable or its connection broke; the answer that is final goes to the file ANSWERS, a
 * line each: its status, a space, its body.  This is for servers that are hurt meanwhile.
 *
 * One thread, one write and one read a request, no parsing beyond status and length: the
 * load must cost little beside what it loads.  Prints one JSON object.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum {
    CONNECTIONS_MAX = 4096,
    ANSWER_MAX = 16384,
    DRAIN_S = 15, /* for the last answers, after the end */
    AGAIN_MS = 50,
};

struct connection {
    int fd; /* -1: broken */
    uint16_t port;
    bool busy;
    const uint8_t *bytes; /* what it is busy with */
    size_t size;
    int64_t since_ns, again_ns; /* 0: not to be sent again */
    size_t have;
    char answer[ANSWER_MAX];
};

struct load {
    const uint8_t *file;
    size_t file_size, at;
    bool repeat, exhausted;

    struct connection *connections;
    size_t count, busy;
    struct connection *idle[CONNECTIONS_MAX];
    size_t idle_count;
    int epoll, timer;

    double rate; /* requests begun a second; 0: as fast as they are answered */
    int64_t start_ns, end_ns, next_ns;

    uint32_t *latencies_us; /* of answers 2xx */
    size_t good, room;
    uint64_t good_in_time; /* answered before the end */
    uint64_t status[600];
    uint64_t closed;     /* connections the server ended */
    uint64_t unanswered; /* requests still waiting when we gave up */
    FILE *answers;       /* NULL: every answer is final */
    uint64_t repeats;
};

static void die(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* ---- sending ------------------------------------------------------------------------
 */

/* The next record of the file, or NULL at its end. */
static const uint8_t *next_request(struct load *load, size_t *size)
{
    uint32_t length;

    if (load->at == load->file_size && load->repeat)
        load->at = 0;
    if (load->at == load->file_size) {
        load->exhausted = true;
        return NULL;
    }
    memcpy(&length, load->file + load->at, sizeof length);
    const uint8_t *bytes = load->file + load->at + sizeof length;
    load->at += sizeof length + length;
    *size = length;
    return bytes;
}

static void send_later(struct connection *c)
{
    c->again_ns = now_ns() + AGAIN_MS * INT64_C(1000000);
}

static void send_bytes(struct load *load, struct connection *c)
{
    c->have = 0;
    c->again_ns = 0;
    if (c->fd >= 0 && send(c->fd, c->bytes, c->size, MSG_NOSIGNAL) == (ssize_t)c->size)
        return;
    if (load->answers == NULL)
        die("a request could not be sent whole");
    send_later(c);
}

static void send_next(struct load *load, struct connection *c, int64_t since_ns)
{
    c->bytes = next_request(load, &c->size);
    if (c->bytes == NULL) {
        load->idle[load->idle_count++] = c;
        return;
    }
    c->busy = true;
    c->since_ns = since_ns;
    load->busy++;
    send_bytes(load, c);
}

static bool connect_one(struct load *load, struct connection *c)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(c->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    int on = 1;

    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0)
        die("socket");
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) != 0) {
        close(c->fd);
        c->fd = -1;
        return false;
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    epoll_ctl(load->epoll, EPOLL_CTL_ADD, c->fd, &event);
    return true;
}

/* What had no final answer. */
static void send_again(struct load *load)
{
    int64_t now = now_ns();

    for (size_t i = 0; i < load->count; i++) {
        struct connection *c = &load->connections[i];
        if (c->again_ns == 0 || c->again_ns > now)
            continue;
        load->repeats++;
        if (c->fd >= 0 || connect_one(load, c))
            send_bytes(load, c);
        else
            send_later(c);
    }
}

/* With a rate: the times between beginnings are exponential, as with independent
 * shoppers. */
static void plan_next(struct load *load)
{
    double u = (double)random() / ((double)RAND_MAX + 1);

    load->next_ns += (int64_t)(-log(1 - u) / load->rate * 1e9);
}

static void begin_due(struct load *load)
{
    int64_t now = now_ns();

    while (load->idle_count > 0 && load->next_ns <= now && load->next_ns < load->end_ns &&
           !load->exhausted) {
        send_next(load, load->idle[--load->idle_count], load->next_ns);
        plan_next(load);
    }
    struct itimerspec at = {
        .it_value = {load->next_ns / 1000000000, load->next_ns % 1000000000}};
    if (load->idle_count > 0)
        timerfd_settime(load->timer, TFD_TIMER_ABSTIME, &at, NULL);
}

/* ---- receiving ----------------------------------------------------------------------
 */

static void note(struct load *load, unsigned status, int64_t latency_ns, bool in_time)
{
    load->status[status < 600 ? status : 0]++;
    if (status / 100 != 2)
        return;
    load->good_in_time += in_time ? 1 : 0;
    if (load->good == load->room) {
        load->room = load->room == 0 ? 1 << 16 : load->room * 2;
        load->latencies_us =
            realloc(load->latencies_us, load->room * sizeof *load->latencies_us);
        if (load->latencies_us == NULL)
            die("no memory");
    }
    load->latencies_us[load->good++] = (uint32_t)(latency_ns / 1000);
}

/* Whether the whole answer has come. */
static bool complete(const struct connection *c)
{
    const char *end = memmem(c->answer, c->have, "\r\n\r\n", 4);

    if (end == NULL)
        return false;
    const char *length =
        memmem(c->answer, (size_t)(end - c->answer), "Content-Length:", 15);
    size_t body = length == NULL ? 0 : (size_t)atol(length + 15);
    return c->have >= (size_t)(end + 4 - c->answer) + body;
}

/* Whether the answer will not change; it is then written down. */
static bool final(struct load *load, const struct connection *c)
{
    if (load->answers == NULL)
        return true;
    const char *body = strstr(c->answer, "\r\n\r\n") + 4;
    if (c->answer[9] >= '4' && strstr(body, "\"retryable\":true") != NULL)
        return false;
    fprintf(load->answers, "%.3s %s\n", c->answer + 9, body);
    return true;
}

static void on_answer(struct load *load, struct connection *c)
{
    int64_t now = now_ns();

    if (!final(load, c)) {
        send_later(c);
        return;
    }
    note(load, (unsigned)atoi(c->answer + 9), now - c->since_ns, now < load->end_ns);
    c->busy = false;
    load->busy--;
    if (load->rate > 0 || now >= load->end_ns)
        load->idle[load->idle_count++] = c;
    else
        send_next(load, c, now);
}

static void on_readable(struct load *load, struct connection *c)
{
    ssize_t got = recv(c->fd, c->answer + c->have, ANSWER_MAX - c->have - 1, 0);

    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        load->closed++;
        close(c->fd);
        c->fd = -1;
        if (load->answers != NULL && c->busy) {
            send_later(c);
            return;
        }
        load->busy -= c->busy ? 1 : 0;
        c->busy = false;
        return;
    }
    c->have += (size_t)got;
    c->answer[c->have] = '\0';
    if (c->busy && c->again_ns == 0 && complete(c))
        on_answer(load, c);
}

/* ---- running ------------------------------------------------------------------------
 */

static void run(struct load *load, double seconds)
{
    struct epoll_event events[256];
    uint64_t ticks;

    load->start_ns = load->next_ns = now_ns();
    load->end_ns = load->start_ns + (int64_t)(seconds * 1e9);
    if (load->rate > 0)
        begin_due(load);
    else
        for (size_t i = load->idle_count; i > 0; i--)
            send_next(load, load->idle[--load->idle_count], load->start_ns);
    for (;;) {
        int64_t now = now_ns();
        bool over = now >= load->end_ns || (load->exhausted && load->busy == 0);
        if (over &&
            (load->busy == 0 || now > load->end_ns + DRAIN_S * INT64_C(1000000000)))
            break;
        int count = epoll_wait(load->epoll, events, 256, 20);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr != NULL)
                on_readable(load, events[i].data.ptr);
            else if (read(load->timer, &ticks, sizeof ticks) < 0 && errno != EAGAIN)
                die("timer");
        }
        if (load->rate > 0)
            begin_due(load);
        if (load->answers != NULL)
            send_again(load);
    }
    load->unanswered = load->busy;
}

/* ---- starting -----------------------------------------------------------------------
 */

static void connect_all(struct load *load, const char *ports)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    uint16_t list[16];
    size_t count = 0;

    for (const char *at = ports; at != NULL && count < 16; at = strchr(at, ','))
        list[count++] = (uint16_t)atoi(at += *at == ',' ? 1 : 0);
    load->epoll = epoll_create1(0);
    load->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    epoll_ctl(load->epoll, EPOLL_CTL_ADD, load->timer, &event);
    load->connections = calloc(load->count, sizeof *load->connections);
    if (load->connections == NULL)
        die("no memory");
    for (size_t i = 0; i < load->count; i++) {
        struct connection *c = &load->connections[i];
        c->port = list[i % count];
        if (!connect_one(load, c))
            die("connect");
        load->idle[load->idle_count++] = c;
    }
}

static void map_file(struct load *load, const char *path)
{
    struct stat info;
    int fd = open(path, O_RDONLY);

    if (fd < 0 || fstat(fd, &info) != 0 || info.st_size == 0)
        die(path);
    load->file_size = (size_t)info.st_size;
    load->file =
        mmap(NULL, load->file_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (load->file == MAP_FAILED)
        die(path);
}

/* ---- the report ---------------------------------------------------------------------
 */

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static double percentile_ms(const struct load *load, double part)
{
    size_t at = (size_t)(part * (double)load->good);

    return load->good == 0 ? 0 : load->latencies_us[at < load->good ? at : at - 1] / 1e3;
}

static void report(struct load *load, double seconds)
{
    struct rusage usage;
    double took = load->exhausted ? (double)(now_ns() - load->start_ns) / 1e9 : seconds;

    if (load->good > 0)
        qsort(load->latencies_us, load->good, sizeof *load->latencies_us, by_size);
    getrusage(RUSAGE_SELF, &usage);
    printf(
        "{\"good\":%zu,\"rate\":%.1f,\"seconds\":%.3f,\"exhausted\":%s,\"closed\":%llu,"
        "\"unanswered\":%llu,\"repeats\":%llu,"
        "\"cpu_s\":%.3f,\"p50_ms\":%.3f,\"p90_ms\":%.3f,\"p99_ms\":%.3f,\"p999_ms\":%.3f,"
        "\"max_ms\":%.3f,\"status\":{",
        load->good, (double)load->good_in_time / took, took,
        load->exhausted ? "true" : "false", (unsigned long long)load->closed,
        (unsigned long long)load->unanswered, (unsigned long long)load->repeats,
        (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
            (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6,
        percentile_ms(load, .5), percentile_ms(load, .9), percentile_ms(load, .99),
        percentile_ms(load, .999), percentile_ms(load, 1));
    for (int s = 0, any = 0; s < 600; s++)
        if (load->status[s] > 0)
            printf("%s\"%d\":%llu", any++ > 0 ? "," : "", s,
                   (unsigned long long)load->status[s]);
    printf("}}\n");
}

int main(int argc, char **argv)
{
    static const struct option OPTIONS[] = {
        {"ports", required_argument, NULL, 'p'},
        {"connections", required_argument, NULL, 'c'},
        {"seconds", required_argument, NULL, 's'},
        {"rate", required_argument, NULL, 'r'},
        {"repeat", no_argument, NULL, 'R'},
        {"until-final", required_argument, NULL, 'u'},
        {0},
    };
    static struct load load = {.count = 1};
    const char *ports = NULL;
    double seconds = 1;

    for (int c; (c = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1;)
        switch (c) {
        case 'p':
            ports = optarg;
            break;
        case 'c':
            load.count = (size_t)atol(optarg);
            break;
        case 's':
            seconds = atof(optarg);
            break;
        case 'r':
            load.rate = atof(optarg);
            break;
        case 'R':
            load.repeat = true;
            break;
        case 'u':
            load.answers = fopen(optarg, "w");
            if (load.answers == NULL)
                die(optarg);
            setlinebuf(load.answers);
            break;
        default:
            return 2;
        }
    if (ports == NULL || optind + 1 != argc || load.count < 1 ||
        load.count > CONNECTIONS_MAX)
        return fputs("usage: load --ports P[,P] --connections N --seconds S [--rate R] "
                     "[--repeat] [--until-final ANSWERS] FILE\n",
                     stderr),
               2;
    map_file(&load, argv[optind]);
    connect_all(&load, ports);
    run(&load, seconds);
    report(&load, seconds);
    return 0;
}
