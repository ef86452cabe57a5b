/* conf_help.c - a program's settings, as --help prints them; see conf.h. */
#include <inttypes.h>
#include <stdio.h>

#include "base/conf.h"

void conf_print_help(const struct conf_table *table)
{
    printf("%s - %s\n\nusage: %s [--config FILE] [--SETTING VALUE ...]\n\n",
           table->program, table->summary, table->program);
    for (size_t i = 0; i < table->count; i++) {
        const struct conf_row *row = &table->rows[i];
        const char *note = row->type == CONF_SECRET ? " (file or environment only)" : "";
        printf("  %-28s %s%s", row->name, row->help, note);
        if (row->fallback == NULL)
            printf(" [required]");
        else
            printf(" [%s]", row->fallback);
        if (row->type == CONF_NUMBER)
            printf(" %" PRId64 " to %" PRId64, row->least, row->most);
        printf("\n");
    }
}
