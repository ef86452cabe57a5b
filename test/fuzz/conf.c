/* conf.c - a configuration file, with settings of every type.  */
#include <stdio.h>

#include "base/conf.h"
#include "fuzz/fuzz.h"
#include "fuzz/memory_file.h"

struct settings {
    const char *listen_url;
    const char *database_url;
    int64_t workers;
    bool pretend;
};

static const struct conf_row ROWS[] = {
    CONF_ROW_TEXT(listen_url, "ipc:///tmp/x", "where it listens"),
    CONF_ROW_SECRET(database_url, "where its rows are"),
    CONF_ROW_NUMBER(workers, "4", -3, 64, "threads"),
    {"pretend", CONF_FLAG, offsetof(struct settings, pretend), "false", 0, 0, "a flag"},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct conf_table table = {"fuzz", "a harness", ROWS,
                                     sizeof ROWS / sizeof ROWS[0]};
    struct memory_file file = memory_file_open(data, size);
    char *arguments[] = {"fuzz", "--config", file.path, NULL};
    struct settings settings;
    struct err e = conf_read(&table, 3, arguments, &settings);

    if (failed(e)) {
        assert_refusal(e);
        assert(settings.listen_url == NULL && settings.database_url == NULL);
    } else {
        assert(settings.workers >= -3 && settings.workers <= 64);
        assert(settings.database_url != NULL && settings.listen_url != NULL);
        conf_free(&table, &settings);
    }
    memory_file_close(&file);
    return 0;
}
