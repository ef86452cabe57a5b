/* words.c - see words.h. */
#include "db/words.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Adds a text to `out`: what is not printable, and runs of it, becomes one blank. */
static void add(char out[WORDS_SIZE], const char *label, const char *text)
{
    size_t used = strlen(out);

    if (text == NULL || *text == '\0')
        return;
    int length =
        snprintf(out + used, WORDS_SIZE - used, "%s%s", used == 0 ? "" : " ", label);
    used += (size_t)length < WORDS_SIZE - used ? (size_t)length : WORDS_SIZE - used - 1;
    bool blank = true;
    for (; *text != '\0' && used < WORDS_SIZE - 1; text++) {
        bool now = (unsigned char)*text <= ' ' || *text == 0x7f;
        if (!now)
            out[used++] = *text;
        else if (!blank)
            out[used++] = ' ';
        blank = now;
    }
    while (used > 0 && out[used - 1] == ' ')
        used--;
    out[used] = '\0';
}

static void gather(const PGconn *pg, const PGresult *result, bool detail,
                   char out[WORDS_SIZE])
{
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

    *out = '\0';
    if (message == NULL) {
        add(out, "", PQerrorMessage(pg));
        return;
    }
    add(out, "", message);
    if (detail)
        add(out, "DETAIL: ", PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL));
    add(out, "HINT: ", PQresultErrorField(result, PG_DIAG_MESSAGE_HINT));
}

void words_of_result(const PGconn *pg, const PGresult *result, char out[WORDS_SIZE])
{
    gather(pg, result, true, out);
}

void words_for_log(const PGconn *pg, const PGresult *result, char out[WORDS_SIZE])
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    bool quotes =
        state != NULL && (strncmp(state, "22", 2) == 0 || strncmp(state, "23", 2) == 0);

    gather(pg, result, !quotes, out);
}

struct err words_of_connection(const PGconn *pg)
{
    char words[WORDS_SIZE] = "";

    add(words, "", PQerrorMessage(pg));
    return err_make(ERR_UNAVAILABLE, "Cannot connect to the database: %s",
                    *words != '\0' ? words : "libpq does not say why.");
}
