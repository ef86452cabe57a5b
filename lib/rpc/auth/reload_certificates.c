/* reload_certificates.c - see reload.h. */
#include "rpc/auth/reload.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/program/file.h"

enum { HASH_SIZE = 32, SERIAL_SIZE = 64 };

struct certificates {
    struct certificates_config config;
    struct file_watch *notice;
    /* Hashes of the three files; only the thread that watches uses them once it runs. */
    uint8_t taken[HASH_SIZE]; /* in use */
    uint8_t seen[HASH_SIZE];  /* at the last look; zeros: they could not be read */
    bool warned;              /* the warning about what was seen then is logged */
};

/* ---- checks that nng does not make ---- */

struct parsed {
    X509 *cert;
    STACK_OF(X509) * intermediates;
    EVP_PKEY *key;
    X509_STORE *authorities;
};

/* An encrypted key has no password here; OpenSSL would ask the terminal for it. */
static int no_password(char *out, int size, int writing, void *arg)
{
    (void)out, (void)size, (void)writing, (void)arg;
    return -1;
}

static bool parse_chain(struct parsed *p, BIO *pem)
{
    X509 *next;

    p->cert = PEM_read_bio_X509(pem, NULL, no_password, NULL);
    p->intermediates = sk_X509_new_null();
    if (p->cert == NULL || p->intermediates == NULL)
        return false;
    while ((next = PEM_read_bio_X509(pem, NULL, no_password, NULL)) != NULL)
        if (sk_X509_push(p->intermediates, next) == 0) {
            X509_free(next);
            return false;
        }
    return true;
}

static bool parse_authorities(struct parsed *p, BIO *pem)
{
    bool any = false, good = true;
    X509 *next;

    p->authorities = X509_STORE_new();
    while (p->authorities != NULL && good &&
           (next = PEM_read_bio_X509(pem, NULL, no_password, NULL)) != NULL) {
        good = X509_STORE_add_cert(p->authorities, next) == 1;
        X509_free(next);
        any = true;
    }
    return good && any;
}

static struct err parse(struct parsed *p, const struct tls_pem *pem)
{
    BIO *cert = BIO_new_mem_buf(pem->cert, -1), *key = BIO_new_mem_buf(pem->key, -1),
        *ca = BIO_new_mem_buf(pem->ca, -1);
    struct err e = ERR_NONE;

    if (cert == NULL || key == NULL || ca == NULL)
        e = err_memory();
    else if (!parse_chain(p, cert))
        e = err_make(ERR_INVALID_ARGUMENT, "%s is not a PEM certificate",
                     pem->files->cert);
    else if ((p->key = PEM_read_bio_PrivateKey(key, NULL, no_password, NULL)) == NULL)
        e = err_make(ERR_INVALID_ARGUMENT, "%s is not an unencrypted PEM private key",
                     pem->files->key);
    else if (!parse_authorities(p, ca))
        e = err_make(ERR_INVALID_ARGUMENT, "%s has no PEM certificate", pem->files->ca);
    BIO_free(cert);
    BIO_free(key);
    BIO_free(ca);
    return e;
}

/* Whether the other side, which has the same CAs, would accept the certificate. */
static struct err verify(const struct parsed *p, const struct tls_files *files)
{
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    struct err e = ERR_NONE;

    if (context == NULL ||
        X509_STORE_CTX_init(context, p->authorities, p->cert, p->intermediates) != 1) {
        X509_STORE_CTX_free(context);
        return err_memory();
    }
    X509_STORE_CTX_set_flags(context, X509_V_FLAG_PARTIAL_CHAIN);
    if (X509_verify_cert(context) != 1)
        e = err_make(ERR_INVALID_ARGUMENT, "%.120s is not valid by %.120s: %s",
                     files->cert, files->ca,
                     X509_verify_cert_error_string(X509_STORE_CTX_get_error(context)));
    X509_STORE_CTX_free(context);
    return e;
}

/* In hexadecimal, as openssl prints it. */
static void write_serial(const X509 *cert, char out[SERIAL_SIZE])
{
    BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL);
    char *text = number == NULL ? NULL : BN_bn2hex(number);

    snprintf(out, SERIAL_SIZE, "%s", text == NULL ? "" : text + strspn(text, "0"));
    OPENSSL_free(text);
    BN_free(number);
}

static struct err check(const struct tls_pem *pem, char serial[SERIAL_SIZE])
{
    struct parsed p = {NULL, NULL, NULL, NULL};
    struct err e = parse(&p, pem);

    if (!failed(e) && X509_check_private_key(p.cert, p.key) != 1)
        e = err_make(ERR_INVALID_ARGUMENT,
                     "the key of %.120s is not the certificate's of %.120s",
                     pem->files->key, pem->files->cert);
    if (!failed(e))
        e = verify(&p, pem->files);
    if (!failed(e))
        write_serial(p.cert, serial);
    X509_free(p.cert);
    sk_X509_pop_free(p.intermediates, X509_free);
    EVP_PKEY_free(p.key);
    X509_STORE_free(p.authorities);
    ERR_clear_error();
    return e;
}

/* ---- the files ---- */

static void hash(const struct tls_pem *pem, uint8_t out[HASH_SIZE])
{
    const char *const texts[] = {pem->cert, pem->key, pem->ca};
    crypto_generichash_state state;

    crypto_generichash_init(&state, NULL, 0, HASH_SIZE);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        crypto_generichash_update(&state, (const uint8_t *)texts[i],
                                  strlen(texts[i]) + 1);
    crypto_generichash_final(&state, out, HASH_SIZE);
}

static struct err take(struct certificates *c, const struct tls_pem *pem,
                       const uint8_t now[HASH_SIZE])
{
    char serial[SERIAL_SIZE];

    if (memcmp(now, c->taken, HASH_SIZE) == 0)
        return ERR_NONE;
    struct err e = check(pem, serial);
    if (!failed(e))
        e = c->config.use(c->config.arg, pem);
    if (failed(e))
        return e;
    memcpy(c->taken, now, HASH_SIZE);
    log_info("rpc_certificate_reloaded", "from=%s serial=%s", c->config.files.cert,
             serial);
    return ERR_NONE;
}

/* Called by base/program/file.h; true when the files must be looked at once more. */
static bool look(void *arg, bool asked)
{
    struct certificates *c = arg;
    uint8_t now[HASH_SIZE] = {0};
    struct tls_pem pem;
    struct err e = tls_read(&c->config.files, &pem);

    if (!failed(e))
        hash(&pem, now);
    bool still = memcmp(now, c->seen, HASH_SIZE) == 0;
    memcpy(c->seen, now, HASH_SIZE);
    if (!failed(e) && (asked || still))
        e = take(c, &pem, now);
    tls_pem_free(&pem);
    if (failed(e) && (asked || (still && !c->warned)))
        log_line(LOG_WARN, "rpc_certificate_reload_failed",
                 "error=%s note=\"the previous files stay in use\"", e.message);
    c->warned = failed(e) && (asked || still);
    return !asked && !still;
}

static struct err check_first(struct certificates *c)
{
    char serial[SERIAL_SIZE];
    struct tls_pem pem;
    struct err e = tls_read(&c->config.files, &pem);

    if (!failed(e)) {
        hash(&pem, c->taken);
        memcpy(c->seen, c->taken, HASH_SIZE);
        e = check(&pem, serial);
    }
    tls_pem_free(&pem);
    return e;
}

struct err certificates_start(const struct certificates_config *config,
                              struct certificates **out)
{
    const struct tls_files *files = &config->files;

    *out = NULL;
    if (!tls_files_given(files))
        return ERR_NONE; /* no address of ours is tls+tcp:// then */
    struct certificates *c = calloc(1, sizeof *c);
    if (c == NULL)
        return err_memory();
    c->config = *config;
    struct err e = check_first(c);
    if (!failed(e))
        e = file_watch_start(
            &(struct file_watch_config){.name = "certificates",
                                        .paths = {files->cert, files->key, files->ca},
                                        .settle_ms = config->settle_ms,
                                        .look = look,
                                        .arg = c},
            &c->notice);
    if (failed(e))
        free(c);
    else
        *out = c;
    return e;
}

void certificates_now(struct certificates *certificates)
{
    if (certificates != NULL)
        file_watch_check(certificates->notice);
}

void certificates_stop(struct certificates *certificates)
{
    if (certificates == NULL)
        return;
    file_watch_stop(certificates->notice);
    free(certificates);
}
