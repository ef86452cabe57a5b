/* output.h - output for people and programs: JSON, money, times, errors. */
#pragma once

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>
#include <stdint.h>
#include <stdio.h>

#include "cli/cli.h"

enum { MONEY_SIZE = 64, TIME_SIZE = 40 };

enum { LIST_DEFAULT = 100 }; /* entries of a list without --limit */

enum style { STYLE_PLAIN, STYLE_BOLD, STYLE_GOOD, STYLE_BAD, STYLE_DIM };

/* The terminal's code for a style; "" when `out` is no terminal, or NO_COLOR is set. */
const char *output_style(FILE *out, enum style style);

/* Whether the output is for people: `out` is a terminal and --json was not given. */
bool output_for_people(const struct cli *cli);

/* JSON that commands make themselves, on one line or, for people, on several; takes the
 * reference. */
struct err output_json(const struct cli *cli, json_t *json)
    __attribute__((warn_unused_result));

/* JSON on one line, for programs, of a command that prints many; takes the reference.
 * cli_main reports what cannot be written. */
void output_line(const struct cli *cli, json_t *json);

/* "checkoutctl: ..." on one line, control characters replaced. */
void output_error(FILE *err, struct outcome end);

/* The message as JSON: indented on a terminal, on one line otherwise or with --json. */
struct err output_message(const struct cli *cli, const ProtobufCMessage *message)
    __attribute__((warn_unused_result));

/* Text from elsewhere, control characters replaced by '?'. */
void output_text(FILE *out, const char *text);

/* "  NAME  TEXT" on a line, the name in `width` columns; nothing for an empty text, or
 * for a time of 0. */
void output_field(FILE *out, int width, const char *name, const char *text);
void output_time(FILE *out, int width, const char *name, int64_t unix_ms);

/* 1234 EUR -> "12.34 EUR"; 1234 JPY -> "1234 JPY". */
const char *money_text(int64_t minor_units, const char *currency, char out[MONEY_SIZE]);

/* Unix milliseconds -> "2026-01-31 12:00:00 UTC". */
const char *time_text(int64_t unix_ms, char out[TIME_SIZE]);

/* "FAILED_PRECONDITION" for 9; "UNKNOWN" for what is no gRPC status. */
const char *status_name(unsigned grpc_status);
