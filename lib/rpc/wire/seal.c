/* seal.c - see seal.h. */
#include "rpc/wire/seal.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

enum {
    VERSION_REFUSAL = 0x00,
    VERSION_SEALED = 0x01,
    BIT_RESPONSE = 0x80,
    BIT_GREATER = 0x40,
};

static uint8_t greater_bit(const uint8_t *caller, const uint8_t *callee)
{
    return memcmp(caller, callee, KEY_PUBLIC_SIZE) > 0 ? BIT_GREATER : 0;
}

void seal_session_start(struct seal_session *session, const uint8_t *own,
                        const uint8_t *callee)
{
    randombytes_buf(session->id, sizeof session->id);
    session->id[0] &= (uint8_t) ~(BIT_RESPONSE | BIT_GREATER);
    session->id[0] |= greater_bit(own, callee);
    atomic_init(&session->counter, 0);
}

void seal_session_next(struct seal_session *session, uint8_t nonce[SEAL_NONCE_SIZE])
{
    uint64_t counter =
        atomic_fetch_add_explicit(&session->counter, 1, memory_order_relaxed) + 1;

    memcpy(nonce, session->id, SEAL_SESSION_SIZE);
    for (int i = SEAL_NONCE_SIZE - 1; i >= SEAL_SESSION_SIZE; i--, counter >>= 8)
        nonce[i] = (uint8_t)counter;
}

const uint8_t *seal_session_of(const struct seal_opened *opened)
{
    return opened->nonce;
}

uint64_t seal_counter_of(const struct seal_opened *opened)
{
    uint64_t counter = 0;

    for (int i = SEAL_SESSION_SIZE; i < SEAL_NONCE_SIZE; i++)
        counter = counter << 8 | opened->nonce[i];
    return counter;
}

size_t seal_request_overhead(const char *caller)
{
    return 2 + strlen(caller) + SEAL_NONCE_SIZE + SEAL_TAG_SIZE;
}

/* tag | text: encrypts the text in place. */
static void close_box(uint8_t *tag, size_t size, const uint8_t *nonce,
                      const uint8_t *shared)
{
    uint8_t *text = tag + SEAL_TAG_SIZE;
    int rv =
        crypto_box_detached_afternm(text, tag, text, size - SEAL_TAG_SIZE, nonce, shared);

    assert(rv == 0);
    (void)rv;
}

static bool open_box(uint8_t *tag, size_t size, const uint8_t *nonce,
                     const uint8_t *shared)
{
    uint8_t *text = tag + SEAL_TAG_SIZE;

    return crypto_box_open_detached_afternm(text, text, tag, size - SEAL_TAG_SIZE, nonce,
                                            shared) == 0;
}

void seal_request(uint8_t *frame, size_t size, const char *caller,
                  const uint8_t nonce[SEAL_NONCE_SIZE], const uint8_t *shared)
{
    size_t length = strlen(caller), head = 2 + length + SEAL_NONCE_SIZE;

    assert(length >= 1 && length <= KEY_NAME_MAX && size >= head + SEAL_TAG_SIZE);
    frame[0] = VERSION_SEALED;
    frame[1] = (uint8_t)length;
    memcpy(frame + 2, caller, length);
    memcpy(frame + 2 + length, nonce, SEAL_NONCE_SIZE);
    close_box(frame + head, size - head, nonce, shared);
}

/* Whether `shared` opens the box at `tag`: the caller's, with out->nonce, for this key of our
 * own.  If not, the box is unchanged. */
static bool open_of(struct seal_opened *out, uint8_t *tag, size_t size,
                    const struct principal *caller, const uint8_t *own,
                    const uint8_t *shared)
{
    if (shared == NULL || (out->nonce[0] & (BIT_RESPONSE | BIT_GREATER)) !=
                              greater_bit(caller->public_key, own))
        return false;
    if (!open_box(tag, size, out->nonce, shared))
        return false;
    out->caller = caller;
    out->shared = shared;
    out->text = tag + SEAL_TAG_SIZE;
    out->size = size - SEAL_TAG_SIZE;
    return true;
}

bool seal_open_request(uint8_t *frame, size_t size, const struct principals *callers,
                       struct seal_opened *out)
{
    if (size < 2 || frame[0] != VERSION_SEALED)
        return false;
    size_t length = frame[1], head = 2 + length + SEAL_NONCE_SIZE;
    if (size < head + SEAL_TAG_SIZE)
        return false;
    memcpy(out->nonce, frame + 2 + length, SEAL_NONCE_SIZE);
    for (const struct principal *p =
             principals_find(callers, (const char *)frame + 2, length);
         p != NULL; p = principals_find_next(callers, p))
        if (open_of(out, frame + head, size - head, p, principals_own(callers),
                    p->shared) ||
            open_of(out, frame + head, size - head, p, principals_earlier_own(callers),
                    p->earlier_shared))
            return true;
    return false;
}

static void response_nonce(uint8_t out[SEAL_NONCE_SIZE], const uint8_t *salt,
                           const uint8_t *request_nonce)
{
    uint8_t in[SEAL_NONCE_SIZE + SEAL_SALT_SIZE];

    memcpy(in, request_nonce, SEAL_NONCE_SIZE);
    memcpy(in + SEAL_NONCE_SIZE, salt, SEAL_SALT_SIZE);
    crypto_generichash(out, SEAL_NONCE_SIZE, in, sizeof in, NULL, 0);
    out[0] |= BIT_RESPONSE;
}

void seal_response(uint8_t *frame, size_t size, const uint8_t salt[SEAL_SALT_SIZE],
                   const uint8_t request_nonce[SEAL_NONCE_SIZE], const uint8_t *shared)
{
    uint8_t nonce[SEAL_NONCE_SIZE];

    assert(size >= SEAL_RESPONSE_OVERHEAD);
    response_nonce(nonce, salt, request_nonce);
    frame[0] = VERSION_SEALED;
    memcpy(frame + 1, salt, SEAL_SALT_SIZE);
    close_box(frame + 1 + SEAL_SALT_SIZE, size - 1 - SEAL_SALT_SIZE, nonce, shared);
}

bool seal_open_response(uint8_t *frame, size_t size,
                        const uint8_t request_nonce[SEAL_NONCE_SIZE],
                        const uint8_t *shared, uint8_t **text, size_t *text_size)
{
    uint8_t nonce[SEAL_NONCE_SIZE];

    if (size < SEAL_RESPONSE_OVERHEAD || frame[0] != VERSION_SEALED)
        return false;
    response_nonce(nonce, frame + 1, request_nonce);
    if (!open_box(frame + 1 + SEAL_SALT_SIZE, size - 1 - SEAL_SALT_SIZE, nonce, shared))
        return false;
    *text = frame + SEAL_RESPONSE_OVERHEAD;
    *text_size = size - SEAL_RESPONSE_OVERHEAD;
    return true;
}

void seal_refusal(uint8_t frame[SEAL_REFUSAL_SIZE], enum seal_refusal reason)
{
    frame[0] = VERSION_REFUSAL;
    frame[1] = (uint8_t)reason;
}

bool seal_is_refusal(const uint8_t *frame, size_t size, struct err *out)
{
    static const struct {
        enum err_code code;
        const char *text;
    } REASONS[] = {
        [SEAL_NOT_OPENED] = {ERR_UNAUTHENTICATED,
                             "the callee does not know our name with our key"},
        [SEAL_OUTSIDE_TIME] = {ERR_UNAUTHENTICATED,
                               "our clock and the callee's differ by more than 30 s"},
        [SEAL_REPEATED] = {ERR_UNAUTHENTICATED, "the callee has seen the frame before"},
        [SEAL_TOO_EARLY] = {ERR_UNAVAILABLE, "sent before the callee started"},
        [SEAL_TOO_MANY] = {ERR_RESOURCE_EXHAUSTED, "too many callers at once"},
        [SEAL_NO_MEMORY] = {ERR_UNAVAILABLE, "the callee has no memory left"},
    };

    if (size != SEAL_REFUSAL_SIZE || frame[0] != VERSION_REFUSAL)
        return false;
    bool known = frame[1] >= SEAL_NOT_OPENED && frame[1] <= SEAL_NO_MEMORY;
    unsigned reason = known ? frame[1] : SEAL_NOT_OPENED;
    *out = err_unknown(REASONS[reason].code, "refused: %s", REASONS[reason].text);
    return true;
}
