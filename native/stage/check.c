/* Check a plan before the first step: its head, and every text, list, array, slot and flag that shapes[] names. */
#include "shapes.h"

#include <errno.h>
#include <string.h>

struct table {
    const char *strings;
    uint32_t size;
    uint32_t nslots;
};

static int good_list(const struct table *table, struct list list)
{
    if (list.offset >= table->size || list.count > table->size - list.offset)
        return 0;
    const char *string = table->strings + list.offset;
    const char *end = table->strings + table->size;
    for (uint32_t i = 0; i < list.count; i++) {
        if (string >= end)
            return 0;
        string += strlen(string) + 1;
    }
    return 1;
}

static int good_array(const struct table *table, struct array array, size_t item)
{
    return array.offset % ARRAY_ALIGNMENT == 0 && array.offset < table->size
        && array.count <= (table->size - array.offset) / item;
}

static int good_slot(const struct table *table, int32_t slot)
{
    return slot >= 0 && (uint32_t)slot < table->nslots;
}

static int good_slots(const struct table *table, struct array array)
{
    if (!good_array(table, array, sizeof(int32_t)))
        return 0;
    const int32_t *slots = (const int32_t *)(const void *)(table->strings + array.offset);
    for (uint32_t i = 0; i < array.count; i++)
        if (!good_slot(table, slots[i]))
            return 0;
    return 1;
}

static int good_operand(const struct table *table, enum operand_kind kind, const void *at)
{
    switch (kind) {
    case TEXT:
        return ((const struct text *)at)->offset < table->size;
    case LIST:
        return good_list(table, *(const struct list *)at);
    case ARRAY_OF_4:
        return good_array(table, *(const struct array *)at, sizeof(uint32_t));
    case ARRAY_OF_8:
        return good_array(table, *(const struct array *)at, sizeof(uint64_t));
    case SLOTS:
        return good_slots(table, *(const struct array *)at);
    case SLOT:
        return good_slot(table, *(const int32_t *)at);
    case OPTIONAL_SLOT:
        return *(const int32_t *)at == NO_SLOT || good_slot(table, *(const int32_t *)at);
    }
    return 0;
}

static int good_step(const struct table *table, const struct step *step)
{
    if (step->op >= OP_COUNT || step->unused != 0)
        return 0;
    const struct shape *shape = &shapes[step->op];
    if (step->flags & ~shape->flags)
        return 0;
    for (unsigned i = 0; i < shape->count; i++) {
        const struct operand *operand = &shape->operands[i];
        if (!good_operand(table, operand->kind, (const char *)step + operand->offset))
            return 0;
    }
    return 1;
}

int plan_check(const void *memory, size_t size)
{
    const struct plan *plan = memory;
    if (size < sizeof *plan || size > PLAN_MAX_BYTES || (uintptr_t)memory % ARRAY_ALIGNMENT != 0)
        return -EINVAL;
    if (plan->magic != PLAN_MAGIC || plan->version != PLAN_VERSION || plan->nsteps > PLAN_MAX_STEPS)
        return -EINVAL;
    if (plan->nslots > PLAN_MAX_SLOTS || plan->ninputs > plan->nslots || plan->nstrings == 0)
        return -EINVAL;
    size_t steps_size = plan->nsteps * sizeof(struct step);
    if (size - sizeof *plan < steps_size || size - sizeof *plan - steps_size != plan->nstrings)
        return -EINVAL;
    const struct step *steps = (const struct step *)(const void *)(plan + 1);
    struct table table = { (const char *)(steps + plan->nsteps), plan->nstrings, plan->nslots };
    if (table.strings[0] != '\0' || table.strings[table.size - 1] != '\0')
        return -EINVAL;
    for (uint32_t i = 0; i < plan->nsteps; i++)
        if (!good_step(&table, &steps[i]))
            return -EINVAL;
    return 0;
}
