/*
 * nng_leaks.h - what LeakSanitizer need not say of nng 1.5.2.
 *
 * A listener or dialer one of whose handshakes was cut short is never freed by it.  For every
 * test program that closes sockets or stops servers while others connect.
 */
#pragma once

const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:nng_listen\nleak:nng_dial\n";
}
