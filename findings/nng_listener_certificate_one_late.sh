#!/bin/bash
#
# nng_listener_certificate_one_late - a listener that listens takes another certificate, and
# shows the old one once more.
#
# nng 1.5.2 (Debian 12's libnng1, with mbedTLS 2.28.3), seen on 2026-11-30:
# nng_listener_set_ptr with NNG_OPT_TLS_CONFIG gives a tls+tcp:// listener that has been started
# another configuration, and answers 0.  The next client is still shown the certificate of before, and those after it the new one:
# the listener has begun to accept the next connection, with its configuration, before anybody
# is there.
#
# So who renews a certificate so, has to make that one connection himself; or a client that
# comes an hour later still sees the certificate that has run out meanwhile.
#
# Ends with 0 while this is so, with 1 when it has changed.
set -euo pipefail

VERSION=1.5.2-2 MBEDTLS=2.28.3-1
FOLDER=$(mktemp -d)
SERVER=
trap '[[ -z $SERVER ]] || kill "$SERVER" 2>/dev/null || true; rm -rf "$FOLDER"' EXIT
cd "$FOLDER"
chmod 755 .
apt-get download -qq "libnng1=$VERSION" "libnng-dev=$VERSION" "libmbedtls14=$MBEDTLS" \
    "libmbedx509-1=$MBEDTLS" "libmbedcrypto7=$MBEDTLS" 2>/dev/null
for package in *.deb; do
    dpkg -x "$package" root
done
LIBRARIES=$(dirname "$(find root -name 'libnng.so.1')")

for name in old new; do
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
        -subj "/CN=$name" -keyout "$name.key" -out "$name.pem" 2>/dev/null
done

cat >server.c <<'END'
#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/supplemental/tls/tls.h>
#include <nng/transport/tls/tls.h>
#include <stdio.h>
#include <stdlib.h>

static void try(const char *what, int rv)
{
    if (rv == 0)
        return;
    printf("%s: %s\n", what, nng_strerror(rv));
    exit(2);
}

static char *text_of(const char *path)
{
    static char text[2][8192];
    static int turn;
    char *to = text[turn++ % 2];
    FILE *file = fopen(path, "r");

    to[file == NULL ? 0 : fread(to, 1, 8191, file)] = '\0';
    if (file != NULL)
        fclose(file);
    return to;
}

static nng_tls_config *config_of(const char *pem, const char *key)
{
    nng_tls_config *config;

    try("config", nng_tls_config_alloc(&config, NNG_TLS_MODE_SERVER));
    try("auth", nng_tls_config_auth_mode(config, NNG_TLS_AUTH_MODE_NONE));
    try("cert", nng_tls_config_own_cert(config, text_of(pem), text_of(key), NULL));
    return config;
}

int main(int argc, char **argv)
{
    nng_tls_config *before = config_of("old.pem", "old.key");
    nng_tls_config *after = config_of("new.pem", "new.key");
    nng_socket socket;
    nng_listener listener;

    (void)argc;
    try("register", nng_tls_register());
    try("open", nng_rep0_open(&socket));
    try("create", nng_listener_create(&listener, socket, argv[1]));
    try("first", nng_listener_set_ptr(listener, NNG_OPT_TLS_CONFIG, before));
    try("start", nng_listener_start(listener, 0));
    printf("nng %s\n", nng_version());
    printf("listening\n");
    fflush(stdout);
    getchar();
    printf("set: %s\n",
           nng_strerror(nng_listener_set_ptr(listener, NNG_OPT_TLS_CONFIG, after)));
    fflush(stdout);
    getchar();
    return 0;
}
END
cc -I"root/usr/include" -o server server.c -L"$LIBRARIES" -l:libnng.so.1 \
    -Wl,-rpath,"$FOLDER/$LIBRARIES" -Wl,-rpath-link,"$LIBRARIES"

PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
shown() {
    openssl s_client -connect "127.0.0.1:$PORT" </dev/null 2>/dev/null |
        sed -n 's/^subject=CN = //p'
}

mkfifo in out
LD_LIBRARY_PATH=$FOLDER/$LIBRARIES ./server "tls+tcp://127.0.0.1:$PORT" <in >out &
SERVER=$!
exec 3>in 4<out
read -r -u 4 line && echo "$line"
read -r -u 4 line
[[ $line == listening ]]
seen="$(shown)"
echo >&3
read -r -u 4 line && echo "$line"
for _ in 1 2 3; do
    seen+=" $(shown)"
done
echo "certificates shown, one client after another: $seen"
[[ $seen == "old old new new" ]]
