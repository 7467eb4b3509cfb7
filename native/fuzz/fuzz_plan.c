/* A fuzzer for the decoder of plans.
 *
 * With libFuzzer:     clang -g -fsanitize=fuzzer,address,undefined fuzz_plan.c ../stage/check.c ../stage/shapes.c
 * Without it:         gcc -g -fsanitize=address,undefined -DFUZZ_MAIN fuzz_plan.c ../stage/check.c ../stage/shapes.c
 *     ./a.out ROUNDS [SEED]       check that many plans made by chance
 *
 * plan_check must accept or refuse any bytes without a fault, and all that the steps of an accepted plan
 * name must be there: this file learns from the table of operations which operand names what, but reads every byte
 * of it by code of its own.  The plan is in memory of exactly its size, so the sanitizer sees a byte too many. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../stage/shapes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned long accepted, accepted_steps[OP_COUNT];
static volatile unsigned sink;

static void require(int holds, const struct step *step, const char *what)
{
    if (!holds) {
        fprintf(stderr, "an accepted plan is not safe: operation %u: %s\n", step->op, what);
        abort();
    }
}

static void read_strings(const char *string, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        for (; *string != '\0'; string++)
            sink += (unsigned char)*string;
        string++;
    }
}

static void read_items(const char *items, size_t size)
{
    for (size_t i = 0; i < size; i++)
        sink += (unsigned char)items[i];
}

static void have_slot(const struct plan *plan, const struct step *step, int64_t slot)
{
    require(slot >= 0 && slot < (int64_t)plan->nslots && slot < PLAN_MAX_SLOTS, step, "slot");
}

static void read_array(const struct plan *plan, const struct step *step, const char *items, uint32_t kind, uint32_t count)
{
    require((uintptr_t)items % 8 == 0, step, "alignment of an array");
    read_items(items, count * (size_t)(kind == ARRAY_OF_8 ? 8 : 4));
    for (uint32_t i = 0; kind == SLOTS && i < count; i++) {
        int32_t slot;
        memcpy(&slot, items + i * sizeof slot, sizeof slot);
        have_slot(plan, step, slot);
    }
}

/* Every kind of operand begins with a slot or with an offset; a count may follow. */
static void read_operand(const struct plan *plan, const struct step *step, const char *strings, struct operand operand)
{
    uint32_t words[2] = { 0, 0 };
    int wide = operand.kind != SLOT && operand.kind != OPTIONAL_SLOT && operand.kind != TEXT;
    memcpy(words, (const char *)step + operand.offset, wide ? sizeof words : sizeof *words);
    switch (operand.kind) {
    case TEXT:
        read_strings(strings + words[0], 1);
        break;
    case LIST:
        read_strings(strings + words[0], words[1]);
        break;
    case ARRAY_OF_4: case ARRAY_OF_8: case SLOTS:
        read_array(plan, step, strings + words[0], operand.kind, words[1]);
        break;
    case SLOT:
        have_slot(plan, step, (int32_t)words[0]);
        break;
    case OPTIONAL_SLOT:
        if ((int32_t)words[0] != -1)
            have_slot(plan, step, (int32_t)words[0]);
        break;
    default:
        require(0, step, "an operand of a kind that this fuzzer does not know");
    }
}

static void read_step(const struct plan *plan, const struct step *step, const char *strings)
{
    require(step->op < OP_COUNT, step, "number of the operation");
    const struct shape *shape = &shapes[step->op];
    require((step->flags & ~shape->flags) == 0, step, "flags");
    accepted_steps[step->op]++;
    for (unsigned i = 0; i < shape->count; i++)
        read_operand(plan, step, strings, shape->operands[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    void *memory = malloc(size > 0 ? size : 1);
    if (memory == NULL)
        return 0;
    if (size > 0)
        memcpy(memory, data, size);
    if (plan_check(memory, size) == 0) {
        accepted++;
        const struct plan *plan = memory;
        const struct step *steps = (const struct step *)(const void *)(plan + 1);
        for (uint32_t i = 0; i < plan->nsteps; i++)
            read_step(plan, &steps[i], (const char *)(steps + plan->nsteps));
    }
    free(memory);
    return 0;
}

#ifdef FUZZ_MAIN

enum { MAX_STEPS = 4, MAX_STRINGS = 64 };

static uint64_t state = 1;

static uint32_t chance(uint32_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32) % below;
}

/* Mostly small numbers near the sizes in use; sometimes the ends of the range. */
static uint32_t number(void)
{
    static const uint32_t ends[] = { 0xffffffff, 0x80000000, 0x7fffffff, 0x40000000, 0x20000000, 0xfffffff8 };
    return chance(12) == 0 ? ends[chance(6)] : chance(4) ? chance(4) : chance(MAX_STRINGS + 8);
}

static struct step make_step(void)
{
    struct step step = {
        .op = (uint16_t)chance(OP_COUNT + (chance(8) == 0)), .flags = (uint16_t)(chance(4) ? 0 : chance(32)),
        .unused = chance(64) == 0,
    };
    for (size_t i = 0; i < sizeof step.words / sizeof *step.words; i++)
        step.words[i] = (uint64_t)(chance(4) ? number() : number() & ~7u) | (uint64_t)number() << 32;
    return step;
}

/* A plan that is nearly right, so that many are accepted and the others fail in the last check. */
static size_t make_plan(unsigned char *bytes)
{
    struct plan plan = { PLAN_MAGIC, PLAN_VERSION, 0, 1 + chance(MAX_STRINGS), chance(6), 0 };
    plan.nsteps = chance(MAX_STEPS + 1);
    size_t size = sizeof plan;
    for (uint32_t i = 0; i < plan.nsteps; i++) {
        struct step step = make_step();
        memcpy(bytes + size, &step, sizeof step);
        size += sizeof step;
    }
    for (uint32_t i = 0; i < plan.nstrings; i++)
        bytes[size + i] = (unsigned char)(i == 0 || i + 1 == plan.nstrings || chance(3) == 0 ? 0 : 'a');
    size += plan.nstrings;
    if (chance(16) == 0)
        ((uint32_t *)&plan)[chance(6)] ^= 1u << chance(32);
    memcpy(bytes, &plan, sizeof plan);
    return chance(16) == 0 ? chance((uint32_t)size) : size;
}

int main(int argc, char **argv)
{
    static unsigned char bytes[sizeof(struct plan) + MAX_STEPS * sizeof(struct step) + MAX_STRINGS];
    unsigned long rounds = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000;
    state = argc > 2 ? strtoul(argv[2], NULL, 10) | 1 : 88172645463325252u;
    for (unsigned long i = 0; i < rounds; i++)
        LLVMFuzzerTestOneInput(bytes, make_plan(bytes));
    unsigned never = 0;
    for (unsigned op = 0; op < OP_COUNT; op++)
        never += accepted_steps[op] == 0;
    printf("%lu plans, %lu accepted, %u operations never\n", rounds, accepted, never);
    return accepted > 0 ? 0 : 1;
}

#endif
