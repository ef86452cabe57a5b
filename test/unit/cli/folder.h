/* folder.h - a private folder for one test program, removed at its end. */
#pragma once

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FOLDER_SIZE = 64, FOLDER_PATH_SIZE = 160 };

static inline void folder_make(char out[FOLDER_SIZE])
{
    snprintf(out, FOLDER_SIZE, "/tmp/checkoutctl-test-XXXXXX");
    if (mkdtemp(out) == NULL)
        abort();
}

static inline char *folder_path(const char *folder, const char *name,
                                char out[FOLDER_PATH_SIZE])
{
    snprintf(out, FOLDER_PATH_SIZE, "%s/%s", folder, name);
    return out;
}

/* Files only: the tests make no folders within. */
static inline void folder_remove(const char *folder)
{
    char path[FOLDER_PATH_SIZE * 2];
    DIR *dir = opendir(folder);

    if (dir == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        unlink(path);
    }
    closedir(dir);
    rmdir(folder);
}
