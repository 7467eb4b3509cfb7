/* A fuzzer for the decoder of plans.
 *
 * With libFuzzer:     clang -g -fsanitize=fuzzer,address,undefined fuzz_plan.c ../stage/check.c
 * Without it:         gcc -g -fsanitize=address,undefined -DFUZZ_MAIN fuzz_plan.c ../stage/check.c
 *     ./a.out ROUNDS [SEED]       check that many plans made by chance
 *
 * plan_check must accept or refuse any bytes without a fault, and all that the steps of an accepted plan
 * name must be there: this file knows from the text of plan.h, not from check.c, which operand of which
 * operation names what, and reads every byte of it.  The plan is in memory of exactly its size, so the
 * sanitizer sees a byte too many. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../stage/stage.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned long accepted;
static volatile unsigned sink;

static void require(int holds, const struct step *step, const char *what)
{
    if (!holds) {
        fprintf(stderr, "an accepted plan is not safe: operation %u: %s\n", step->op, what);
        abort();
    }
}

struct reader {
    const struct plan *plan;
    const char *strings;
};

static void read_strings(const struct reader *reader, uint32_t offset, uint32_t count)
{
    const char *string = reader->strings + offset;
    for (uint32_t i = 0; i < count; i++) {
        for (; *string != '\0'; string++)
            sink += (unsigned char)*string;
        string++;
    }
}

static void read_blob(const struct reader *reader, const struct step *step, uint32_t offset, size_t size)
{
    require((uintptr_t)(reader->strings + offset) % 8 == 0, step, "alignment of a blob");
    for (size_t i = 0; i < size; i++)
        sink += (unsigned char)reader->strings[offset + i];
}

static void have_slot(const struct reader *reader, const struct step *step, int64_t slot)
{
    require(slot >= 0 && slot < (int64_t)reader->plan->nslots && slot < PLAN_MAX_SLOTS, step, "slot");
}

static void read_slots(const struct reader *reader, const struct step *step)
{
    switch (step->op) {
    case OP_GATE:
        have_slot(reader, step, step->a);
        break;
    case OP_MASK_PATH:
        have_slot(reader, step, step->b);
        /* fall through */
    case OP_READONLY_PATH:
        if (step->c != 0)
            have_slot(reader, step, (int64_t)step->c - 1);
        if (step->op == OP_READONLY_PATH)
            return;
        break;
    case OP_SETATTR:
        if (step->b != 0)
            have_slot(reader, step, (int64_t)step->b - 1);
        break;
    case OP_JOIN:
        if (step->a > 0)
            have_slot(reader, step, (int64_t)step->slot + step->a - 1);
        break;
    case OP_HOOK: case OP_JOIN_PROCESS: case OP_ROOT: case OP_OPEN_TREE: case OP_FSMOUNT: case OP_COPY_UP:
    case OP_ATTACH: case OP_VERIFY_MOUNT: case OP_NULL_DEVICE: case OP_CONSOLE: case OP_CONTROLLING_TTY:
        break;
    default:
        return;
    }
    have_slot(reader, step, step->slot);
}

static void read_texts(const struct reader *reader, const struct step *step)
{
    switch (step->op) {
    case OP_TIME_OFFSETS: case OP_HOSTNAME: case OP_DOMAINNAME: case OP_OPEN_TREE:
    case OP_COPY_UP: case OP_ATTACH: case OP_PROPAGATE: case OP_MKDIR: case OP_VERIFY_MOUNT: case OP_DEVICE:
    case OP_READONLY_PATH: case OP_MASK_PATH: case OP_CHDIR: case OP_APPARMOR: case OP_SELINUX:
        read_strings(reader, step->a, 1);
        break;
    case OP_KEYRING: case OP_SYSCTL: case OP_SYMLINK:
        read_strings(reader, step->a, 1);
        read_strings(reader, step->b, 1);
        break;
    case OP_FSMOUNT:
        read_strings(reader, step->d, 1);
        /* fall through */
    case OP_REMOUNT:
        read_strings(reader, step->a, 1);
        read_strings(reader, step->b, step->c);
        break;
    case OP_HOOK:
        read_strings(reader, step->a, 1);
        read_strings(reader, step->b, step->c);
        read_strings(reader, step->d, (uint32_t)step->n);
        break;
    case OP_EXEC:
        read_strings(reader, step->c, step->d);
        /* fall through */
    case OP_RESOLVE_EXEC:
        read_strings(reader, step->a, step->b);
        break;
    case OP_SCHEDULER:
        read_blob(reader, step, step->b, step->c);
        break;
    case OP_GROUPS:
        read_blob(reader, step, step->a, step->b * (size_t)4);
        break;
    case OP_SECCOMP:
        read_blob(reader, step, step->a, step->b * (size_t)8);
        break;
    default:
        break;
    }
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
        struct reader reader = { plan, (const char *)(steps + plan->nsteps) };
        for (uint32_t i = 0; i < plan->nsteps; i++) {
            require(steps[i].op < OP_COUNT, &steps[i], "number of the operation");
            read_slots(&reader, &steps[i]);
            read_texts(&reader, &steps[i]);
        }
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
static uint32_t operand(void)
{
    static const uint32_t ends[] = { 0xffffffff, 0x80000000, 0x7fffffff, 0x40000000, 0x20000000, 0xfffffff8 };
    return chance(12) == 0 ? ends[chance(6)] : chance(4) ? chance(4) : chance(MAX_STRINGS + 8);
}

/* A plan that is nearly right, so that many are accepted and the others fail in the last check. */
static size_t make_plan(unsigned char *bytes)
{
    struct plan plan = { PLAN_MAGIC, PLAN_VERSION, 0, 1 + chance(MAX_STRINGS), chance(6), 0 };
    plan.nsteps = chance(MAX_STEPS + 1);
    size_t size = sizeof plan;
    for (uint32_t i = 0; i < plan.nsteps; i++) {
        struct step step = {
            (uint16_t)chance(OP_COUNT + (chance(8) == 0)), (uint16_t)(chance(4) ? 0 : chance(32)),
            (int32_t)(chance(4) ? chance(4) : operand()), operand(), operand(), operand(), operand(),
            operand(), 0
        };
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
    printf("%lu plans, %lu accepted\n", rounds, accepted);
    return accepted > 0 ? 0 : 1;
}

#endif
