/*
 * settings.h - finding the stack that checkoutctl is to talk to.
 *
 *   --config FILE, or --profile NAME (or CHECKOUT_PROFILE; profiles.h), or else
 *   conf/checkoutctl.conf in the state folder: --state DIR, or CHECKOUT_STATE, or the
 *   folder ./up uses by itself when there is one (/var/lib/checkout as root, else
 *   ${XDG_STATE_HOME:-~/.local/state}/checkout).
 *
 * CHECKOUT_DATABASE_URL goes before the file's database_url; it is never an argument.
 */
#pragma once

#include "base/program/conf.h"
#include "cli/cli.h"

/* What a stack's checkoutctl.conf, or a profile, may set. */
extern const struct conf_table CLI_SETTINGS;

/* Fills cli->settings.  INVALID_ARGUMENT when a stack was named and has no settings. */
struct err settings_read(struct cli *cli) __attribute__((warn_unused_result));

/* Gives back what was read; also when nothing was. */
void settings_free(struct cli *cli);
