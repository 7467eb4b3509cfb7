/* Seccomp filters: libseccomp makes the program, and we put a stub before it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "seccomp.h"

enum { ARGS_MAX = 6, STUB_LENGTH = 6, ARCHS_MAX = 32, X32_BIT = 0x40000000 };

/* A filter in the making, and how far its input has been read. */
struct building {
    scmp_filter_ctx context;
    uint32_t default_action;
    uint32_t archs[ARCHS_MAX];
    int newest[ARCHS_MAX];              /* the highest number of a system call that the rules name */
    uint32_t narchs;
    const struct pyoci_seccomp_arg *args;
    const char *names;
};

/* ---- rules ---- */

static int repeats_index(const struct pyoci_seccomp_arg *args, uint32_t count)
{
    uint32_t seen = 0;

    for (uint32_t i = 0; i < count; i++) {
        if (args[i].index < 32 && (seen >> args[i].index & 1))
            return 1;
        seen |= 1U << (args[i].index & 31);
    }
    return 0;
}

/* libseccomp can ask for one condition on an argument: several are several rules. */
static int add_conditions(scmp_filter_ctx context, uint32_t action, int number,
                          const struct pyoci_seccomp_arg *args, uint32_t count)
{
    struct scmp_arg_cmp conditions[ARGS_MAX];
    int alternatives = repeats_index(args, count), err = 0;

    if (count > ARGS_MAX && !alternatives)
        return -EINVAL;
    for (uint32_t i = 0; i < count && err == 0; i++) {
        struct scmp_arg_cmp *condition = &conditions[alternatives ? 0 : i];

        condition->arg = args[i].index;
        condition->op = (enum scmp_compare)args[i].op;
        condition->datum_a = args[i].value;
        condition->datum_b = args[i].value_two;
        if (alternatives)
            err = seccomp_rule_add_array(context, action, number, 1, condition);
    }
    return alternatives ? err : seccomp_rule_add_array(context, action, number, count, conditions);
}

static void remember(struct building *build, const char *name)
{
    for (uint32_t i = 0; i < build->narchs; i++) {
        int number = seccomp_syscall_resolve_name_arch(build->archs[i], name);

        if (number > build->newest[i])
            build->newest[i] = number;
    }
}

static int add_rule(struct building *build, const struct pyoci_seccomp_rule *rule)
{
    int err = 0;

    for (uint32_t i = 0; i < rule->nnames && err == 0; i++) {
        int number = seccomp_syscall_resolve_name(build->names);

        remember(build, build->names);
        if (number != __NR_SCMP_ERROR && rule->action != build->default_action)
            err = add_conditions(build->context, rule->action, number, build->args, rule->nargs);
        build->names += strlen(build->names) + 1;
    }
    build->args += rule->nargs;
    return err;
}

static int add_rules(struct building *build, const struct pyoci_seccomp_rule *rules, uint32_t count,
                     uint32_t *failed)
{
    for (uint32_t i = 0; i < count; i++) {
        int err = add_rule(build, &rules[i]);

        if (err < 0) {
            *failed = i;
            return err;
        }
    }
    return 0;
}

/* System calls get one number for all architectures from pidfd_send_signal on (5.1).  Those before it
 * were known to whoever wrote the rules. */
static int add_arch(struct building *build, uint32_t arch)
{
    for (uint32_t i = 0; i < build->narchs; i++)
        if (build->archs[i] == arch)
            return 0;
    if (build->narchs == ARCHS_MAX)
        return -E2BIG;
    build->archs[build->narchs] = arch;
    build->newest[build->narchs++] = seccomp_syscall_resolve_name_arch(arch, "pidfd_send_signal") - 1;
    return 0;
}

static int add_archs(struct building *build, const uint32_t *archs, uint32_t count)
{
    int err = add_arch(build, seccomp_arch_native());

    for (uint32_t i = 0; i < count && err == 0; i++) {
        err = seccomp_arch_add(build->context, archs[i]);
        if (err == -EEXIST)             /* the native one */
            err = 0;
        if (err == 0)
            err = add_arch(build, archs[i]);
    }
    return err;
}

/* ---- the program ---- */

/* Write one architecture's stub; blocks is the number of stubs behind it.  x32, whose numbers have a bit
 * of their own, and -1 are left to the filter. */
static void stub(struct sock_filter out[STUB_LENGTH], uint32_t arch, uint32_t newest, uint32_t blocks)
{
    const uint32_t number = offsetof(struct seccomp_data, nr);
    const struct sock_filter code[STUB_LENGTH] = {
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, arch, 0, STUB_LENGTH - 1),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, number),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, newest, 0, 2),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_JMP | BPF_JA, blocks * STUB_LENGTH),
    };

    memcpy(out, code, sizeof code);
}

static int write_stubs(const struct building *build, int fd)
{
    struct sock_filter program[1 + ARCHS_MAX * STUB_LENGTH] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
    };
    size_t size = (1 + build->narchs * (size_t)STUB_LENGTH) * sizeof *program;

    if ((build->default_action & SECCOMP_RET_ACTION_FULL) != SECCOMP_RET_ERRNO ||
        (build->default_action & SECCOMP_RET_DATA) == ENOSYS)
        return 0;
    for (uint32_t i = 0; i < build->narchs; i++)
        stub(program + 1 + i * STUB_LENGTH, build->archs[i], (uint32_t)build->newest[i], build->narchs - 1 - i);
    return write(fd, program, size) == (ssize_t)size ? 0 : -EIO;
}

static int export(const struct building *build)
{
    int fd = memfd_create("pyoci-seccomp", MFD_CLOEXEC), err;

    if (fd < 0)
        return -errno;
    err = write_stubs(build, fd);
    if (err == 0)
        err = seccomp_export_bpf(build->context, fd);
    if (err == 0 && lseek(fd, 0, SEEK_SET) < 0)
        err = -errno;
    if (err == 0)
        return fd;
    close(fd);
    return err;
}

int pyoci_seccomp_compile(uint32_t default_action, const uint32_t *archs, uint32_t narchs,
                          const struct pyoci_seccomp_rule *rules, uint32_t nrules,
                          const struct pyoci_seccomp_arg *args, const char *names, uint32_t *failed_rule)
{
    struct building build = {
        .context = seccomp_init(default_action), .default_action = default_action, .args = args, .names = names,
    };
    int result;

    *failed_rule = nrules;
    if (build.context == NULL)
        return -EINVAL;
    result = add_archs(&build, archs, narchs);
    if (result == 0)
        result = add_rules(&build, rules, nrules, failed_rule);
    if (result == 0)
        result = export(&build);
    seccomp_release(build.context);
    return result;
}

/* ---- what a program answers ---- */

/* What is in the accumulator, as bits: the number, the architecture, something else. */
enum held { HOLDS_NUMBER = 1, HOLDS_ARCH = 2, HOLDS_OTHER = 4 };

/* The accumulator after an instruction that goes on to the next one. */
static unsigned held_after(const struct sock_filter *op, unsigned held)
{
    if (op->code == (BPF_LD | BPF_W | BPF_ABS) && op->k == offsetof(struct seccomp_data, nr))
        return HOLDS_NUMBER;
    if (op->code == (BPF_LD | BPF_W | BPF_ABS) && op->k == offsetof(struct seccomp_data, arch))
        return HOLDS_ARCH;
    return BPF_CLASS(op->code) == BPF_LD || BPF_CLASS(op->code) == BPF_ALU || BPF_CLASS(op->code) == BPF_MISC
               ? HOLDS_OTHER : held;
}

static int jumps(const struct sock_filter *op, uint32_t value)
{
    switch (BPF_OP(op->code)) {
    case BPF_JEQ:
        return value == op->k;
    case BPF_JGT:
        return value > op->k;
    case BPF_JGE:
        return value >= op->k;
    default:
        return (value & op->k) != 0;
    }
}

static int answer_of(const struct sock_filter *op)
{
    switch (BPF_RVAL(op->code) == BPF_K ? op->k & SECCOMP_RET_ACTION_FULL : SECCOMP_RET_ALLOW) {
    case SECCOMP_RET_ALLOW:
    case SECCOMP_RET_LOG:
    case SECCOMP_RET_TRACE:
        return PYOCI_SECCOMP_PASSES;
    case SECCOMP_RET_USER_NOTIF:
        return PYOCI_SECCOMP_ASKS;
    default:
        return PYOCI_SECCOMP_REFUSES;
    }
}

/* Jumps only go forward, so one pass sees every instruction after all that lead to it. */
int pyoci_seccomp_answers(const char *program, uint32_t length, const char *name)
{
    const int number = seccomp_syscall_resolve_name(name);
    unsigned char reached[BPF_MAXINSNS + 1] = {HOLDS_OTHER};
    int answers = 0;

    if (number < 0 || length > BPF_MAXINSNS)
        return 0;
    for (uint32_t i = 0; i < length; i++) {
        struct sock_filter op;

        memcpy(&op, program + i * sizeof op, sizeof op);
        for (unsigned held = HOLDS_NUMBER; held <= HOLDS_OTHER; held <<= 1) {
            uint32_t value = held == HOLDS_NUMBER ? (uint32_t)number : seccomp_arch_native();
            int unknown = held == HOLDS_OTHER || BPF_SRC(op.code) == BPF_X;

            if (!(reached[i] & held))
                continue;
            if (BPF_CLASS(op.code) == BPF_RET)
                answers |= answer_of(&op);
            else if (BPF_CLASS(op.code) != BPF_JMP)
                reached[i + 1] |= (unsigned char)held_after(&op, held);
            else if (BPF_OP(op.code) == BPF_JA && op.k < length - i)
                reached[i + 1 + op.k] |= (unsigned char)held;
            else if (BPF_OP(op.code) != BPF_JA) {
                if ((unknown || jumps(&op, value)) && i + 1U + op.jt <= length)
                    reached[i + 1 + op.jt] |= (unsigned char)held;
                if ((unknown || !jumps(&op, value)) && i + 1U + op.jf <= length)
                    reached[i + 1 + op.jf] |= (unsigned char)held;
            }
        }
    }
    return answers;
}

/* ---- facts ---- */

int pyoci_seccomp_known(const char *name)
{
    return seccomp_syscall_resolve_name(name) != __NR_SCMP_ERROR;
}

int pyoci_seccomp_arch_known(uint32_t arch)
{
    scmp_filter_ctx context = seccomp_init(SCMP_ACT_ALLOW);
    int err;

    if (context == NULL)
        return 0;
    err = seccomp_arch_add(context, arch);
    seccomp_release(context);
    return err == 0 || err == -EEXIST;          /* the native one is there */
}

/* Without a program the kernel complains of the address, but looks at the flags first. */
int pyoci_seccomp_flag_supported(uint32_t flag)
{
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flag, NULL) < 0 && errno == EFAULT;
}

int pyoci_seccomp_version(void)
{
    const struct scmp_version *version = seccomp_version();

    return (int)(version->major << 16 | version->minor << 8 | version->micro);
}
