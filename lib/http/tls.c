/* tls.c - see tls.h. */
#include "http/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/program/file.h"

enum { PEM_MAX = 256 << 10, HASH_SIZE = 32 };

/* Only forward secrecy and authenticated encryption, as TLS 1.3 has anyway. */
static const char CIPHERS_1_2[] = "ECDHE+AESGCM:ECDHE+CHACHA20";

struct http_tls {
    char *cert_file, *key_file;
    struct file_watch *notice;
    pthread_mutex_t mutex; /* guards `context` */
    SSL_CTX *context;
    /* Hashes of both files; used only by the thread once it runs. */
    uint8_t taken[HASH_SIZE]; /* in use */
    uint8_t seen[HASH_SIZE];  /* at the last look; zeros: unreadable */
    bool warned;              /* about what was seen then */
};

/* ---- a context ---- */

/* RFC 7301: a client that offers protocols, but not this one, gets an alert. */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_size,
                           const unsigned char *offered, unsigned offered_size, void *arg)
{
    static const unsigned char OURS[] = "\x08http/1.1";
    unsigned char *chosen;

    (void)ssl, (void)arg;
    if (SSL_select_next_proto(&chosen, out_size, OURS, sizeof OURS - 1, offered,
                              offered_size) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* Without this OpenSSL would ask the terminal for the password of an encrypted key. */
static int no_password(char *out, int size, int writing, void *arg)
{
    (void)out, (void)size, (void)writing, (void)arg;
    return -1;
}

static struct err use_chain(SSL_CTX *context, BIO *pem, const char *path)
{
    X509 *certificate = PEM_read_bio_X509(pem, NULL, no_password, NULL);
    bool good = certificate != NULL && SSL_CTX_use_certificate(context, certificate) == 1;

    X509_free(certificate);
    while (good &&
           (certificate = PEM_read_bio_X509(pem, NULL, no_password, NULL)) != NULL)
        if (SSL_CTX_add0_chain_cert(context, certificate) != 1) {
            X509_free(certificate);
            good = false;
        }
    /* The loop may end only because the file does. */
    unsigned long why = ERR_peek_last_error();
    good = good && ERR_GET_LIB(why) == ERR_LIB_PEM &&
           ERR_GET_REASON(why) == PEM_R_NO_START_LINE;
    ERR_clear_error();
    return good ? ERR_NONE
                : err_make(ERR_INVALID_ARGUMENT, "%s is not a PEM certificate chain",
                           path);
}

static struct err use_key(SSL_CTX *context, BIO *pem, const struct http_tls *tls)
{
    EVP_PKEY *key = PEM_read_bio_PrivateKey(pem, NULL, no_password, NULL);
    struct err e = ERR_NONE;

    if (key == NULL)
        e = err_make(ERR_INVALID_ARGUMENT, "%s is not an unencrypted PEM private key",
                     tls->key_file);
    else if (SSL_CTX_use_PrivateKey(context, key) != 1 ||
             SSL_CTX_check_private_key(context) != 1)
        e = err_make(ERR_INVALID_ARGUMENT,
                     "the key of %.80s is not the certificate's of %.80s", tls->key_file,
                     tls->cert_file);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return e;
}

static SSL_CTX *new_context(void)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());

    if (context == NULL)
        return NULL;
    if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_cipher_list(context, CIPHERS_1_2) != 1) {
        SSL_CTX_free(context);
        return NULL;
    }
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                     SSL_OP_CIPHER_SERVER_PREFERENCE |
                                     SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
    return context;
}

struct files {
    char *cert, *key;
    size_t cert_size, key_size;
};

static struct err make_context(const struct http_tls *tls, const struct files *f,
                               SSL_CTX **out)
{
    SSL_CTX *context = new_context();
    BIO *cert = BIO_new_mem_buf(f->cert, (int)f->cert_size);
    BIO *key = BIO_new_mem_buf(f->key, (int)f->key_size);
    struct err e = ERR_NONE;

    if (context == NULL || cert == NULL || key == NULL)
        e = err_memory();
    if (!failed(e))
        e = use_chain(context, cert, tls->cert_file);
    if (!failed(e))
        e = use_key(context, key, tls);
    BIO_free(key);
    BIO_free(cert);
    if (failed(e)) {
        SSL_CTX_free(context);
        context = NULL;
    }
    *out = context;
    return e;
}

/* ---- the files ---- */

static void hash_files(const struct files *f, uint8_t out[HASH_SIZE])
{
    crypto_generichash_state state;

    crypto_generichash_init(&state, NULL, 0, HASH_SIZE);
    crypto_generichash_update(&state, (const uint8_t *)&f->cert_size,
                              sizeof f->cert_size);
    crypto_generichash_update(&state, (const uint8_t *)f->cert, f->cert_size);
    crypto_generichash_update(&state, (const uint8_t *)f->key, f->key_size);
    crypto_generichash_final(&state, out, HASH_SIZE);
}

/* Uses the pair, unless it is in use already. */
static struct err take(struct http_tls *tls, const struct files *f,
                       const uint8_t hash[HASH_SIZE])
{
    SSL_CTX *context, *old;

    if (memcmp(hash, tls->taken, HASH_SIZE) == 0)
        return ERR_NONE;
    struct err e = make_context(tls, f, &context);
    if (failed(e))
        return e;
    memcpy(tls->taken, hash, HASH_SIZE);
    pthread_mutex_lock(&tls->mutex);
    old = tls->context;
    tls->context = context;
    pthread_mutex_unlock(&tls->mutex);
    SSL_CTX_free(old); /* existing sessions keep a reference */
    log_info("http_certificate_loaded", "from=%s", tls->cert_file);
    return ERR_NONE;
}

/* Reads both files and uses them if they are good; *hash is theirs. */
static struct err look(struct http_tls *tls, uint8_t hash[HASH_SIZE])
{
    struct files f = {NULL, NULL, 0, 0};
    struct err e = file_load(tls->cert_file, PEM_MAX, &f.cert, &f.cert_size);

    memset(hash, 0, HASH_SIZE);
    if (!failed(e))
        e = file_load(tls->key_file, PEM_MAX, &f.key, &f.key_size);
    if (!failed(e)) {
        hash_files(&f, hash);
        e = take(tls, &f, hash);
    }
    if (f.key != NULL)
        sodium_memzero(f.key, f.key_size);
    free(f.key);
    free(f.cert);
    return e;
}

static bool look_again(void *arg, bool asked)
{
    struct http_tls *tls = arg;
    uint8_t hash[HASH_SIZE];
    struct err e = look(tls, hash);
    bool still = memcmp(hash, tls->seen, HASH_SIZE) == 0;

    memcpy(tls->seen, hash, HASH_SIZE);
    if (failed(e) && (asked || (still && !tls->warned)))
        log_line(LOG_WARN, "http_certificate_reload_failed",
                 "reason=%s note=\"the previous pair stays in use\"", e.message);
    tls->warned = failed(e) && (asked || still);
    return failed(e) && !tls->warned;
}

struct err http_tls_open(const char *cert_file, const char *key_file, int64_t settle_ms,
                         struct http_tls **out)
{
    struct http_tls *tls = calloc(1, sizeof *tls);

    *out = NULL;
    if (tls == NULL)
        return err_memory();
    pthread_mutex_init(&tls->mutex, NULL);
    tls->cert_file = strdup(cert_file);
    tls->key_file = strdup(key_file);
    struct err e = tls->cert_file == NULL || tls->key_file == NULL ? err_memory()
                                                                   : look(tls, tls->seen);
    if (!failed(e))
        e = file_watch_start(
            &(struct file_watch_config){.name = "certificates",
                                        .paths = {tls->cert_file, tls->key_file},
                                        .settle_ms = settle_ms,
                                        .look = look_again,
                                        .arg = tls},
            &tls->notice);
    if (failed(e))
        http_tls_close(tls);
    else
        *out = tls;
    return e;
}

void http_tls_look(struct http_tls *tls)
{
    if (tls != NULL)
        file_watch_check(tls->notice);
}

void http_tls_close(struct http_tls *tls)
{
    if (tls == NULL)
        return;
    file_watch_stop(tls->notice);
    SSL_CTX_free(tls->context);
    pthread_mutex_destroy(&tls->mutex);
    free(tls->cert_file);
    free(tls->key_file);
    free(tls);
}

SSL *http_tls_session(struct http_tls *tls, int fd)
{
    pthread_mutex_lock(&tls->mutex);
    SSL *session = SSL_new(tls->context);
    pthread_mutex_unlock(&tls->mutex);

    if (session != NULL && SSL_set_fd(session, fd) != 1) {
        SSL_free(session);
        session = NULL;
    }
    if (session != NULL)
        SSL_set_accept_state(session);
    ERR_clear_error();
    return session;
}
