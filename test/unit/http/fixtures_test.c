/*
 * fixtures_test.c - heads as browsers, tools and proxies send them are taken, and what other
 * parsers' test cases showed about ours (test/suites/http_requests.py).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/parse.h"
#include "unit/http/cases.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* The gateway's. */
static const struct http_limits LIMITS = {
    .head = 32 << 10, .target = 8 << 10, .fields = HTTP_FIELDS_MAX, .body = 64 << 10};

/* The head is complete at its last byte and at none before. */
static void assert_taken(const char *bytes, size_t size, struct http_head *head)
{
    enum http_reason reason;

    for (size_t cut = 0; cut < size; cut++)
        if ((reason = http_parse(bytes, cut, &LIMITS, head)) != HTTP_MORE)
            fail_msg("%s after %zu bytes of %s", reason_name(reason), cut, bytes);
    if ((reason = http_parse(bytes, size, &LIMITS, head)) != HTTP_OK)
        fail_msg("%s of %s", reason_name(reason), bytes);
    assert_int_equal(head->size, size);
}

static const char *const REAL[] = {
    /* Chromium: client hints with odd brand names (GREASE), a query as typed */
    "GET /v1/products?q=a%20%26%20b&page[size]=20&utm_content=spring|sale HTTP/1.1\r\n"
    "Host: shop.example\r\n"
    "Connection: keep-alive\r\n"
    "Cache-Control: max-age=0\r\n"
    "sec-ch-ua: \"Chromium\";v=\"138\", \"Not)A;Brand\";v=\"8\", \"Other(Name\";v=\"138\"\r\n"
    "sec-ch-ua-mobile: ?0\r\n"
    "sec-ch-ua-platform: \"Linux\"\r\n"
    "sec-ch-ua-form-factors: \"Desktop\"\r\n"
    "DNT: 1\r\n"
    "Upgrade-Insecure-Requests: 1\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/138.0.0.0 Safari/537.36\r\n"
    "Accept: text/html,application/xhtml+xml;q=0.9,image/avif,*/*;q=0.8,"
    "application/signed-exchange;v=b3;q=0.7\r\n"
    "Sec-Fetch-Site: none\r\n"
    "Sec-Fetch-Mode: navigate\r\n"
    "Sec-Fetch-User: ?1\r\n"
    "Sec-Fetch-Dest: document\r\n"
    "Sec-Purpose: prefetch;prerender\r\n"
    "Accept-Encoding: gzip, deflate, br, zstd\r\n"
    "Accept-Language: de-DE,de;q=0.9,en;q=0.8\r\n"
    "Cookie: _ga=GA1.1.1.2; prefs={\"theme\":\"dark\",\"list\":[1,2]}; e=; f==; g\r\n"
    "If-None-Match: W/\"5f-a,b\"\r\n"
    "If-Modified-Since: Mon, 01 Jan 2024 00:00:00 GMT\r\n\r\n",
    /* Firefox: what fetch sends before a request to another origin */
    "OPTIONS /v1/orders HTTP/1.1\r\n"
    "Host: 127.0.0.1:8080\r\n"
    "User-Agent: Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:140.0) Gecko/20100101 "
    "Firefox/140.0\r\n"
    "Accept: */*\r\n"
    "Accept-Language: en-US,en;q=0.5\r\n"
    "Accept-Encoding: gzip, deflate, br, zstd\r\n"
    "Access-Control-Request-Method: POST\r\n"
    "Access-Control-Request-Headers: authorization,content-type,idempotency-key\r\n"
    "Origin: https://shop.example\r\n"
    "Sec-GPC: 1\r\n"
    "Priority: u=4, i\r\n"
    "TE: trailers\r\n"
    "Pragma: no-cache\r\n\r\n",
    /* Safari, while it plays a video */
    "GET /favicon.ico?v=1%2E2 HTTP/1.1\r\n"
    "Host: xn--bcher-kva.example:443\r\n"
    "Accept: image/webp,image/avif,image/jxl,video/*;q=0.8,*/*;q=0.5\r\n"
    "Range: bytes=0-1\r\n"
    "X-Playback-Session-Id: 4D7A2E0C-1111-2222-3333-444455556666\r\n"
    "Accept-Language: fr-FR,fr;q=0.9\r\n"
    "Connection: Keep-Alive\r\n"
    "User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1\r\n\r\n",
    /* curl: an upload, a proxy's form of the target, an offer of HTTP/2, HTTP/1.0 */
    "PUT /v1/carts/1 HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: curl/8.14.1\r\n"
    "Accept: */*\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n"
    "Expect: 100-continue\r\n\r\n",
    "GET http://shop.example/v1/products HTTP/1.1\r\nHost: shop.example\r\n"
    "User-Agent: curl/8.14.1\r\nAccept: */*\r\nProxy-Connection: Keep-Alive\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nHost: [::1]:8080\r\nUser-Agent: curl/8.14.1\r\nAccept: */*\r\n"
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n",
    "GET / HTTP/1.0\r\nHost: localhost\r\nUser-Agent: curl/8.14.1\r\nAccept: */*\r\n\r\n",
    /* Googlebot */
    "GET /robots.txt HTTP/1.1\r\nHost: shop.example\r\nConnection: keep-alive\r\n"
    "Accept: text/plain,text/html,*/*\r\nFrom: googlebot(at)googlebot.com\r\n"
    "User-Agent: Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)\r\n"
    "Accept-Encoding: gzip, deflate, br\r\n\r\n",
    /* AWS: the load balancer with a client's certificate and an identity; its health check */
    "POST /v1/orders HTTP/1.1\r\n"
    "X-Forwarded-For: 2001:db8::1, 203.0.113.7:51234, \"[2001:db8::2]:443\", unknown\r\n"
    "X-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\n"
    "Host: shop-1234567890.eu-central-1.elb.amazonaws.com\r\n"
    "X-Amzn-Trace-Id: Self=1-67891234-0123;Root=1-67891233-abcdef012345678912345678\r\n"
    "X-Amzn-Tls-Version: TLSv1.3\r\nX-Amzn-Tls-Cipher-Suite: TLS_AES_128_GCM_SHA256\r\n"
    "X-Amzn-Mtls-Clientcert-Leaf: -----BEGIN%20CERTIFICATE-----%0AMIIB+/=%0A\r\n"
    "X-Amzn-Mtls-Clientcert-Subject: CN=a\\, b,O=\"c;d\",C=DE\r\n"
    "x-amzn-oidc-data: eyJhbGciOiJFUzI1NiJ9.e30=.c2ln==\r\n"
    "Content-Length: 2\r\nContent-Type: application/json; charset=\"utf-8\"\r\n"
    "Idempotency-Key: \"8e03978e-40d5-43e8-bc93-6894a57f9324\"\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nHost: 10.0.1.23:8080\r\nConnection: close\r\n"
    "User-Agent: ELB-HealthChecker/2.0\r\nAccept-Encoding: gzip, compressed\r\n\r\n",
    /* Cloudflare */
    "GET /v1/products HTTP/1.1\r\nHost: shop.example\r\nConnection: Keep-Alive\r\n"
    "Accept-Encoding: gzip, br\r\nX-Forwarded-For: 203.0.113.9\r\nCF-RAY: 8f0123456789abcd-FRA\r\n"
    "CF-Visitor: {\"scheme\":\"https\"}\r\nCF-IPCountry: T1\r\nCF-Connecting-IP: 203.0.113.9\r\n"
    "CF-EW-Via: 15\r\nCDN-Loop: cloudflare; loops=1; subreqs=1\r\nX-Forwarded-Proto: https\r\n"
    "CF-IPCity: S\xc3\xa3o Paulo\r\nCf-Warp-Tag-Id: 0\r\nTrue-Client-IP: 203.0.113.9\r\n\r\n",
    /* nginx with its defaults: HTTP/1.0, and a blank Accept */
    "GET /v1/products HTTP/1.0\r\nHost: checkout_upstream\r\nConnection: close\r\nAccept: \r\n"
    "X-Real-IP: 203.0.113.10\r\nX-Forwarded-For: 203.0.113.10\r\n"
    "X-SSL-Client-S-DN: emailAddress=a@b.example,CN=a b\r\n\r\n",
    /* HAProxy: names in lower case, Forwarded (RFC 7239), a check without Host */
    "GET /v1/orders/1 HTTP/1.1\r\nhost: shop.example\r\nx-forwarded-for: 203.0.113.11\r\n"
    "forwarded: for=\"[2001:db8:cafe::17]:4711\";proto=https;by=_hidden, for=unknown\r\n"
    "x-unique-id: CB007109:C822_0A000001:01BB_6789ABCD_0001:1A2B\r\n"
    "via: 1.1 edge (HAProxy), 2.0 fra\r\n\r\n",
    "OPTIONS / HTTP/1.0\r\n\r\n",
    /* Envoy */
    "POST /v1/orders HTTP/1.1\r\nhost: gateway.shop.svc.cluster.local:8080\r\n"
    "content-length: 2\r\ncontent-type: application/json\r\nx-forwarded-proto: https\r\n"
    "x-request-id: 5b3e0f0e-7e0c-9b0a-8a55-b0a1c2d3e4f5\r\nx-envoy-attempt-count: 1\r\n"
    "x-forwarded-client-cert: By=spiffe://a/ns/b;Hash=00ff;Subject=\"CN=c,O=\\\"d\\\"\";"
    "URI=spiffe://e/sa/f\r\nx-envoy-expected-rq-timeout-ms: 15000\r\n"
    "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
    "tracestate: vendor@tenant=a:b/c,rojo=00f067aa0ba902b7\r\nbaggage: k=v;p=%20, l=w\r\n"
    "x-b3-traceid: 463ac35c9f6413ad48485a3953bb6124\r\n\r\n",
    /* Kubernetes, Go, Node, Java and Python: probes and plain clients */
    "GET /healthz HTTP/1.1\r\nHost: 10.42.0.5:8080\r\nUser-Agent: kube-probe/1.33\r\n"
    "Accept: */*\r\nConnection: close\r\n\r\n",
    "POST /v1/orders HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: Go-http-client/1.1\r\n"
    "Transfer-Encoding: chunked\r\nTrailer: Digest\r\nAccept-Encoding: gzip\r\n\r\n",
    "POST /v1/orders HTTP/1.1\r\nhost: localhost:8080\r\nconnection: keep-alive\r\n"
    "content-type: application/json\r\naccept: */*\r\naccept-language: *\r\n"
    "sec-fetch-mode: cors\r\nuser-agent: node\r\naccept-encoding: gzip, deflate\r\n"
    "content-length: 2\r\n\r\n",
    "GET /v1/products HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nContent-Length: 0\r\n"
    "Host: localhost:8080\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n"
    "Upgrade: h2c\r\nUser-Agent: Java-http-client/21.0.7\r\n\r\n",
    /* Names that are tokens, though few would think so; texts that are not UTF-8 */
    "GET / HTTP/1.1\r\nHost: a\r\n!#$%&'*+-.^_`|~: 1\r\n1: 2\r\nX_Under.Dot: a:b\r\n"
    "X-Latin-1: caf\xe9\r\nX-Empty:\r\nX-Blanks: \t \r\nx-tab: a\tb\r\n\r\n",
};

static void heads_of_browsers_tools_and_proxies_are_taken(void **state)
{
    struct http_head head;

    (void)state;
    for (size_t i = 0; i < COUNT(REAL); i++)
        assert_taken(REAL[i], strlen(REAL[i]), &head);
}

static void a_cookie_of_16_kb_is_taken(void **state)
{
    static char bytes[20 << 10];
    static char cookie[(16 << 10) + 1];
    struct http_head head;

    (void)state;
    memset(cookie, 'c', sizeof cookie - 1);
    cookie[1] = '=';
    int size = snprintf(bytes, sizeof bytes,
                        "GET / HTTP/1.1\r\nHost: a\r\nCookie: %s\r\n\r\n", cookie);
    assert_taken(bytes, (size_t)size, &head);
    assert_true(head.fields[1].value.size == sizeof cookie - 1);
}

static void sixty_fields_and_more_are_taken(void **state)
{
    static char bytes[8 << 10];
    struct http_head head;
    size_t size = (size_t)snprintf(bytes, sizeof bytes, "GET / HTTP/1.1\r\nHost: a\r\n");

    (void)state;
    for (unsigned i = 1; i < 100; i++)
        size += (size_t)snprintf(bytes + size, sizeof bytes - size,
                                 "X-Forwarded-Part-%u: %u\r\n", i, i);
    size += (size_t)snprintf(bytes + size, sizeof bytes - size, "\r\n");
    assert_taken(bytes, size, &head);
    assert_int_equal(head.count, 100);
}

static void a_query_may_hold_what_browsers_leave_unencoded(void **state)
{
    static const char TAKEN[] = "GET /a?[\\]^`{|} HTTP/1.1\r\nHost: a\r\n\r\n";
    static const char *const REFUSED[] = {
        "GET /a?\" HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a?< HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a?> HTTP/1.1\r\nHost: a\r\n\r\n",  "GET /a?# HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /[?] HTTP/1.1\r\nHost: a\r\n\r\n",  "GET /a|b HTTP/1.1\r\nHost: a\r\n\r\n",
    };
    struct http_head head;

    (void)state;
    assert_taken(TAKEN, sizeof TAKEN - 1, &head);
    assert_memory_equal(head.query.at, "[\\]^`{|}", head.query.size);
    assert_int_equal(head.query.size, 8);
    for (size_t i = 0; i < COUNT(REFUSED); i++)
        assert_string_equal(
            reason_name(http_parse(REFUSED[i], strlen(REFUSED[i]), &LIMITS, &head)),
            "TARGET");
}

static const char *verdict(const char *bytes)
{
    struct http_head head;

    return reason_name(http_parse(bytes, strlen(bytes), &LIMITS, &head));
}

/* The last coding is chunked then, so that "not last" would be false. */
static void codings_in_several_fields_have_their_own_reason(void **state)
{
#define PUT "PUT / HTTP/1.1\r\nHost: a\r\n"
    (void)state;
    assert_string_equal(verdict(PUT "Transfer-Encoding: gzip\r\n"
                                    "Transfer-Encoding: chunked\r\n\r\n"),
                        "ENCODING_TWICE");
    assert_string_equal(verdict(PUT "Transfer-Encoding: gzip\r\nA: b\r\n"), "MORE");
    assert_string_equal(verdict(PUT "Transfer-Encoding: gzip\r\n\r\n"),
                        "ENCODING_NOT_LAST");
    assert_string_equal(
        verdict(PUT "Transfer-Encoding: gzip\r\nContent-Length: 1\r\n\r\n"),
        "ENCODING_NOT_LAST");
#undef PUT
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_of_browsers_tools_and_proxies_are_taken),
        cmocka_unit_test(a_cookie_of_16_kb_is_taken),
        cmocka_unit_test(sixty_fields_and_more_are_taken),
        cmocka_unit_test(a_query_may_hold_what_browsers_leave_unencoded),
        cmocka_unit_test(codings_in_several_fields_have_their_own_reason),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
