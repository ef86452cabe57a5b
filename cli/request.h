/* request.h - what call and bench take from the command line: a method and its JSON. */
#pragma once

#include "cli/catalogue.h"

/* The method of the first word. */
struct outcome request_method(struct cli *cli, struct found_method *out)
    __attribute__((warn_unused_result));

/* The JSON of the second word: itself, @FILE, or - and @- for standard input; {} when
 * there is none.  Followed by a zero byte. */
struct err request_text(const struct cli *cli, const char **text, size_t *size)
    __attribute__((warn_unused_result));
