/* tls.c - see tls.h. */
#include "rpc/auth/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PEM_MAX = 256 << 10, HOST_SIZE = 256 };

bool tls_wanted(const char *url)
{
    return strncasecmp(url, "tls+tcp", 7) == 0;
}

/* The whole file as text in memory that is never dumped; sodium_free it. */
static struct err read_pem(const char *path, bool secret, char **out)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct err e = ERR_NONE;
    char *text = NULL;

    if (fd < 0)
        return err_make(ERR_INVALID_ARGUMENT, "%s cannot be opened: %s", path,
                        strerror(errno));
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size > PEM_MAX)
        e = err_make(ERR_INVALID_ARGUMENT, "%s is not a file of at most 256 KiB", path);
    else if (secret && (info.st_mode & 077) != 0)
        e = err_make(ERR_INVALID_ARGUMENT,
                     "%s holds a secret and others may use it; chmod 600 it", path);
    else if ((text = sodium_malloc((size_t)info.st_size + 1)) == NULL)
        e = err_memory();
    else if (read(fd, text, (size_t)info.st_size) != info.st_size)
        e = err_make(ERR_INVALID_ARGUMENT, "%s could not be read whole", path);
    else
        text[info.st_size] = '\0';
    close(fd);
    if (failed(e))
        sodium_free(text);
    else
        *out = text;
    return e;
}

static struct err wrong(const char *path, int rv)
{
    return rv == NNG_ENOMEM
               ? err_memory()
               : err_make(ERR_INVALID_ARGUMENT, "%s is not PEM that TLS can use: %s",
                          path, nng_strerror(rv));
}

static struct err own_cert(nng_tls_config *config, const struct tls_pem *pem)
{
    int rv = nng_tls_config_own_cert(config, pem->cert, pem->key, NULL);

    return rv == 0 ? ERR_NONE : wrong(pem->files->cert, rv);
}

static struct err authorities(nng_tls_config *config, const struct tls_pem *pem)
{
    int rv = nng_tls_config_ca_chain(config, pem->ca, NULL);

    return rv == 0 ? ERR_NONE : wrong(pem->files->ca, rv);
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
    struct err e = own_cert(config, pem);

    if (!failed(e))
        e = authorities(config, pem);
    if (failed(e))
        return e;
    host_of(url, host);
    int rv = nng_tls_config_auth_mode(
        config, use == TLS_PROBE ? NNG_TLS_AUTH_MODE_NONE : NNG_TLS_AUTH_MODE_REQUIRED);
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
    if (sodium_init() < 0)
        return err_make(ERR_INTERNAL, "libsodium could not be initialised");
    struct err e = read_pem(files->cert, false, &out->cert);
    if (!failed(e))
        e = read_pem(files->key, true, &out->key);
    if (!failed(e))
        e = read_pem(files->ca, false, &out->ca);
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

static bool given(const char *path)
{
    return path != NULL && *path != '\0';
}

struct err tls_config(const struct tls_files *files, enum tls_use use, const char *url,
                      nng_tls_config **out)
{
    struct tls_pem pem;

    *out = NULL;
    if (!tls_wanted(url))
        return ERR_NONE;
    if (!given(files->cert) || !given(files->key) || !given(files->ca))
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
    /* A server's callers may be other users: they must be of its group to reach it. */
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
