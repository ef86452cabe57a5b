/*
 * frame.c - what comes off the wire: frames, sealed with a good key and not.
 *
 *   first byte   then
 *   r            a frame as it is, which a server and a client try to open
 *   q            a request's text, sealed by an authorized caller, for the server
 *   a            an answer's text, sealed by the callee, for the client
 *   b            a batch of frames
 *   m            a frame, many times: more than a message may hold
 *
 * What was sealed opens, to the same bytes; with one bit changed it does not.
 */
#include <sodium.h>
#include <stdio.h>

#include "fuzz/fuzz.h"
#include "fuzz/memory_file.h"
#include "rpc/wire/batch.h"
#include "rpc/wire/envelope.h"
#include "rpc/wire/seal.h"

enum { ARENA_MAX = 4 << 20, HEAD = 2 + 7 + SEAL_NONCE_SIZE };

static struct key *own;
static struct principals *callers;
static const struct principal *caller;

static void read_own_key(const uint8_t *public_key, const uint8_t *secret)
{
    char text[256], public_text[64], secret_text[64];

    sodium_bin2base64(public_text, sizeof public_text, public_key, 32,
                      sodium_base64_VARIANT_ORIGINAL);
    sodium_bin2base64(secret_text, sizeof secret_text, secret, 32,
                      sodium_base64_VARIANT_ORIGINAL);
    int size = snprintf(text, sizeof text, "name = orders\npublic = %s\nsecret = %s\n",
                        public_text, secret_text);
    struct memory_file file = memory_file_open((uint8_t *)text, (size_t)size);
    struct err e = key_read(file.path, &own);
    assert(!failed(e));
    memory_file_close(&file);
}

static void read_callers(const uint8_t *public_key)
{
    char text[128], public_text[64];

    sodium_bin2base64(public_text, sizeof public_text, public_key, 32,
                      sodium_base64_VARIANT_ORIGINAL);
    int size = snprintf(text, sizeof text, "gateway %s *\n", public_text);
    struct memory_file file = memory_file_open((uint8_t *)text, (size_t)size);
    struct err e = principals_read(file.path, true, own, &callers);
    assert(!failed(e));
    memory_file_close(&file);
    caller = principals_find(callers, "gateway", 7);
    assert(caller != NULL);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const uint8_t SEED[2][crypto_box_SEEDBYTES] = {"the callee's", "the caller's"};
    uint8_t public_key[crypto_box_PUBLICKEYBYTES], secret[crypto_box_SECRETKEYBYTES];

    (void)argc, (void)argv;
    assert(sodium_init() >= 0);
    crypto_box_seed_keypair(public_key, secret, SEED[0]);
    read_own_key(public_key, secret);
    crypto_box_seed_keypair(public_key, secret, SEED[1]);
    read_callers(public_key);
    return 0;
}

/* A session's first nonce; its random bytes are the same every time. */
static void make_nonce(uint8_t nonce[SEAL_NONCE_SIZE])
{
    struct seal_session session;

    seal_session_start(&session, caller->public_key, key_public(own));
    memset(session.id + 1, 7, sizeof session.id - 1);
    session.id[0] &= 0xc0;
    seal_session_next(&session, nonce);
}

/* A copy with `room` bytes in front. */
static uint8_t *frame_of(const uint8_t *text, size_t size, size_t room)
{
    uint8_t *frame = malloc(room + size + 1);

    assert(frame != NULL);
    memcpy(frame + room, text, size);
    return frame;
}

/* ---- as it came ---------------------------------------------------------------------- */

static void open_raw(const uint8_t *bytes, size_t size)
{
    uint8_t nonce[SEAL_NONCE_SIZE], *text, *frame = frame_of(bytes, size, 0);
    struct seal_opened opened;
    struct err e = ERR_NONE;
    size_t text_size;

    make_nonce(nonce);
    if (seal_open_request(frame, size, callers, &opened))
        assert(opened.text + opened.size == frame + size);
    memcpy(frame, bytes, size);
    if (seal_open_response(frame, size, nonce, caller->shared, &text, &text_size))
        assert(text + text_size == frame + size);
    memcpy(frame, bytes, size);
    if (seal_is_refusal(frame, size, &e)) {
        assert(size == SEAL_REFUSAL_SIZE && e.effect == EFFECT_UNKNOWN);
        assert_refusal(e);
    }
    free(frame);
}

/* ---- a request ----------------------------------------------------------------------- */

static void read_request(const uint8_t *text, size_t size)
{
    struct arena *arena = arena_new(ARENA_MAX);
    Rpc__V1__Request *request =
        rpc__v1__request__unpack(arena_protobuf(arena), size, text);
    struct err e = request == NULL ? ERR_NONE : envelope_check(request);

    if (failed(e)) {
        assert_refusal(e);
    } else if (request != NULL) {
        nng_msg *again = envelope_pack(&request->base, HEAD);
        assert(again != NULL && strlen(request->method) <= ENVELOPE_METHOD_MAX);
        assert(strlen(request->id) <= ENVELOPE_ID_MAX);
        assert(request->n_metadata <= ENVELOPE_METADATA_MAX);
        nng_msg_free(again);
    }
    arena_free(arena);
}

static bool opens(uint8_t *frame, size_t size, struct seal_opened *out)
{
    return seal_open_request(frame, size, callers, out);
}

static void seal_and_open_request(const uint8_t *text, size_t size)
{
    size_t room = seal_request_overhead("gateway"), all = room + size;
    uint8_t nonce[SEAL_NONCE_SIZE], *frame = frame_of(text, size, room);
    struct seal_opened opened;

    make_nonce(nonce);
    seal_request(frame, all, "gateway", nonce, caller->shared);
    uint8_t *broken = frame_of(frame, all, 0);
    broken[size % all] ^= 1;
    bool open = opens(broken, all, &opened);
    assert(!open);
    open = opens(frame, all, &opened);
    assert(open && opened.caller == caller && seal_counter_of(&opened) == 1);
    assert(opened.size == size && memcmp(opened.text, text, size) == 0);
    read_request(opened.text, opened.size);
    free(broken);
    free(frame);
}

/* ---- an answer ----------------------------------------------------------------------- */

static void read_response(const uint8_t *text, size_t size)
{
    struct arena *arena = arena_new(ARENA_MAX);
    Rpc__V1__Response *response =
        rpc__v1__response__unpack(arena_protobuf(arena), size, text);

    if (response != NULL) {
        struct err e = envelope_get_err(response);
        assert(failed(e) == (response->status != 0) && e.code < ERR_CODES_COUNT);
        assert(e.effect <= EFFECT_UNKNOWN);
        Rpc__V1__Response again = RPC__V1__RESPONSE__INIT;
        envelope_put_err(&e, &again);
        assert(failed(envelope_get_err(&again)) == failed(e));
    }
    arena_free(arena);
}

static void seal_and_open_response(const uint8_t *text, size_t size)
{
    static const uint8_t SALT[SEAL_SALT_SIZE] = "a server's salt";
    size_t all = SEAL_RESPONSE_OVERHEAD + size, opened_size = 0;
    uint8_t nonce[SEAL_NONCE_SIZE], *opened = NULL;
    uint8_t *frame = frame_of(text, size, SEAL_RESPONSE_OVERHEAD);

    make_nonce(nonce);
    seal_response(frame, all, SALT, nonce, caller->shared);
    bool open =
        seal_open_response(frame, all, nonce, caller->shared, &opened, &opened_size);
    assert(open && opened_size == size && memcmp(opened, text, size) == 0);
    read_response(opened, opened_size);
    free(frame);
}

/* ---- a batch ------------------------------------------------------------------------ */

/* What is read from one and put together again is the same, byte by byte. */
static void read_batch(const uint8_t *bytes, size_t size)
{
    uint8_t *body = frame_of(bytes, size, 0), *frame;
    struct rpc_batch again = {0};
    size_t frame_size;
    uint32_t id;

    if (rpc_batch_valid(body, size, RPC_BATCH_FRAMES_MAX)) {
        struct rpc_batch_reader reader = rpc_batch_read(body, size);
        size_t count = 0;
        for (; rpc_batch_next(&reader, &id, &frame, &frame_size); count++) {
            bool added = rpc_batch_add(&again, id, frame, frame_size);
            assert(added);
        }
        nng_msg *message = rpc_batch_take(&again);
        assert(count <= RPC_BATCH_FRAMES_MAX && again.size == 0 &&
               nng_msg_len(message) == size &&
               memcmp(nng_msg_body(message), bytes, size) == 0);
        nng_msg_free(message);
    }
    rpc_batch_free(&again);
    free(body);
}

/* Every message holds whole frames, and together they hold all. */
static void split_batch(const uint8_t *bytes, size_t size)
{
    struct rpc_batch batch = {0};
    size_t count = 0, frame_size;
    uint8_t *frame;
    uint32_t id;

    for (uint32_t i = 0; i < RPC_BATCH_FRAMES_MAX; i++) {
        bool added = rpc_batch_add(&batch, i, bytes, size);
        assert(added);
    }
    while (batch.size > 0) {
        nng_msg *message = rpc_batch_take(&batch);
        uint8_t *body = nng_msg_body(message);
        assert(nng_msg_len(message) <= RPC_BATCH_MAX);
        assert(rpc_batch_valid(body, nng_msg_len(message), RPC_BATCH_FRAMES_MAX));
        struct rpc_batch_reader reader = rpc_batch_read(body, nng_msg_len(message));
        while (rpc_batch_next(&reader, &id, &frame, &frame_size))
            assert(id == count++ && frame_size == size &&
                   memcmp(frame, bytes, size) == 0);
        nng_msg_free(message);
    }
    assert(count == RPC_BATCH_FRAMES_MAX);
    rpc_batch_free(&batch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};

    switch (input_byte(&in)) {
    case 'q':
        seal_and_open_request(in.at, in.left);
        break;
    case 'a':
        seal_and_open_response(in.at, in.left);
        break;
    case 'b':
        read_batch(in.at, in.left);
        break;
    case 'm':
        split_batch(in.at, in.left);
        break;
    default:
        open_raw(in.at, in.left);
    }
    return 0;
}
