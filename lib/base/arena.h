/*
 * arena.h - the memory of one request, given back in one call.
 *
 * Allocation is a pointer bump; nothing is freed singly.  An arena has a cap, so that
 * no message can make a process grow without bound.  It belongs to one thread at a
 * time; passing the request on passes the arena on.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>

struct arena;

/* A new arena that will hold at most `cap` bytes in all; NULL when memory is short. */
struct arena *arena_new(size_t cap) __attribute__((warn_unused_result));

/* Gives back everything ever allocated from it.  NULL is allowed. */
void arena_free(struct arena *arena);

/* Forgets everything allocated, keeping one block of at most 64 KiB for what comes next. */
void arena_reset(struct arena *arena);

/* Whether an allocation failed for want of memory, not for the cap, since the reset. */
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

/* Unpacked messages live in the arena: protobuf-c's allocator over it, owned by it. */
ProtobufCAllocator *arena_protobuf(struct arena *arena);
