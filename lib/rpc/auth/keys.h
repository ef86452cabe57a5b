/*
 * keys.h - our own key pair, and reading the text files of keys and access lists.
 *
 *      key file    name = inventory    (mode 0600, has the secret; '#' starts a comment)
 *                  public = BASE64
 *                  secret = BASE64
 *
 * Keys are X25519, as libsodium's crypto_box uses them.  Secrets live in sodium_malloc
 * memory, which is never swapped or dumped and is wiped when freed.  The lists of
 * services and callers are principals.h.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
    KEY_NAME_MAX = 32, /* bytes of a name, A-Z a-z 0-9 _ - */
    KEY_PUBLIC_SIZE = 32,
    KEY_SECRET_SIZE = 32,
    KEY_SHARED_SIZE = 32,
    KEYS_BASE64_SIZE = 45,   /* a key in base64, with its NUL */
    KEYS_FILE_MAX = 1 << 20, /* bytes of a key file or an access list */
};

/* Our own key pair.  Thread-safe once read. */
struct key;

/* Writes a new key file, mode 0600; ALREADY_EXISTS rather than replace one.  A file that
 * could not be written whole is removed. */
struct err key_create(const char *path, const char *name)
    __attribute__((warn_unused_result));

/* INVALID_ARGUMENT names the file and line, and refuses files others can read. */
struct err key_read(const char *path, struct key **out)
    __attribute__((warn_unused_result));

/* Another reference.  The key lives until key_free was called once for key_read and once
 * for each of these. */
struct key *key_share(const struct key *key);
void key_free(struct key *key); /* NULL is allowed */

/* Makes `key`, before another thread has it, the successor of `earlier`: callers that
 * still use the public key of `earlier` are answered too.  Takes a reference. */
void key_succeed(struct key *key, const struct key *earlier);
const struct key *key_earlier(const struct key *key); /* NULL: none */

const char *key_name(const struct key *key);
const uint8_t *key_public(const struct key *key);

/* A key for another purpose, KEY_SHARED_SIZE bytes: always the same for the key file and
 * the purpose ("orders.cursor"), so all replicas and later runs have it.  It reveals
 * nothing about the secret or the keys for other purposes. */
void key_derive(const struct key *key, const char *purpose, uint8_t *out);

/* The key we share with the owner of a public key, into KEY_SHARED_SIZE guarded bytes.
 * False: the public key is of small order, so anybody could compute the shared one. */
bool key_agree(const struct key *key, const uint8_t *public_key, uint8_t *shared)
    __attribute__((warn_unused_result));

/* ---- text of key files and lists ---- */

#define KEYS_BLANKS " \t\r\n"

/* The next line of *rest, in it, with comment and outer blanks cut off; false at the
 * end. */
bool keys_next_line(char **rest, char **line);

/* 1 to KEY_NAME_MAX of A-Z a-z 0-9 _ -. */
bool keys_name_valid(const char *name);

/* 32 bytes from and to base64 with its padding. */
bool keys_decode(const char *base64, uint8_t out[KEY_PUBLIC_SIZE]);
void keys_encode(const uint8_t *key, char out[KEYS_BASE64_SIZE]);

/* ---- files whose text may be secret ---- */

/* The whole file as a string in guarded memory, for sodium_free.  INVALID_ARGUMENT names
 * `path` when it cannot be opened, is no regular file of text, has `most` bytes or more,
 * or is `secret` and others than its owner may use it. */
struct err keys_file_load(const char *path, bool secret, size_t most, char **out)
    __attribute__((warn_unused_result));
struct err keys_file_read(int fd, const char *path, bool secret, size_t most, char **out)
    __attribute__((warn_unused_result));

/* Writes all of the text at the offset of `fd` and syncs; UNAVAILABLE names `path`. */
struct err keys_file_write(int fd, const char *path, const char *text, size_t size)
    __attribute__((warn_unused_result));
