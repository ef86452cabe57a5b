/*
 * body.h - strict reading of JSON bodies.
 *
 * Refuses anything but one object, duplicate names, unknown names, numbers that are not
 * exact integers in range, invalid UTF-8, lone surrogates, NUL, and trailing data.  Every
 * error is INVALID_ARGUMENT and names the field or the place.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define invalid(...) err_make(ERR_INVALID_ARGUMENT, __VA_ARGS__)

/* Parses; the caller frees *out with json_decref; it is NULL on failure. */
struct err body_parse(const char *bytes, size_t size, json_t **out)
    __attribute__((warn_unused_result));

/* Fails unless `value` is an object whose names are all in `names` (NULL-terminated).
 * `where` is its name in the message: "the body", "lines[3]". */
struct err body_names(const json_t *value, const char *where, const char *const *names)
    __attribute__((warn_unused_result));

/* A text field; borrowed from the object.  Missing: an error when required, else NULL. */
struct err body_text(const json_t *object, const char *name, bool required,
                     const char **out) __attribute__((warn_unused_result));

/* An exact integer from `least` to `most`.  Missing: *present is false, or an error when
 * `present` is NULL. */
struct err body_integer(const json_t *object, const char *name, int64_t least,
                        int64_t most, bool *present, int64_t *out)
    __attribute__((warn_unused_result));

/* A required array of at most `most` elements; borrowed. */
struct err body_array(const json_t *object, const char *name, size_t most,
                      const json_t **out) __attribute__((warn_unused_result));
