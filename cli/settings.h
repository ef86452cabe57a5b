/*
 * settings.h - which stack checkoutctl talks to, and the settings for it.
 *
 *   --config FILE, or --profile NAME (or CHECKOUT_PROFILE), or else
 *   conf/checkoutctl.conf in the state folder: --state DIR, or CHECKOUT_STATE, or the
 *   folder ./up uses by itself when there is one (/var/lib/checkout as root, else
 *   ${XDG_STATE_HOME:-~/.local/state}/checkout).
 *
 * CHECKOUT_DATABASE_URL overrides the file's database_url; it is never an argument.
 *
 * Profiles are several stacks under names, in one file: CHECKOUT_PROFILES, or else
 * ${XDG_CONFIG_HOME:-~/.config}/checkout/profiles.conf.
 *
 *   [shop]
 *   state = /var/lib/checkout        # or: config = FILE
 *   production = true                # changing commands ask first
 *   [staging]
 *   key_file = /home/ann/keys/operator.key
 *   services_file = /home/ann/keys/staging.services
 *   inventory_addresses = tcp://10.0.0.7:7002
 *
 * A section may have state or config, and every setting of conf/checkoutctl.conf, which
 * it then overrides.
 */
#pragma once

#include "base/program/conf.h"
#include "cli/cli.h"

/* The settings of a stack's checkoutctl.conf, or of a profile. */
extern const struct conf_table CLI_SETTINGS;

/* Fills cli->settings.  INVALID_ARGUMENT when a stack was named and has no settings. */
struct err settings_read(struct cli *cli) __attribute__((warn_unused_result));

/* Frees the settings; allowed when none were read. */
void settings_free(struct cli *cli);

enum { PROFILE_SETTINGS_MAX = 32 };

struct profile {
    const char *name;
    const char *state, *config; /* or NULL */
    struct {
        const char *name, *value;
    } settings[PROFILE_SETTINGS_MAX];
    int count;
};

/* Calls `each` with every profile of the file; says on cli->err when there is no file. */
struct err profiles_each(struct cli *cli,
                         void (*each)(void *arg, const struct profile *profile),
                         void *arg) __attribute__((warn_unused_result));

/* The value of a profile's setting; NULL when it does not set it. */
const char *profile_setting(const struct profile *profile, const char *name);
