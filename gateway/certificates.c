/* certificates.c - see certificates.h. */
#include "gateway/certificates.h"

#include <pthread.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/worker.h"
#include "gateway/file.h"

enum { PEM_MAX = 256 << 10, CHAIN_MAX = 16, HASH_SIZE = 32 };

/* A certificate, those that vouch for it, and its key. */
struct pair {
    gnutls_x509_crt_t chain[CHAIN_MAX];
    unsigned count;
    gnutls_x509_privkey_t key;
};

struct certificates {
    char *cert_file, *key_file;
    struct worker *worker;
    pthread_mutex_t mutex; /* guards the pair */
    struct pair pair;
    /* the worker's, once it runs: hashes of both files */
    uint8_t taken[HASH_SIZE];
    uint8_t seen[HASH_SIZE]; /* at the last look; zeros: they could not be read */
    bool warned;             /* of what was seen then */
};

static _Thread_local struct certificates *shown;

/* ---- a pair ---- */

static void pair_free(struct pair *pair)
{
    for (unsigned i = 0; i < pair->count; i++)
        gnutls_x509_crt_deinit(pair->chain[i]);
    if (pair->key != NULL)
        gnutls_x509_privkey_deinit(pair->key);
    *pair = (struct pair){0};
}

static bool same_key(const struct pair *pair)
{
    uint8_t of_cert[64], of_key[64];
    size_t cert_size = sizeof of_cert, key_size = sizeof of_key;

    return gnutls_x509_crt_get_key_id(pair->chain[0], 0, of_cert, &cert_size) == 0 &&
           gnutls_x509_privkey_get_key_id(pair->key, 0, of_key, &key_size) == 0 &&
           cert_size == key_size && memcmp(of_cert, of_key, key_size) == 0;
}

static struct err pair_parse(const gnutls_datum_t *cert, const gnutls_datum_t *key,
                             struct pair *out)
{
    *out = (struct pair){.count = CHAIN_MAX};
    int status =
        gnutls_x509_crt_list_import(out->chain, &out->count, cert, GNUTLS_X509_FMT_PEM,
                                    GNUTLS_X509_CRT_LIST_IMPORT_FAIL_IF_EXCEED);
    if (status <= 0) {
        out->count = 0;
        return err_make(ERR_INVALID_ARGUMENT, "tls_cert_file is no PEM certificate: %s",
                        gnutls_strerror(status));
    }
    out->count = (unsigned)status;
    status = gnutls_x509_privkey_init(&out->key);
    if (status == 0)
        status = gnutls_x509_privkey_import2(out->key, key, GNUTLS_X509_FMT_PEM, NULL,
                                             GNUTLS_PKCS_PLAIN);
    struct err e = ERR_NONE;
    if (status != 0)
        e = err_make(ERR_INVALID_ARGUMENT, "tls_key_file is no PEM key: %s",
                     gnutls_strerror(status));
    else if (!same_key(out))
        e = err_make(ERR_INVALID_ARGUMENT,
                     "the key of tls_key_file is not the certificate's of tls_cert_file");
    if (failed(e))
        pair_free(out);
    return e;
}

/* ---- the files ---- */

static struct err read_both(const struct certificates *c, gnutls_datum_t *cert,
                            gnutls_datum_t *key)
{
    char *bytes;
    size_t size;
    struct err e = file_read(c->cert_file, PEM_MAX, &bytes, &size);

    *cert = *key = (gnutls_datum_t){0};
    if (failed(e))
        return e;
    *cert = (gnutls_datum_t){(unsigned char *)bytes, (unsigned)size};
    e = file_read(c->key_file, PEM_MAX, &bytes, &size);
    if (!failed(e))
        *key = (gnutls_datum_t){(unsigned char *)bytes, (unsigned)size};
    return e;
}

static void hash_both(const gnutls_datum_t *cert, const gnutls_datum_t *key,
                      uint8_t out[HASH_SIZE])
{
    crypto_generichash_state state;

    crypto_generichash_init(&state, NULL, 0, HASH_SIZE);
    crypto_generichash_update(&state, (const uint8_t *)&cert->size, sizeof cert->size);
    crypto_generichash_update(&state, cert->data, cert->size);
    crypto_generichash_update(&state, key->data, key->size);
    crypto_generichash_final(&state, out, HASH_SIZE);
}

static void show_pair(struct certificates *c, struct pair *pair)
{
    struct pair old = c->pair;

    pthread_mutex_lock(&c->mutex);
    c->pair = *pair;
    pthread_mutex_unlock(&c->mutex);
    pair_free(&old);
}

/* What was taken already is good and does nothing. */
static struct err take(struct certificates *c, const gnutls_datum_t *cert,
                       const gnutls_datum_t *key, const uint8_t hash[HASH_SIZE])
{
    struct pair pair;

    if (memcmp(hash, c->taken, HASH_SIZE) == 0)
        return ERR_NONE;
    struct err e = pair_parse(cert, key, &pair);
    if (failed(e))
        return e;
    memcpy(c->taken, hash, HASH_SIZE);
    log_info("certificate_taken", "from=\"%s\" certificates=%u", c->cert_file,
             pair.count);
    show_pair(c, &pair);
    return ERR_NONE;
}

/* hash: of what was looked at. */
static struct err look(struct certificates *c, uint8_t hash[HASH_SIZE])
{
    gnutls_datum_t cert, key;
    struct err e = read_both(c, &cert, &key);

    memset(hash, 0, HASH_SIZE);
    if (!failed(e)) {
        hash_both(&cert, &key, hash);
        e = take(c, &cert, &key, hash);
    }
    if (key.data != NULL)
        sodium_memzero(key.data, key.size);
    free(key.data);
    free(cert.data);
    return e;
}

static void look_again(void *arg)
{
    struct certificates *c = arg;
    uint8_t hash[HASH_SIZE];
    struct err e = look(c, hash);
    bool still = memcmp(hash, c->seen, HASH_SIZE) == 0;

    memcpy(c->seen, hash, HASH_SIZE);
    if (failed(e) && still && !c->warned)
        log_warn("certificate_kept", "reason=\"%s\" note=\"the last good pair stays\"",
                 e.message);
    c->warned = failed(e) && still;
}

struct err certificates_open(const char *cert_file, const char *key_file,
                             int64_t every_ms, struct certificates **out)
{
    struct certificates *c = calloc(1, sizeof *c);

    *out = NULL;
    if (c == NULL)
        return err_memory();
    pthread_mutex_init(&c->mutex, NULL);
    c->cert_file = strdup(cert_file);
    c->key_file = strdup(key_file);
    struct err e =
        c->cert_file == NULL || c->key_file == NULL ? err_memory() : look(c, c->seen);
    if (!failed(e))
        e = worker_start("certificates", every_ms, look_again, c, &c->worker);
    if (failed(e))
        certificates_close(c);
    else
        *out = c;
    return e;
}

void certificates_close(struct certificates *c)
{
    if (c == NULL)
        return;
    worker_stop(c->worker);
    pair_free(&c->pair);
    pthread_mutex_destroy(&c->mutex);
    free(c->cert_file);
    free(c->key_file);
    free(c);
}

/* ---- a handshake ---- */

void certificates_show(struct certificates *certificates)
{
    shown = certificates;
}

/* Copies, since a handshake may outlast the pair: GnuTLS frees them. */
static int copy_pair(const struct pair *pair, gnutls_pcert_st *chain,
                     gnutls_privkey_t key)
{
    int status = 0;
    unsigned done = 0;

    while (status == 0 && done < pair->count) {
        status = gnutls_pcert_import_x509(&chain[done], pair->chain[done], 0);
        done += status == 0;
    }
    if (status == 0)
        status = gnutls_privkey_import_x509(key, pair->key, GNUTLS_PRIVKEY_IMPORT_COPY);
    for (; status != 0 && done > 0; done--)
        gnutls_pcert_deinit(&chain[done - 1]);
    return status;
}

int certificates_retrieve(gnutls_session_t session,
                          const struct gnutls_cert_retr_st *info, gnutls_pcert_st **certs,
                          unsigned *certs_length, gnutls_ocsp_data_st **ocsp,
                          unsigned *ocsp_length, gnutls_privkey_t *privkey,
                          unsigned *flags)
{
    struct certificates *c = shown;
    gnutls_pcert_st *chain = gnutls_calloc(CHAIN_MAX, sizeof *chain);
    gnutls_privkey_t key = NULL;

    (void)session;
    (void)info;
    int status = c == NULL || chain == NULL || gnutls_privkey_init(&key) != 0;
    if (status == 0) {
        pthread_mutex_lock(&c->mutex);
        status = copy_pair(&c->pair, chain, key);
        *certs_length = c->pair.count;
        pthread_mutex_unlock(&c->mutex);
    }
    if (status != 0) {
        if (key != NULL)
            gnutls_privkey_deinit(key);
        gnutls_free(chain);
        return -1;
    }
    *certs = chain;
    *privkey = key;
    *ocsp = NULL;
    *ocsp_length = 0;
    *flags = GNUTLS_CERT_RETR_DEINIT_ALL;
    return 0;
}
