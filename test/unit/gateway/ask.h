/* ask.h - asks a gateway (world.h) over real sockets, and expects answers. */
#pragma once

#include <errno.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sodium.h>

#include "base/clock.h"
#include "base/log.h"
#include "http/server.h"
#include "unit/gateway/world.h"
#include "unit/http/certificate.h"

#define HOST  "Host: shop.test\r\n"
#define ORDER "{\"cart_id\":\"ok\",\"payment_method_id\":\"pm_card_visa\"}"

__attribute__((unused)) static int set_up(void **state)
{
    return set_up_with(state, 60000, 60000);
}

__attribute__((unused)) static int set_up_impatient(void **state)
{
    return set_up_with(state, 300, 300);
}

__attribute__((unused)) static int set_up_for_two(void **state)
{
    return set_up_as(state, (struct http_config){.connections_max = 2,
                                                 .idle_timeout_ms = 60000,
                                                 .transfer_timeout_ms = 60000});
}

__attribute__((unused)) static int set_up_for_one_an_address(void **state)
{
    return set_up_as(state, (struct http_config){.per_address_max = 1,
                                                 .metrics = metrics_new(),
                                                 .idle_timeout_ms = 60000,
                                                 .transfer_timeout_ms = 60000});
}

__attribute__((unused)) static int set_up_over_tls(void **state)
{
    return set_up_as(state, (struct http_config){.tls = open_certificate(),
                                                 .idle_timeout_ms = 60000,
                                                 .transfer_timeout_ms = 60000});
}

/* ---- asking ---- */

/* Sends bytes on a connection of their own and reads one answer. */
__attribute__((unused)) static struct wire_answer *ask_raw(struct world *w,
                                                           const char *bytes, size_t size)
{
    int fd = wire_connect(http_port(w->http));

    wire_send(fd, bytes, size);
    wire_read(fd, strncmp(bytes, "HEAD", 4) == 0, &w->answer);
    close(fd);
    return &w->answer;
}

/* `line` is "METHOD /path", `headers` whole lines; a token is added unless told not to.
 */
__attribute__((unused)) static struct wire_answer *
ask_as(struct world *w, const char *token, const char *line, const char *headers,
       const char *body)
{
    static char bytes[200000];
    char length[64] = "";

    if (body != NULL)
        snprintf(length, sizeof length, "Content-Length: %zu\r\n", strlen(body));
    int size = snprintf(bytes, sizeof bytes, "%s HTTP/1.1\r\n" HOST "%s%s%s%s%s\r\n%s",
                        line, token[0] != '\0' ? "Authorization: Bearer " : "", token,
                        token[0] != '\0' ? "\r\n" : "", headers, length,
                        body != NULL ? body : "");
    return ask_raw(w, bytes, (size_t)size);
}

__attribute__((unused)) static struct wire_answer *
ask(struct world *w, const char *line, const char *headers, const char *body)
{
    return ask_as(w, w->token, line, headers, body);
}

__attribute__((unused)) static struct wire_answer *
place(struct world *w, const char *cart, const char *key)
{
    char body[256], header[300];

    snprintf(body, sizeof body,
             "{\"cart_id\":\"%s\",\"payment_method_id\":\"pm_card_visa\"}", cart);
    snprintf(header, sizeof header, "Idempotency-Key: %s\r\n", key);
    return ask(w, "POST /v1/orders", header, body);
}

__attribute__((unused)) static void expect_header(const struct wire_answer *a,
                                                  const char *name, const char *value)
{
    char got[512];

    assert_string_equal(wire_header(a, name, got), value);
}

__attribute__((unused)) static void expect_problem(const struct wire_answer *a,
                                                   int status, const char *code)
{
    char part[128];

    if (a->status != status)
        fail_msg("status %d instead of %d: %s", a->status, status, a->text);
    expect_header(a, "Content-Type", "application/problem+json");
    snprintf(part, sizeof part, "\"status\":%d,\"code\":\"%s\"", status, code);
    if (strstr(a->body, part) == NULL)
        fail_msg("no %s in %s", part, a->body);
    assert_null(
        strstr(a->body, "db7")); /* what a service says of its inside stays there */
}
