/* Coverage of the compiled core for libFuzzer (which atheris carries), with gcc and no clang.

   gcc calls __sanitizer_cov_trace_pc at each basic block. The first time a block comes it gets the next counter, so
   that the fuzzer looks through a small dense table after each run. The tables are given to libFuzzer by
   `coverage_begin`; what its comparisons are is passed on to it, so that it can solve them. Without a fuzzer the
   counters only tell which blocks were reached. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>

#define BLOCKS (1 << 16)

extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char etext[] __attribute__((visibility("hidden")));

static uint32_t *numbers;
static uint32_t seen;
static uint8_t counters[BLOCKS];
static struct {
    uintptr_t pc, flags;
} blocks[BLOCKS];

__attribute__((visibility("hidden"), no_sanitize("address", "undefined"))) void __sanitizer_cov_trace_pc(void) {
    uintptr_t pc = (uintptr_t)__builtin_return_address(0);
    uintptr_t at = pc - (uintptr_t)__ehdr_start;
    if (!numbers && !(numbers = calloc(etext - __ehdr_start + 1, sizeof *numbers)))
        abort();
    if (!numbers[at]) {
        if (seen == BLOCKS - 1)
            return;
        numbers[at] = ++seen;
        blocks[seen].pc = pc;
    }
    counters[numbers[at]]++;
}

#define FORWARD(name, type)                                                                                            \
    static void (*pass_##name)(type, type);                                                                            \
    __attribute__((visibility("hidden"))) void __sanitizer_cov_##name(type a, type b) {                                \
        if (pass_##name)                                                                                               \
            pass_##name(a, b); /* a tail call: libFuzzer reads who called */                                           \
    }
FORWARD(trace_cmp1, uint8_t)
FORWARD(trace_cmp2, uint16_t)
FORWARD(trace_cmp4, uint32_t)
FORWARD(trace_cmp8, uint64_t)
FORWARD(trace_const_cmp1, uint8_t)
FORWARD(trace_const_cmp2, uint16_t)
FORWARD(trace_const_cmp4, uint32_t)
FORWARD(trace_const_cmp8, uint64_t)

static void (*pass_trace_switch)(uint64_t, uint64_t *);
__attribute__((visibility("hidden"))) void __sanitizer_cov_trace_switch(uint64_t value, uint64_t *cases) {
    if (pass_trace_switch)
        pass_trace_switch(value, cases);
}
__attribute__((visibility("hidden"))) void __sanitizer_cov_trace_cmpf(float a, float b) { (void)a, (void)b; }
__attribute__((visibility("hidden"))) void __sanitizer_cov_trace_cmpd(double a, double b) { (void)a, (void)b; }

/* Give the tables to the libFuzzer in the library at `path`; return whether it is one. */
__attribute__((visibility("default"))) int coverage_begin(const char *path) {
    void *library = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
    void (*take_counters)(uint8_t *, uint8_t *), (*take_blocks)(const uintptr_t *, const uintptr_t *);
    if (!library)
        return 0;
    take_counters = dlsym(library, "__sanitizer_cov_8bit_counters_init");
    take_blocks = dlsym(library, "__sanitizer_cov_pcs_init");
    if (!take_counters || !take_blocks)
        return 0;
    take_counters(counters, counters + BLOCKS);
    take_blocks((const uintptr_t *)blocks, (const uintptr_t *)(blocks + BLOCKS));
#define FIND(name) pass_##name = dlsym(library, "__sanitizer_cov_" #name)
    FIND(trace_cmp1), FIND(trace_cmp2), FIND(trace_cmp4), FIND(trace_cmp8);
    FIND(trace_const_cmp1), FIND(trace_const_cmp2), FIND(trace_const_cmp4), FIND(trace_const_cmp8);
    FIND(trace_switch);
    return 1;
}

/* The counters, of which those from the end on are for lines of Python. */
__attribute__((visibility("default"))) uint8_t *coverage_counters(void) { return counters; }

/* Write where the blocks reached so far begin, as offsets in the library; return how many. */
__attribute__((visibility("default"))) uint32_t coverage_reached(uint64_t *offsets, uint32_t room) {
    uint32_t count = 0;
    for (uint32_t number = 1; number <= seen && count < room; number++)
        offsets[count++] = blocks[number].pc - (uintptr_t)__ehdr_start;
    return seen;
}
