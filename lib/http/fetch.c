/* fetch.c - see fetch.h. */
#include "http/fetch.h"

#include <curl/curl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct document {
    char *bytes;
    size_t size, most;
};

struct err fetch_start(void)
{
    return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK
               ? ERR_NONE
               : err_make(ERR_INTERNAL, "libcurl cannot start");
}

void fetch_stop(void)
{
    curl_global_cleanup();
}

static bool is_local(const char *host)
{
    return strcmp(host, "127.0.0.1") == 0 || strcmp(host, "localhost") == 0 ||
           strcmp(host, "[::1]") == 0;
}

/* A part of a URL, NULL when it has none; curl_free it. */
static char *part_of(CURLU *url, CURLUPart part)
{
    char *text = NULL;

    return curl_url_get(url, part, &text, 0) == CURLUE_OK ? text : NULL;
}

struct err fetch_check(const char *url)
{
    CURLU *parsed = curl_url();
    struct err e = ERR_NONE;

    if (parsed == NULL)
        return err_memory();
    if (curl_url_set(parsed, CURLUPART_URL, url, 0) != CURLUE_OK)
        e = err_make(ERR_INVALID_ARGUMENT, /* not printed: it may hold a password */
                     "what to fetch is not a URL; write one with https://");
    char *scheme = part_of(parsed, CURLUPART_SCHEME);
    char *host = part_of(parsed, CURLUPART_HOST);
    char *user = part_of(parsed, CURLUPART_USER);
    char *password = part_of(parsed, CURLUPART_PASSWORD);
    const bool https = scheme != NULL && strcmp(scheme, "https") == 0;
    const bool http = scheme != NULL && strcmp(scheme, "http") == 0;
    if (!failed(e) && (user != NULL || password != NULL))
        e = err_make(ERR_INVALID_ARGUMENT,
                     "a URL to fetch must not contain a name or password; "
                     "they would be logged");
    else if (!failed(e) && !https && !(http && is_local(host)))
        e = err_make(ERR_INVALID_ARGUMENT,
                     "the URL \"%.100s\" is not https; over plain http anyone on the "
                     "path could change the answer",
                     url);
    curl_free(scheme);
    curl_free(host);
    curl_free(user);
    curl_free(password);
    curl_url_cleanup(parsed);
    return e;
}

/* A short count ends the transfer. */
static size_t on_bytes(char *bytes, size_t one, size_t size, void *arg)
{
    struct document *d = arg;

    (void)one;
    if (size > d->most - d->size)
        return 0;
    memcpy(d->bytes + d->size, bytes, size);
    d->size += size;
    return size;
}

/* FAILONERROR lets redirections pass. */
static struct err check_status(CURL *curl, const char *url)
{
    long status = 0;

    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    return status == 200
               ? ERR_NONE
               : err_make(
                     ERR_UNAVAILABLE,
                     "cannot fetch %.100s: status %ld; redirections are not followed",
                     url, status);
}

static CURLcode get(CURL *curl, const char *url, int timeout_ms, struct document *d)
{
    const bool local = strncasecmp(url, "https:", 6) != 0; /* see fetch_check */

    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, local ? "http" : "https");
    curl_easy_setopt(curl, CURLOPT_NOPROXY, local ? "*" : NULL);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    /* Else a name server that does not answer delays beyond the timeout. */
    curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, d);
    return curl_easy_perform(curl);
}

struct err fetch(const char *url, int timeout_ms, size_t most, char **bytes, size_t *size)
{
    struct document d = {.bytes = malloc(most + 1), .most = most};
    CURL *curl = curl_easy_init();
    struct err e = ERR_NONE;

    *bytes = NULL;
    *size = 0;
    if (d.bytes == NULL || curl == NULL) {
        e = err_memory();
    } else {
        CURLcode code = get(curl, url, timeout_ms, &d);
        if (code != CURLE_OK)
            e = err_make(ERR_UNAVAILABLE, "cannot fetch %.100s: %s", url,
                         curl_easy_strerror(code));
        else
            e = check_status(curl, url);
    }
    curl_easy_cleanup(curl);
    if (failed(e)) {
        free(d.bytes);
        return e;
    }
    d.bytes[d.size] = '\0';
    *bytes = d.bytes;
    *size = d.size;
    return e;
}
