/*
 * suite_tool.c - hands the cases of public test suites to the functions they are about.
 *
 *   suite_tool string    each line of standard input is a field's value in hexadecimal;
 *                        prints the structured-field string in it, in hexadecimal, or "-"
 *   suite_tool json FILE...  prints a line a file: whether it is taken as a body, "yes" or "no"
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/api/body.h"
#include "gateway/api/idempotency.h"

enum { FIELD_MAX = 4096, FILE_MAX = 1 << 20 };

static int read_strings(void)
{
    static char line[2 * FIELD_MAX + 2], field[FIELD_MAX + 1], text[FIELD_MAX + 1];
    static char hex[2 * FIELD_MAX + 1];
    size_t size;

    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (sodium_hex2bin((unsigned char *)field, FIELD_MAX, line, strlen(line), NULL,
                           &size, NULL) != 0)
            return EXIT_FAILURE;
        field[size] = '\0';
        if (idempotency_read_string(field, text))
            puts(sodium_bin2hex(hex, sizeof hex, (unsigned char *)text, strlen(text)));
        else
            puts("-");
    }
    return EXIT_SUCCESS;
}

/* The whole file as a heap block of just its size, so that a sanitizer sees each byte over. */
static char *read_file(const char *path, size_t *size)
{
    static char whole[FILE_MAX];
    FILE *file = fopen(path, "rb");

    if (file == NULL)
        return NULL;
    *size = fread(whole, 1, sizeof whole, file);
    fclose(file);
    char *copy = malloc(*size + (*size == 0));
    if (copy != NULL)
        memcpy(copy, whole, *size);
    return copy;
}

static int parse_bodies(char **paths)
{
    for (; *paths != NULL; paths++) {
        size_t size;
        json_t *json;
        char *bytes = read_file(*paths, &size);
        if (bytes == NULL) {
            perror(*paths);
            return EXIT_FAILURE;
        }
        struct err e = body_parse(bytes, size, &json);
        puts(failed(e) ? "no" : "yes");
        json_decref(json);
        free(bytes);
    }
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "string") == 0)
        return read_strings();
    if (argc > 2 && strcmp(argv[1], "json") == 0)
        return parse_bodies(argv + 2);
    fprintf(stderr, "usage: suite_tool string | suite_tool json FILE...\n");
    return EXIT_FAILURE;
}
