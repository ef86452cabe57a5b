/*
 * profiles.h - several stacks under names, in one file.
 *
 *   # ~/.config/checkout/profiles.conf
 *   [shop]
 *   state = /var/lib/checkout        # or: config = FILE
 *   production = true                # changing commands ask first
 *   [staging]
 *   key_file = /home/ann/keys/operator.key
 *   services_file = /home/ann/keys/staging.services
 *   inventory_addresses = tcp://10.0.0.7:7002
 *
 * A section may have state or config, and every setting of conf/checkoutctl.conf, which
 * then goes before the one there.  The file is CHECKOUT_PROFILES, or else
 * ${XDG_CONFIG_HOME:-~/.config}/checkout/profiles.conf.
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"

enum { PROFILE_SETTINGS_MAX = 32 };

struct profile {
    const char *name;
    const char *state, *config; /* or NULL */
    struct {
        const char *name, *value;
    } settings[PROFILE_SETTINGS_MAX];
    int count;
};

/* The profile of that name, in the arena.  INVALID_ARGUMENT names the file, and the line
 * or the profiles there are. */
struct err profile_read(const char *name, struct arena *arena, struct profile *out)
    __attribute__((warn_unused_result));

/* Calls `each` with every profile of the file; none when there is no file. */
struct err profiles_each(struct arena *arena,
                         void (*each)(void *arg, const struct profile *profile),
                         void *arg) __attribute__((warn_unused_result));

/* Where the file is, whether it is there or not; in the arena, NULL when memory is short.
 */
const char *profiles_path(struct arena *arena);
