/* Confinement by security modules and seccomp. */
#include "compat.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>

enum { LABEL_MAX = 1024 };

#ifndef SECCOMP_FILTER_FLAG_NEW_LISTENER
#define SECCOMP_FILTER_FLAG_NEW_LISTENER (1UL << 3)
#endif

static int read_label(struct stage *stage, const char *path, char label[LABEL_MAX])
{
    int fd = proc_open(stage, path, O_RDONLY), got;

    if (fd < 0)
        return fd;
    got = sys(read(fd, label, LABEL_MAX - 1));
    close(fd);
    while (got > 0 && (label[got - 1] == '\n' || label[got - 1] == '\0'))
        got--;
    if (got >= 0)
        label[got] = '\0';
    return got;
}

/* Does label begin with name, and is the rest empty or introduced by end? */
static int begins(const char *label, const char *name, size_t length, char end)
{
    return strncmp(label, name, length) == 0 && (label[length] == '\0' || label[length] == end);
}

/* AppArmor has a directory of its own since 5.1; below it is the file that the modules share. */
int op_apparmor(struct stage *stage, const struct step *step)
{
    static const char own[] = "thread-self/attr/apparmor/exec", shared[] = "thread-self/attr/exec";
    const char *profile = string_at(stage, step->apparmor.profile), *path = own;
    size_t length = strlen(profile);
    char *command = bump(length + 6), *label = bump(LABEL_MAX);
    int err;

    if (command == NULL || label == NULL)
        return -ENOMEM;
    memcpy(command, "exec ", 5);
    memcpy(command + 5, profile, length + 1);
    err = proc_write(stage, path, command, length + 5);
    if (err == -ENOENT) {
        path = shared;
        err = proc_write(stage, path, command, length + 5);
    }
    if (err < 0)
        return err;
    err = read_label(stage, path, label);               /* "profile (mode)" */
    if (err < 0 || !begins(label, profile, length, ' '))
        return fail(stage, DETAIL_READ_BACK, err < 0 ? err : EINVAL);
    return 0;
}

/* user:role:type, before the level, which the kernel may write in another way. */
static size_t without_level(const char *label)
{
    size_t length = 0;

    for (int colons = 0; label[length] != '\0'; length++)
        if (label[length] == ':' && ++colons == 3)
            break;
    return length;
}

int op_selinux(struct stage *stage, const struct step *step)
{
    static const char path[] = "thread-self/attr/exec";
    const char *wanted = string_at(stage, step->selinux.label);
    char *label = bump(LABEL_MAX);
    int err;

    if (label == NULL)
        return -ENOMEM;
    err = proc_write(stage, path, wanted, strlen(wanted));
    if (err < 0)
        return err;
    err = read_label(stage, path, label);
    if (err < 0 || !begins(label, wanted, without_level(wanted), ':'))
        return fail(stage, DETAIL_READ_BACK, err < 0 ? err : EINVAL);
    return 0;
}

/* The parent takes its own copy of the listener (pidfd_getfd) while we wait: the filter may forbid sendmsg. */
static int hand_over_listener(struct stage *stage, int listener)
{
    int err = stage_report(stage, REPORT_LISTENER, 0, (uint32_t)listener, NO_FD);

    if (err == 0)
        err = stage_wait_go(stage);
    /* A filter may ask about close and exit_group, too, and nobody but ourselves could answer. */
    if (err == -EPIPE || err == -ECONNRESET)        /* the latter when the report was not read */
        __builtin_trap();
    close(listener);
    return err;
}

int op_seccomp(struct stage *stage, const struct step *step)
{
    const struct array filter = step->seccomp.filter;
    struct sock_fprog program;
    int result;

    if (filter.count > BPF_MAXINSNS)
        return -E2BIG;
    /* What must not be left for later, when the filter may forbid it. */
    result = outlive_parent(stage);
    if (result == 0 && step->flags & SECCOMP_HANDLE_SIGNALS)
        result = gate_signals();
    if (result < 0)
        return result;
    program.len = (unsigned short)filter.count;
    program.filter = (struct sock_filter *)(uintptr_t)array_at(stage, filter);
    result = sys(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, step->seccomp.flags, &program));
    if (result < 0)
        return result;
    stage->traced = 0;                                  /* the filter may kill for what that takes */
    stage->by_readv = step->flags & SECCOMP_BY_READV;
    if (step->seccomp.flags & SECCOMP_FILTER_FLAG_NEW_LISTENER)
        return hand_over_listener(stage, result);
    return result == 0 ? 0 : -ESRCH;                    /* a thread that could not be synchronised */
}
