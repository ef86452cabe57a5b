/* tls.c - see tls.h. */
#include "rpc/auth/tls.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "rpc/auth/keys.h"

enum { PEM_MAX = 256 << 10, HOST_SIZE = 256 };

bool tls_wanted(const char *url)
{
    return strncasecmp(url, "tls+tcp", 7) == 0;
}

static struct err wrong(const char *path, int rv)
{
    return rv == NNG_ENOMEM
               ? err_memory()
               : err_make(ERR_INVALID_ARGUMENT, "%s is not PEM that TLS can use: %s",
                          path, nng_strerror(rv));
}

/* The host between "//" and the port, without the brackets of an IPv6 address. */
static void host_of(const char *url, char host[HOST_SIZE])
{
    const char *start = strstr(url, "://");

    start = start == NULL ? url : start + 3;
    if (*start == '[')
        snprintf(host, HOST_SIZE, "%.*s", (int)strcspn(start + 1, "]"), start + 1);
    else
        snprintf(host, HOST_SIZE, "%.*s", (int)strcspn(start, ":/"), start);
}

static struct err fill(nng_tls_config *config, const struct tls_pem *pem,
                       enum tls_use use, const char *url)
{
    char host[HOST_SIZE];
    int rv = nng_tls_config_own_cert(config, pem->cert, pem->key, NULL);

    if (rv != 0)
        return wrong(pem->files->cert, rv);
    rv = nng_tls_config_ca_chain(config, pem->ca, NULL);
    if (rv != 0)
        return wrong(pem->files->ca, rv);
    host_of(url, host);
    rv = nng_tls_config_auth_mode(config, use == TLS_PROBE ? NNG_TLS_AUTH_MODE_NONE
                                                           : NNG_TLS_AUTH_MODE_REQUIRED);
    if (rv == 0)
        rv = nng_tls_config_version(config, NNG_TLS_1_2, NNG_TLS_1_3);
    if (rv == NNG_ENOTSUP) /* mbedTLS 2.28 ends at 1.2 */
        rv = nng_tls_config_version(config, NNG_TLS_1_2, NNG_TLS_1_2);
    if (rv == 0 && use == TLS_CALL)
        rv = nng_tls_config_server_name(config, host);
    return rv == 0 ? ERR_NONE
                   : err_make(ERR_INVALID_ARGUMENT, "no TLS for %s: %s", url,
                              nng_strerror(rv));
}

struct err tls_read(const struct tls_files *files, struct tls_pem *out)
{
    *out = (struct tls_pem){.files = files};
    struct err e = keys_file_load(files->cert, false, PEM_MAX + 1, &out->cert);
    if (!failed(e))
        e = keys_file_load(files->key, true, PEM_MAX + 1, &out->key);
    if (!failed(e))
        e = keys_file_load(files->ca, false, PEM_MAX + 1, &out->ca);
    return e;
}

void tls_pem_free(struct tls_pem *pem)
{
    sodium_free(pem->cert);
    sodium_free(pem->key);
    sodium_free(pem->ca);
}

struct err tls_config_of(const struct tls_pem *pem, enum tls_use use, const char *url,
                         nng_tls_config **out)
{
    nng_tls_config *config;

    *out = NULL;
    if (!tls_wanted(url))
        return ERR_NONE;
    int rv = nng_tls_config_alloc(&config, use == TLS_SERVE ? NNG_TLS_MODE_SERVER
                                                            : NNG_TLS_MODE_CLIENT);
    if (rv == NNG_ENOTSUP)
        return err_make(ERR_UNIMPLEMENTED, "%s: this nng is built without TLS", url);
    if (rv != 0)
        return err_memory();
    struct err e = fill(config, pem, use, url);
    if (failed(e))
        nng_tls_config_free(config);
    else
        *out = config;
    return e;
}

bool tls_files_given(const struct tls_files *files)
{
    const char *const paths[] = {files->cert, files->key, files->ca};

    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        if (paths[i] == NULL || *paths[i] == '\0')
            return false;
    return true;
}

struct err tls_config(const struct tls_files *files, enum tls_use use, const char *url,
                      nng_tls_config **out)
{
    struct tls_pem pem;

    *out = NULL;
    if (!tls_wanted(url))
        return ERR_NONE;
    if (!tls_files_given(files))
        return err_make(ERR_INVALID_ARGUMENT, "%s needs tls_cert, tls_key and tls_ca",
                        url);
    struct err e = tls_read(files, &pem);
    if (!failed(e))
        e = tls_config_of(&pem, use, url, out);
    tls_pem_free(&pem);
    return e;
}

int tls_dial(nng_socket socket, const char *url, nng_tls_config *config, nng_dialer *out)
{
    nng_dialer dialer;
    int rv = nng_dialer_create(&dialer, socket, url);

    if (rv != 0)
        return rv;
    if (config != NULL)
        rv = nng_dialer_set_ptr(dialer, NNG_OPT_TLS_CONFIG, config);
    if (rv == 0)
        rv = nng_dialer_start(dialer, NNG_FLAG_NONBLOCK);
    if (rv != 0)
        nng_dialer_close(dialer);
    else
        *out = dialer;
    return rv;
}

int tls_listen(nng_socket socket, const char *url, nng_tls_config *config,
               nng_listener *out)
{
    nng_listener listener;
    int rv = nng_listener_create(&listener, socket, url);

    if (rv != 0)
        return rv;
    if (config != NULL)
        rv = nng_listener_set_ptr(listener, NNG_OPT_TLS_CONFIG, config);
    /* Callers may run as other users: those in the server's group can connect. */
    if (rv == 0 && strncasecmp(url, "ipc:", 4) == 0)
        rv = nng_listener_set_int(listener, NNG_OPT_IPC_PERMISSIONS, 0660);
    if (rv == 0)
        rv = nng_listener_start(listener, 0);
    if (rv != 0)
        nng_listener_close(listener);
    else
        *out = listener;
    return rv;
}
