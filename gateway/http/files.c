/* files.c - see files.h. */
#include "gateway/http/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/log.h"
#include "gateway/http/request.h"

#define invalid(...) err_make(ERR_INVALID_ARGUMENT, __VA_ARGS__)

enum {
    MEMORY_MAX = 32 << 20, /* bytes of all files */
    HASH_SIZE = 16,
    ETAG_SIZE = 2 * HASH_SIZE + 3, /* quoted */
    COOKIE_MAX = 4096,             /* bytes of the token */
};

static const char NAME_CHARS[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "0123456789._-";

static const struct {
    const char *ending;
    const char *type;
} TYPES[] = {
    {".html", "text/html; charset=utf-8"},
    {".css", "text/css; charset=utf-8"},
    {".js", "text/javascript; charset=utf-8"},
    {".svg", "image/svg+xml"},
    {".png", "image/png"},
    {".woff2", "font/woff2"},
};

#define POLICY                                                                           \
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "          \
    "font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "         \
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

enum { FIELD_ETAG, FIELDS_COUNT = 6 };

struct file {
    const char *path, *type, *body;
    size_t size;
    char etag[ETAG_SIZE];
    struct answer_field fields[FIELDS_COUNT]; /* ended by a NULL name */
};

struct files {
    struct arena *arena;
    const char *set_cookie; /* with the page itself; NULL: none */
    size_t count;
    struct file list[FILES_MAX];
};

/* ---- reading the folder ---- */

static const char *type_of(const char *name)
{
    for (size_t i = 0; i < sizeof TYPES / sizeof TYPES[0]; i++) {
        size_t length = strlen(name), ending = strlen(TYPES[i].ending);
        if (length > ending && strcmp(name + length - ending, TYPES[i].ending) == 0)
            return TYPES[i].type;
    }
    return NULL;
}

/* Reads an open regular file of at most `most` bytes. */
static struct err read_all(struct arena *arena, int fd, const char *name, size_t most,
                           char **out, size_t *size)
{
    struct stat is;

    if (fstat(fd, &is) != 0 || !S_ISREG(is.st_mode))
        return invalid("%s is not a file", name);
    if ((size_t)is.st_size > most)
        return invalid("%s is longer than %zu bytes", name, most);
    *out = arena_alloc(arena, (size_t)is.st_size + 1);
    if (*out == NULL)
        return err_memory();
    ssize_t got = 0;
    for (*size = 0; *size < (size_t)is.st_size; *size += (size_t)got) {
        got = read(fd, *out + *size, (size_t)is.st_size - *size);
        if (got <= 0)
            return invalid("%s cannot be read", name);
    }
    return ERR_NONE;
}

static void describe(struct file *file)
{
    unsigned char hash[HASH_SIZE];
    char hex[2 * HASH_SIZE + 1];

    crypto_generichash(hash, sizeof hash, (const unsigned char *)file->body, file->size,
                       NULL, 0);
    sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
    snprintf(file->etag, sizeof file->etag, "\"%s\"", hex);
    const struct answer_field fields[FIELDS_COUNT] = {
        [FIELD_ETAG] = {"ETag", file->etag},
        {"Content-Security-Policy", POLICY},
        {"Referrer-Policy", "same-origin"},
        {"Cross-Origin-Opener-Policy", "same-origin"},
        {"Cross-Origin-Resource-Policy", "same-origin"},
    };
    memcpy(file->fields, fields, sizeof fields);
}

static struct err add_file(struct files *files, int folder, const char *name,
                           const char *prefix)
{
    struct file *file = &files->list[files->count];
    char *body = NULL;

    if (files->count == FILES_MAX)
        return invalid("there are more than %d files", FILES_MAX);
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return invalid("%.64s cannot be opened: %s", name, strerror(errno));
    struct err e = read_all(files->arena, fd, name, FILES_SIZE_MAX, &body, &file->size);
    close(fd);
    if (failed(e))
        return e;
    bool page = prefix[0] == '\0' && strcmp(name, "index.html") == 0;
    file->path = page ? "/" : arena_printf(files->arena, "/shop/%s%s", prefix, name);
    if (file->path == NULL)
        return err_memory();
    file->type = type_of(name);
    file->body = body;
    describe(file);
    files->count++;
    return ERR_NONE;
}

static bool served(const struct dirent *entry)
{
    return entry->d_name[strspn(entry->d_name, NAME_CHARS)] == '\0' &&
           type_of(entry->d_name) != NULL && entry->d_type != DT_LNK;
}

/* Adds every file of a folder under `prefix`, and closes `fd`. */
static struct err read_folder(struct files *files, int fd, const char *prefix)
{
    struct err e = ERR_NONE;
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);

    if (stream == NULL) {
        e = invalid("the folder cannot be read: %s", strerror(errno));
        if (fd >= 0)
            close(fd);
        return e;
    }
    for (struct dirent *entry; !failed(e) && (entry = readdir(stream)) != NULL;) {
        if (entry->d_name[0] == '.' || entry->d_type == DT_DIR)
            continue;
        if (served(entry))
            e = add_file(files, fd, entry->d_name, prefix);
        else
            log_line(LOG_WARN, "file_skipped", "file=%.64s", entry->d_name);
    }
    closedir(stream);
    return e;
}

static struct err read_files(struct files *files, const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int pictures =
        fd < 0 ? -1 : openat(fd, "pictures", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct err e = read_folder(files, fd, "");

    if (!failed(e) && pictures >= 0)
        return read_folder(files, pictures, "pictures/");
    if (pictures >= 0)
        close(pictures);
    return e;
}

/* A token has no character that ends a cookie; the end of the line is cut off. */
static struct err read_session(struct files *files, const struct files_config *config)
{
    char *token = NULL;
    size_t size = 0;
    int fd = open(config->demo_token_file, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return invalid("demo_token_file cannot be opened: %s", strerror(errno));
    struct err e =
        read_all(files->arena, fd, "demo_token_file", COOKIE_MAX, &token, &size);
    close(fd);
    if (failed(e))
        return e;
    token[size] = '\0';
    token[strcspn(token, "\r\n")] = '\0';
    if (token[0] == '\0' || token[strspn(token, NAME_CHARS)] != '\0')
        return invalid("demo_token_file holds no token");
    files->set_cookie = arena_printf(
        files->arena, "%s=%s; HttpOnly; SameSite=Strict; Path=/", config->cookie, token);
    return files->set_cookie != NULL ? ERR_NONE : err_memory();
}

/* The shared demo session is only enabled when no other machine can reach this
 * address. */
static bool may_give_session(const struct files_config *config)
{
    const char *address = config->listen_address;

    if (config->demo_token_file[0] == '\0')
        return false;
    if (strncmp(address, "127.", 4) == 0 || strcmp(address, "::1") == 0)
        return true;
    log_warn("demo_session_disabled", "reason=\"other machines may reach %.64s\"",
             address);
    return false;
}

struct err files_open(const struct files_config *config, struct files **out)
{
    *out = NULL;
    if (config->folder[0] == '\0')
        return ERR_NONE;
    struct files *files = calloc(1, sizeof *files);
    if (files == NULL || (files->arena = arena_new(MEMORY_MAX)) == NULL) {
        free(files);
        return err_memory();
    }
    struct err e = read_files(files, config->folder);
    if (failed(e))
        e = err_make(e.code, "storefront_dir %.64s: %.100s", config->folder, e.message);
    if (!failed(e) && may_give_session(config))
        e = read_session(files, config);
    if (failed(e))
        files_close(files);
    else
        *out = files;
    return e;
}

void files_close(struct files *files)
{
    if (files == NULL)
        return;
    arena_free(files->arena);
    free(files);
}

/* ---- answering ---- */

static const struct file *find(const struct files *files, const char *path)
{
    for (size_t i = 0; files != NULL && i < files->count; i++)
        if (strcmp(files->list[i].path, path) == 0)
            return &files->list[i];
    return NULL;
}

/* Whether the client has these bytes already (RFC 9110, 13.1.2). */
static bool unchanged(const struct file *file, const char *if_none_match)
{
    return if_none_match != NULL &&
           (strcmp(if_none_match, "*") == 0 || strstr(if_none_match, file->etag) != NULL);
}

/* Whether the name can only mean this machine.  Another name that resolves to it (DNS
 * rebinding) gets no session. */
static bool host_is_local(const char *host)
{
    static const char *const NAMES[] = {"localhost", "127.0.0.1", "[::1]"};

    for (size_t i = 0; host != NULL && i < sizeof NAMES / sizeof NAMES[0]; i++) {
        size_t length = strlen(NAMES[i]);
        if (strncmp(host, NAMES[i], length) == 0 &&
            (host[length] == '\0' || host[length] == ':'))
            return true;
    }
    return false;
}

struct err files_get(struct request *r)
{
    const struct files *files = r->gateway->files;
    const struct file *file = find(files, r->path);

    if (file == NULL)
        return err_make(ERR_NOT_FOUND, "There is nothing at this path.");
    bool with_session = files->set_cookie != NULL && strcmp(file->path, "/") == 0 &&
                        host_is_local(r->head.host);
    bool fresh = !with_session && unchanged(file, r->head.if_none_match);
    r->answer = (struct answer){
        .status = fresh ? 304 : 200,
        .body = fresh ? "" : file->body,
        .size = fresh ? 0 : file->size,
        .content_type = file->type,
        /* Revalidated each time, usually by a 304, so a new version shows at once. */
        .cache_control = with_session ? "no-store" : "no-cache",
        .fields = file->fields,
        .set_cookie = with_session ? files->set_cookie : NULL,
    };
    r->answered = true;
    return ERR_NONE;
}

/* ---- /openapi.yaml ---- */

/* The bytes of openapi.yaml, included by the assembler; CMake defines OPENAPI_FILE. */
__asm__(".section .rodata\n"
        ".type document, @object\n"
        "document: .incbin \"" OPENAPI_FILE "\"\n"
        ".type document_end, @object\n"
        "document_end: .byte 0\n"
        ".previous\n");

extern const char document[] __attribute__((visibility("hidden")));
extern const char document_end[] __attribute__((visibility("hidden")));

struct err document_get(struct request *r)
{
    r->answer.status = 200;
    r->answer.content_type = "application/yaml";
    r->answer.body = document;
    r->answer.size = (size_t)(document_end - document);
    r->answered = true;
    return ERR_NONE;
}
