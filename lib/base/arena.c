/* arena.c - see arena.h. */
#include "base/arena.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BLOCK_SIZE = 4096,
#ifdef __SANITIZE_ADDRESS__
    KEPT_MAX = 0, /* so that the sanitizer sees use after reset */
#else
    KEPT_MAX = 64 << 10, /* size of a block that a reset keeps */
#endif
};

struct block {
    struct block *next;
    size_t size; /* bytes in data */
    size_t used;
    alignas(max_align_t) char data[];
};

struct arena {
    struct block *blocks; /* the one in use first */
    size_t cap;
    size_t held; /* bytes of all blocks */
    bool memory_short;
    ProtobufCAllocator protobuf;
};

static void *protobuf_alloc(void *data, size_t size)
{
    return arena_alloc(data, size);
}

static void protobuf_free(void *data, void *pointer)
{
    (void)data;
    (void)pointer;
}

static void free_blocks(struct block *block)
{
    while (block != NULL) {
        struct block *next = block->next;
        free(block);
        block = next;
    }
}

static struct block *add_block(struct arena *arena, size_t at_least)
{
    size_t size = at_least > BLOCK_SIZE ? at_least : BLOCK_SIZE;

    if (size > arena->cap - arena->held)
        size = at_least;
    if (size > arena->cap - arena->held)
        return NULL;
    struct block *block = malloc(sizeof *block + size);
    if (block == NULL) {
        arena->memory_short = true;
        return NULL;
    }
    block->size = size;
    block->used = 0;
    block->next = arena->blocks;
    arena->blocks = block;
    arena->held += size;
    return block;
}

struct arena *arena_new(size_t cap)
{
    struct arena *arena = calloc(1, sizeof *arena);

    if (arena == NULL)
        return NULL;
    arena->cap = cap;
    arena->protobuf = (ProtobufCAllocator){protobuf_alloc, protobuf_free, arena};
    return arena;
}

void arena_free(struct arena *arena)
{
    if (arena == NULL)
        return;
    free_blocks(arena->blocks);
    free(arena);
}

void arena_reset(struct arena *arena)
{
    struct block *kept = arena->blocks;

    arena->memory_short = false;
    if (kept == NULL)
        return;
    if (kept->size > KEPT_MAX) { /* one large request must not enlarge a pool forever */
        free_blocks(kept);
        arena->blocks = NULL;
        arena->held = 0;
        return;
    }
    free_blocks(kept->next);
    kept->next = NULL;
    kept->used = 0;
    arena->held = kept->size;
}

bool arena_memory_short(const struct arena *arena)
{
    return arena->memory_short;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    const size_t align = alignof(max_align_t);

    if (size > arena->cap)
        return NULL;
    size = (size + align - 1) / align * align;
    struct block *block = arena->blocks;
    if (block == NULL || block->size - block->used < size)
        block = add_block(arena, size);
    if (block == NULL)
        return NULL;
    void *result = block->data + block->used;
    block->used += size;
    return memset(result, 0, size);
}

void *arena_copy(struct arena *arena, const void *bytes, size_t size)
{
    void *copy = arena_alloc(arena, size);

    return copy == NULL || size == 0 ? copy : memcpy(copy, bytes, size);
}

char *arena_strdup(struct arena *arena, const char *text)
{
    return text == NULL ? NULL : arena_copy(arena, text, strlen(text) + 1);
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = size < 0 ? NULL : arena_alloc(arena, (size_t)size + 1);
    if (text == NULL)
        return NULL;
    va_start(args, format);
    vsnprintf(text, (size_t)size + 1, format, args);
    va_end(args);
    return text;
}

ProtobufCAllocator *arena_protobuf(struct arena *arena)
{
    return &arena->protobuf;
}
