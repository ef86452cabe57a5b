/* post.c - see post.h. */
#include "webhook/post.h"

#include <curl/curl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

/* ---- the signature ----------------------------------------------------------------- */

static void sign_with(const struct secret *secret, const char *head, const char *body,
                      char *out, size_t room)
{
    crypto_auth_hmacsha256_state state;
    uint8_t mac[crypto_auth_hmacsha256_BYTES];
    char text[64];

    crypto_auth_hmacsha256_init(&state, secret->bytes, secret->size);
    crypto_auth_hmacsha256_update(&state, (const uint8_t *)head, strlen(head));
    crypto_auth_hmacsha256_update(&state, (const uint8_t *)body, strlen(body));
    crypto_auth_hmacsha256_final(&state, mac);
    sodium_memzero(&state, sizeof state);
    sodium_bin2base64(text, sizeof text, mac, sizeof mac, sodium_base64_VARIANT_ORIGINAL);
    snprintf(out, room, "v1,%s", text);
}

void sign(const struct endpoint *endpoint, const char *id, long long seconds,
          const char *body, char out[SIGNATURE_SIZE])
{
    char head[128];
    size_t used = 0;

    snprintf(head, sizeof head, "%s.%lld.", id, seconds);
    out[0] = '\0';
    for (size_t i = 0; i < endpoint->secret_count; i++) {
        if (i > 0)
            out[used++] = ' ';
        sign_with(&endpoint->secrets[i], head, body, out + used, SIGNATURE_SIZE - used);
        used += strlen(out + used);
    }
}

/* ---- the connection ---------------------------------------------------------------- */

/* How much of a response's body is read, and for how long.  A body read to its end
 * keeps the connection open for the next delivery. */
enum { CONNECT_MS = 5000, BODY_MAX = 65536, BODY_MS = 1000 };

struct post {
    const struct endpoint *endpoint;
    const atomic_bool *stopping;
    CURL *curl;
    size_t body;         /* bytes of it */
    int64_t answered_ms; /* when the head was complete, clock_monotonic_ms; 0: not yet */
    bool cut;            /* the body was cut off */
};

static size_t on_body(char *bytes, size_t size, size_t count, void *arg)
{
    struct post *post = arg;

    (void)bytes;
    post->body += size * count;
    post->cut = post->body > BODY_MAX;
    return post->cut ? CURL_WRITEFUNC_ERROR : size * count;
}

/* An empty line ends the head; interim answers (1xx) have heads, too. */
static size_t on_header(char *bytes, size_t size, size_t count, void *arg)
{
    struct post *post = arg;
    long status = 0;

    curl_easy_getinfo(post->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status >= 200 && size * count > 0 && (*bytes == '\r' || *bytes == '\n'))
        post->answered_ms = clock_monotonic_ms();
    return size * count;
}

static int on_progress(void *arg, curl_off_t down_all, curl_off_t down, curl_off_t up_all,
                       curl_off_t up)
{
    struct post *post = arg;

    (void)down_all, (void)down, (void)up_all, (void)up;
    if (post->answered_ms != 0 && clock_monotonic_ms() - post->answered_ms > BODY_MS)
        post->cut = true;
    return post->cut || atomic_load(post->stopping) ? 1 : 0; /* 1: give up */
}

struct post *post_new(const struct endpoint *endpoint, int64_t timeout_ms,
                      const atomic_bool *stopping)
{
    struct post *post = calloc(1, sizeof *post);
    CURL *curl = post == NULL ? NULL : curl_easy_init();

    if (curl == NULL) {
        free(post);
        return NULL;
    }
    *post = (struct post){.endpoint = endpoint, .stopping = stopping, .curl = curl};
    curl_easy_setopt(curl, CURLOPT_URL, endpoint->url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L); /* do not wait for the name server */
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
                     (long)(timeout_ms < CONNECT_MS ? timeout_ms : CONNECT_MS));
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "checkout-webhook/1");
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, post);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, post);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, post);
    return post;
}

void post_free(struct post *post)
{
    if (post == NULL)
        return;
    curl_easy_cleanup(post->curl);
    free(post);
}

/* ---- one delivery ------------------------------------------------------------------ */

/* NULL when memory is short; the list is then freed. */
static struct curl_slist *add(struct curl_slist *list, const char *header)
{
    struct curl_slist *more = list == NULL ? NULL : curl_slist_append(list, header);

    if (more == NULL)
        curl_slist_free_all(list);
    return more;
}

static struct curl_slist *headers(const struct post *post, const char *id,
                                  const char *json)
{
    char line[512], signature[SIGNATURE_SIZE];
    long long seconds = clock_wall_ms() / 1000;
    struct curl_slist *list =
        curl_slist_append(NULL, "content-type: application/cloudevents+json");

    list = add(list, "expect:"); /* no 100-continue: one round trip */
    snprintf(line, sizeof line, "webhook-id: %s", id);
    list = add(list, line);
    snprintf(line, sizeof line, "webhook-timestamp: %lld", seconds);
    list = add(list, line);
    sign(post->endpoint, id, seconds, json, signature);
    snprintf(line, sizeof line, "webhook-signature: %s", signature);
    return add(list, line);
}

/* An answer counts even if its body was cut off. */
static struct posted judge(const struct post *post, CURLcode code)
{
    CURL *curl = post->curl;
    struct posted posted = {0};
    long status = 0;
    curl_off_t seconds = 0;

    if (code != CURLE_OK && !post->cut) {
        snprintf(posted.problem, sizeof posted.problem, "%s", curl_easy_strerror(code));
        return posted;
    }
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &seconds);
    posted.received = status >= 200 && status < 300;
    posted.gone = status == 410;
    posted.retry_after_ms = (int64_t)seconds * 1000;
    if (!posted.received)
        snprintf(posted.problem, sizeof posted.problem, "answered %ld", status);
    return posted;
}

struct posted post_event(struct post *post, const char *id, const char *json)
{
    struct curl_slist *list = headers(post, id, json);
    struct posted posted = {.problem = "memory is short"};

    if (list == NULL)
        return posted;
    curl_easy_setopt(post->curl, CURLOPT_HTTPHEADER, list);
    curl_easy_setopt(post->curl, CURLOPT_POSTFIELDS, json);
    curl_easy_setopt(post->curl, CURLOPT_POSTFIELDSIZE, (long)strlen(json));
    post->body = 0;
    post->answered_ms = 0;
    post->cut = false;
    posted = judge(post, curl_easy_perform(post->curl));
    curl_easy_setopt(post->curl, CURLOPT_HTTPHEADER, NULL);
    curl_easy_setopt(post->curl, CURLOPT_POSTFIELDS, NULL);
    curl_slist_free_all(list);
    return posted;
}
