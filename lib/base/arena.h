/*
 * arena.h - the memory of one request, freed in one call.
 *
 * Allocation is a pointer bump; nothing is freed individually.  An arena has a cap, so no
 * message can make a process grow without bound.  It belongs to one thread at a time and
 * is handed over together with its request.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>

struct arena;

/* A new arena of at most `cap` bytes; NULL when memory is short. */
struct arena *arena_new(size_t cap) __attribute__((warn_unused_result));

/* Frees the arena and everything allocated from it.  NULL is allowed. */
void arena_free(struct arena *arena);

/* Frees everything allocated from it, but keeps one block of at most 64 KiB for reuse. */
void arena_reset(struct arena *arena);

/* Whether malloc has failed since the last reset, as opposed to reaching the cap. */
bool arena_memory_short(const struct arena *arena) __attribute__((warn_unused_result));

/* Zeroed bytes aligned for any type, living as long as the arena; NULL past the cap. */
void *arena_alloc(struct arena *arena, size_t size) __attribute__((warn_unused_result));

/* Copies into the arena; NULL past the cap.  A NULL `text` gives NULL. */
char *arena_strdup(struct arena *arena, const char *text)
    __attribute__((warn_unused_result));
void *arena_copy(struct arena *arena, const void *bytes, size_t size)
    __attribute__((warn_unused_result));

/* A formatted string in the arena; NULL past the cap. */
char *arena_printf(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3), warn_unused_result));

/* A protobuf-c allocator that unpacks messages into the arena; owned by the arena. */
ProtobufCAllocator *arena_protobuf(struct arena *arena);
