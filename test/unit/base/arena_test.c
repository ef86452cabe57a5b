/* arena_test.c - the memory of one request: aligned, zeroed, capped, given back at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdalign.h>
#include <string.h>

#include "base/arena.h"

static void allocations_are_aligned_zeroed_and_apart(void **state)
{
    struct arena *arena = arena_new(1 << 20);
    char *before = NULL;

    (void)state;
    for (size_t size = 1; size < 700; size++) {
        char *bytes = arena_alloc(arena, size);
        assert_non_null(bytes);
        assert_int_equal((uintptr_t)bytes % alignof(max_align_t), 0);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(bytes[i], 0);
        memset(bytes, 0xee, size);
        assert_true(bytes != before);
        before = bytes;
    }
    arena_free(arena);
}

static void an_arena_never_holds_more_than_its_cap(void **state)
{
    struct arena *arena = arena_new(10000);
    size_t held = 0;

    (void)state;
    assert_null(arena_alloc(arena, 10001));
    assert_null(arena_alloc(arena, SIZE_MAX));
    assert_null(arena_alloc(arena, SIZE_MAX - 3));
    while (arena_alloc(arena, 64) != NULL)
        held += 64;
    assert_true(held >= 64 && held <= 10000);
    assert_null(arena_strdup(arena,
                             "a text for which there is no room any more, as it is "
                             "longer than all that may be left"));
    arena_free(arena);
    arena_free(NULL);
}

static void a_reset_arena_gives_as_much_again_zeroed(void **state)
{
    struct arena *arena = arena_new(20000);

    (void)state;
    arena_reset(arena);
    for (int round = 0; round < 100; round++) {
        for (int i = 0; i < 9; i++) {
            char *bytes = arena_alloc(arena, 1000);
            assert_non_null(bytes);
            assert_int_equal(bytes[0] | bytes[999], 0);
            memset(bytes, 0xee, 1000);
        }
        arena_reset(arena);
    }
    arena_free(arena);
}

static void copies_are_independent_of_the_original(void **state)
{
    struct arena *arena = arena_new(10000);
    char text[] = "text";

    (void)state;
    char *copy = arena_strdup(arena, text);
    text[0] = 'T';
    assert_string_equal(copy, "text");
    assert_null(arena_strdup(arena, NULL));
    assert_string_equal(arena_printf(arena, "%d-%s", 7, "x"), "7-x");
    assert_memory_equal(arena_copy(arena, "a\0b", 3), "a\0b", 3);
    assert_non_null(arena_copy(arena, NULL, 0));
    ProtobufCAllocator *allocator = arena_protobuf(arena);
    assert_non_null(allocator->alloc(allocator->allocator_data, 10));
    assert_null(allocator->alloc(allocator->allocator_data, 20000));
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocations_are_aligned_zeroed_and_apart),
        cmocka_unit_test(an_arena_never_holds_more_than_its_cap),
        cmocka_unit_test(a_reset_arena_gives_as_much_again_zeroed),
        cmocka_unit_test(copies_are_independent_of_the_original),
    };

    return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
