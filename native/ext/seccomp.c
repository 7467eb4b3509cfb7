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

/* ---- facts ---- */

int pyoci_seccomp_known(const char *name)
{
    return seccomp_syscall_resolve_name(name) != __NR_SCMP_ERROR;
}

/* Without a program the kernel complains of the address, but looks at the flags first. */
int pyoci_seccomp_flag_supported(uint32_t flag)
{
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flag, NULL) < 0 && errno == EFAULT;
}

int pyoci_seccomp_action_supported(uint32_t action)
{
    return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

int pyoci_seccomp_version(void)
{
    const struct scmp_version *version = seccomp_version();

    return (int)(version->major << 16 | version->minor << 8 | version->micro);
}
