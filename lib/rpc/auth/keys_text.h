/*
 * keys_text.h - what the files of keys.h are made of: lines, names, patterns, keys.
 *
 * Text in memory only: who reads and writes files is keys_file.h.  A line is refused
 * rather than guessed at: an access list that is read wrongly is worse than a service that
 * does not start.
 */
#pragma once

#include <stdbool.h>

#include "rpc/auth/keys.h"

#define KEYS_BLANKS " \t\r\n"

enum {
    KEYS_BASE64_SIZE = 45,  /* a key in base64, with its NUL */
    KEYS_PATTERN_MAX = 128, /* bytes of a method pattern */
};

/* The next line of *rest, in it, with comment and outer blanks cut off; false at the end. */
bool keys_next_line(char **rest, char **line);

/* 1 to KEY_NAME_MAX of A-Z a-z 0-9 _ -. */
bool keys_name_valid(const char *name);

/* A full method name, or the beginning of one with a '*' at the end. */
bool keys_pattern_valid(const char *pattern);

/* 32 bytes from and to base64 with its padding. */
bool keys_decode(const char *base64, uint8_t out[KEY_PUBLIC_SIZE]);
void keys_encode(const uint8_t *key, char out[KEYS_BASE64_SIZE]);
