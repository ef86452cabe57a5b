/* addresses.c - see addresses.h. */
#include "http/addresses.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

struct address {
    struct address *next; /* in its bucket */
    uint8_t bytes[16];    /* an IPv4 address mapped into IPv6, or the first half of one */
    unsigned count;
};

struct addresses {
    uint8_t key[crypto_shorthash_KEYBYTES];
    size_t buckets; /* a power of two */
    struct address *table[];
};

struct addresses *addresses_new(unsigned connections)
{
    size_t buckets = 64;

    while (buckets < connections)
        buckets *= 2;
    struct addresses *a = calloc(1, sizeof *a + buckets * sizeof a->table[0]);
    if (a == NULL)
        return NULL;
    a->buckets = buckets;
    randombytes_buf(a->key, sizeof a->key);
    return a;
}

void addresses_free(struct addresses *a)
{
    for (size_t i = 0; a != NULL && i < a->buckets; i++)
        assert(a->table[i] == NULL);
    free(a);
}

static void bytes_of(const struct sockaddr_storage *from, uint8_t out[16])
{
    static const uint8_t MAPPED[12] = {[10] = 0xff, [11] = 0xff};
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)from;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)from;

    memset(out, 0, 16);
    if (from->ss_family == AF_INET6 && memcmp(&v6->sin6_addr, MAPPED, 12) != 0) {
        memcpy(out, &v6->sin6_addr, 8);
        return;
    }
    memcpy(out, MAPPED, 12);
    if (from->ss_family == AF_INET6)
        memcpy(out + 12, (const uint8_t *)&v6->sin6_addr + 12, 4);
    else
        memcpy(out + 12, &v4->sin_addr, 4);
}

static struct address **bucket_of(struct addresses *a, const uint8_t bytes[16])
{
    uint64_t hash;

    crypto_shorthash((unsigned char *)&hash, bytes, 16, a->key);
    return &a->table[hash & (a->buckets - 1)];
}

struct address *addresses_enter(struct addresses *a, const struct sockaddr_storage *from)
{
    uint8_t bytes[16];

    bytes_of(from, bytes);
    struct address **bucket = bucket_of(a, bytes), *at = *bucket;
    while (at != NULL && memcmp(at->bytes, bytes, sizeof bytes) != 0)
        at = at->next;
    if (at == NULL) {
        at = calloc(1, sizeof *at);
        if (at == NULL)
            return NULL;
        memcpy(at->bytes, bytes, sizeof bytes);
        at->next = *bucket;
        *bucket = at;
    }
    at->count++;
    return at;
}

unsigned address_count(const struct address *address)
{
    return address->count;
}

void addresses_leave(struct addresses *a, struct address *address)
{
    if (--address->count > 0)
        return;
    struct address **at = bucket_of(a, address->bytes);
    while (*at != address)
        at = &(*at)->next;
    *at = address->next;
    free(address);
}
