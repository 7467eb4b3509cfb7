/* Check a plan before the first step: every offset, list, blob, slot and flag. */
#include "compat.h"

#include <errno.h>
#include <string.h>

/* Operands of an operation.  What is not named here is a plain number and may hold anything. */
enum operand {
    SLOT = 1 << 0,                  /* slot is filled or used */
    A_SLOT = 1 << 1,
    A_SLOTS = 1 << 2,               /* a slots, beginning with slot */
    B_SLOT = 1 << 3,
    B_SLOT_OR_NONE = 1 << 4,        /* 1 + slot, or 0 */
    A = 1 << 5,                     /* strings */
    B = 1 << 6,
    D = 1 << 7,
    AB_LIST = 1 << 8,
    BC_LIST = 1 << 9,
    CD_LIST = 1 << 10,
    DN_LIST = 1 << 11,              /* count in the low half of n */
    BC_BYTES = 1 << 12,
    AB_U32 = 1 << 13,
    AB_U64 = 1 << 14,
    C_SLOT_OR_NONE = 1 << 15
};

static const struct shape {
    uint16_t operands;              /* enum operand */
    uint16_t flags;                 /* the flags that the operation knows */
} shapes[OP_COUNT] = {
    [OP_GATE] = { SLOT | A_SLOT, 0 },
    [OP_EXEC] = { AB_LIST | CD_LIST, 0 },
    [OP_HOOK] = { SLOT | A | BC_LIST | DN_LIST, 0 },
    [OP_BECOME_ROOT] = { 0, GROUPS_KEEP },
    [OP_JOIN] = { SLOT | A_SLOTS, 0 },
    [OP_JOIN_PROCESS] = { SLOT, 0 },
    [OP_FORK] = { 0, FORK_HELPER },
    [OP_TIME_OFFSETS] = { A, 0 },
    [OP_HOSTNAME] = { A, 0 },
    [OP_DOMAINNAME] = { A, 0 },
    [OP_KEYRING] = { A | B, 0 },
    [OP_SYSCTL] = { A | B, 0 },
    [OP_ROOT] = { SLOT, 0 },
    [OP_OPEN_TREE] = { SLOT | A, TREE_RECURSIVE | TREE_NOFOLLOW | TREE_HELPER | TREE_IN_ROOT },
    [OP_FSMOUNT] = { SLOT | A | BC_LIST | D, 0 },
    [OP_SETATTR] = { SLOT | B_SLOT_OR_NONE, SETATTR_RECURSIVE | SETATTR_HELPER },
    [OP_COPY_UP] = { SLOT | A, COPY_MODE | COPY_CONTENT },
    [OP_ATTACH] = { SLOT | A, ATTACH_LITERAL | ATTACH_NOFOLLOW | ATTACH_PROC_OK | ATTACH_DEVICE },
    [OP_REMOUNT] = { A | BC_LIST, REMOUNT_BIND | REMOUNT_RECURSIVE },
    [OP_PROPAGATE] = { A, 0 },
    [OP_MKDIR] = { A, 0 },
    [OP_SYMLINK] = { A | B, SYMLINK_IF_SOURCE | SYMLINK_REPLACE },
    [OP_VERIFY_MOUNT] = { SLOT | A, 0 },
    [OP_DEVICE] = { A, 0 },
    [OP_NULL_DEVICE] = { SLOT, 0 },
    [OP_READONLY_PATH] = { A | C_SLOT_OR_NONE, 0 },
    [OP_MASK_PATH] = { SLOT | A | B_SLOT | C_SLOT_OR_NONE, 0 },
    [OP_CONSOLE] = { SLOT, CONSOLE_BIND },
    [OP_CONTROLLING_TTY] = { SLOT, 0 },
    [OP_PIVOT] = { 0, PIVOT_MOVE | PIVOT_CHROOT },
    [OP_SCHEDULER] = { BC_BYTES, 0 },
    [OP_CHDIR] = { A, CHDIR_CREATE | CHDIR_RETRY },
    [OP_GROUPS] = { AB_U32, GROUPS_KEEP },
    [OP_APPARMOR] = { A, 0 },
    [OP_SELINUX] = { A, 0 },
    [OP_SECCOMP] = { AB_U64, SECCOMP_READV },
    [OP_RESOLVE_EXEC] = { AB_LIST, 0 },
};

struct table {
    const char *strings;
    uint32_t size;
    uint32_t nslots;
};

static int good_string(const struct table *table, uint32_t offset)
{
    return offset < table->size;
}

static int good_list(const struct table *table, uint32_t offset, uint32_t count)
{
    if (offset >= table->size || count > table->size - offset)
        return 0;
    const char *string = table->strings + offset;
    const char *end = table->strings + table->size;
    for (uint32_t i = 0; i < count; i++) {
        if (string >= end)
            return 0;
        string += strlen(string) + 1;
    }
    return 1;
}

static int good_blob(const struct table *table, uint32_t offset, uint32_t count, uint32_t item)
{
    return offset % 8 == 0 && offset < table->size && count <= (table->size - offset) / item;
}

static int good_slots(const struct table *table, int64_t first, uint32_t count)
{
    return first >= 0 && first + count <= table->nslots;
}

static int good_strings(const struct table *table, unsigned has, const struct step *step)
{
    return (!(has & A) || good_string(table, step->a))
        && (!(has & B) || good_string(table, step->b))
        && (!(has & D) || good_string(table, step->d))
        && (!(has & AB_LIST) || good_list(table, step->a, step->b))
        && (!(has & BC_LIST) || good_list(table, step->b, step->c))
        && (!(has & CD_LIST) || good_list(table, step->c, step->d))
        && (!(has & DN_LIST) || good_list(table, step->d, (uint32_t)step->n))
        && (!(has & BC_BYTES) || good_blob(table, step->b, step->c, 1))
        && (!(has & AB_U32) || good_blob(table, step->a, step->b, 4))
        && (!(has & AB_U64) || good_blob(table, step->a, step->b, 8));
}

static int good_step(const struct table *table, const struct step *step)
{
    if (step->op >= OP_COUNT)
        return 0;
    unsigned has = shapes[step->op].operands;
    if (step->flags & ~shapes[step->op].flags)
        return 0;
    return good_strings(table, has, step)
        && (!(has & SLOT) || good_slots(table, step->slot, 1))
        && (!(has & A_SLOT) || good_slots(table, step->a, 1))
        && (!(has & A_SLOTS) || good_slots(table, step->slot, step->a))
        && (!(has & B_SLOT) || good_slots(table, step->b, 1))
        && (!(has & B_SLOT_OR_NONE) || step->b == 0 || good_slots(table, (int64_t)step->b - 1, 1))
        && (!(has & C_SLOT_OR_NONE) || step->c == 0 || good_slots(table, (int64_t)step->c - 1, 1));
}

int plan_check(const void *memory, size_t size)
{
    const struct plan *plan = memory;
    if (size < sizeof *plan || size > PLAN_MAX_BYTES || (uintptr_t)memory % 8 != 0)
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
