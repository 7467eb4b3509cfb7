/* Who the process is, and what it may use: identities, capabilities, limits, scheduling. */
#include "compat.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/ioprio.h>
#include <linux/limits.h>
#include <linux/sched/types.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#ifdef SYS_setresuid32                  /* where the plain calls take 16-bit numbers */
#undef SYS_setresuid
#undef SYS_setresgid
#undef SYS_setgroups
#define SYS_setresuid SYS_setresuid32
#define SYS_setresgid SYS_setresgid32
#define SYS_setgroups SYS_setgroups32
#endif


/* ---- limits and scheduling ---- */

int op_rlimit(struct stage *stage, const struct step *step)
{
    uint64_t limit[2] = {step->rlimit.soft, step->rlimit.hard};            /* struct rlimit64 */

    (void)stage;
    return sys(syscall(SYS_prlimit64, 0, step->rlimit.resource, limit, NULL));
}

int op_scheduler(struct stage *stage, const struct step *step)
{
    const struct op_scheduler *given = &step->scheduler;
    struct sched_attr attr = {
        .size = sizeof attr, .sched_policy = given->policy, .sched_flags = given->flags, .sched_nice = given->nice,
        .sched_priority = given->priority, .sched_runtime = given->runtime, .sched_deadline = given->deadline,
        .sched_period = given->period,
    };

    (void)stage;
    return sys(syscall(SYS_sched_setattr, 0, &attr, 0));
}

int op_io_priority(struct stage *stage, const struct step *step)
{
    (void)stage;
    return sys(syscall(SYS_ioprio_set, IOPRIO_WHO_PGRP, 0, (int)step->io_priority.priority));
}

int op_personality(struct stage *stage, const struct step *step)
{
    int before = sys(syscall(SYS_personality, (unsigned long)step->personality.persona));

    (void)stage;
    return before < 0 ? before : 0;
}

int op_umask(struct stage *stage, const struct step *step)
{
    (void)stage;
    umask((mode_t)step->umask.mask);
    return 0;
}

/* ---- standard descriptors ---- */

static int is_null(const struct stat *status)
{
    return S_ISCHR(status->st_mode) && status->st_rdev == makedev(MEM_MAJOR, NULL_MINOR);
}

/* The container's own /dev/null in place of the host's: it has a path inside.  A container without one, or
 * with something else there, keeps the host's. */
static int reopen_null(struct stage *stage, int number)
{
    int found = path_resolve(stage, "/dev/null", O_PATH | O_NOFOLLOW), fd = -1, err = 0;
    struct stat status;

    if (found < 0)
        return 0;
    if (fstat(found, &status) == 0 && is_null(&status))
        fd = fd_reopen(stage, found, O_RDWR | O_CLOEXEC);
    close(found);
    if (fd < 0)
        return 0;
    err = sys(syscall(SYS_dup3, fd, number, 0));
    close(fd);
    return err < 0 ? err : 0;
}

/* Pipes, sockets and files are given to the user, who can then open /dev/stdout.  Devices are not: a
 * terminal or disk of the host stays its owner's. */
static int give(int fd, const struct stat *status, uint32_t uid)
{
    int err;

    if (!S_ISFIFO(status->st_mode) && !S_ISREG(status->st_mode) && !S_ISSOCK(status->st_mode))
        return 0;
    if (status->st_uid == uid)
        return 0;
    err = sys(fchown(fd, uid, (gid_t)-1));
    /* The owner may have no number here, or the file be read-only or on another machine: it is usable as it is. */
    return err == -EPERM || err == -EROFS || err == -EINVAL || err == -EOVERFLOW || err == -EACCES ? 0 : err;
}

int op_stdio(struct stage *stage, const struct step *step)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        struct stat status;
        int err;

        if (fstat(fd, &status) < 0)
            return -errno;
        err = is_null(&status) ? reopen_null(stage, fd) : give(fd, &status, step->stdio.owner);
        if (err < 0)
            return err;
    }
    return 0;
}

/* ---- working directory ---- */

/* The kernel's own word: C libraries hide that a directory is "(unreachable)" from the root (CVE-2024-21626). */
static int cwd_is_inside(struct stage *stage)
{
    static char name[PATH_MAX];
    int length = sys(syscall(SYS_getcwd, name, sizeof name));

    if (length < 0)
        return fail(stage, length == -ENOENT ? DETAIL_ESCAPED : DETAIL_NONE, length);
    if (name[0] != '/')
        return fail(stage, DETAIL_ESCAPED, EXDEV);
    return 0;
}

/* Root may not be allowed to enter what belongs to the user, on a remote file system say, nor the user what root has
 * entered before: the plan lets each of them try. */
int op_chdir(struct stage *stage, const struct step *step)
{
    const char *path = string_at(stage, step->chdir.path);
    int err;

    if (step->flags & CHDIR_OTHERWISE && stage->directory_changed)
        return 0;
    err = sys(chdir(path));
    if (err == -ENOENT && step->flags & CHDIR_CREATE) {
        int fd = path_mkdir(stage, path);

        if (fd < 0)
            return fail(stage, DETAIL_TARGET, fd);
        close(fd);
        err = sys(chdir(path));
    }
    if (err == -EACCES && step->flags & CHDIR_ATTEMPT)
        return 0;
    if (err == 0)
        err = cwd_is_inside(stage);
    if (err == 0 && step->flags & CHDIR_ATTEMPT)
        stage->directory_changed = 1;
    return err;
}

/* ---- users and groups ---- */

/* Is setgroups(2) switched off in this user namespace?  That is the price of mapping one's own group without
 * privilege; user_namespaces(7). */
static int groups_are_denied(struct stage *stage)
{
    char word[5] = "";
    int fd = proc_open(stage, "self/setgroups", O_RDONLY);

    if (fd < 0)
        return 0;
    int got = sys(read(fd, word, sizeof word - 1));
    close(fd);
    return got == 4 && memcmp(word, "deny", 4) == 0;
}

int op_groups(struct stage *stage, const struct step *step)
{
    if (step->flags & GROUPS_KEEP)
        return 0;
    const struct array groups = step->groups.groups;
    int err = sys(syscall(SYS_setgroups, (unsigned long)groups.count, array_at(stage, groups)));
    return err == -EPERM && groups.count == 0 && groups_are_denied(stage) ? 0 : err;
}

/* ---- capabilities ---- */

struct capabilities {
    uint64_t effective, permitted, inheritable;
};

static int get_capabilities(struct capabilities *caps)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    int err = sys(syscall(SYS_capget, &header, data));

    caps->effective = data[0].effective | (uint64_t)data[1].effective << 32;
    caps->permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
    caps->inheritable = data[0].inheritable | (uint64_t)data[1].inheritable << 32;
    return err;
}

static int set_capabilities(const struct capabilities *caps)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {
        {(uint32_t)caps->effective, (uint32_t)caps->permitted, (uint32_t)caps->inheritable},
        {(uint32_t)(caps->effective >> 32), (uint32_t)(caps->permitted >> 32), (uint32_t)(caps->inheritable >> 32)},
    };

    return sys(syscall(SYS_capset, &header, data));
}

/* setresuid(2) to another user than root takes the capabilities away.  The later steps need them. */
int op_ids(struct stage *stage, const struct step *step)
{
    const uint32_t uid = step->ids.uid, gid = step->ids.gid;
    struct capabilities caps;
    int err;

    if (uid == UINT32_MAX || gid == UINT32_MAX)         /* "leave it" for the kernel */
        return -EINVAL;
    err = sys(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0));
    if (err == 0)
        err = sys(syscall(SYS_setresgid, gid, gid, gid));
    if (err == 0)
        err = sys(syscall(SYS_setresuid, uid, uid, uid));
    if (err == 0)
        err = sys(prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0));
    if (err == 0)
        err = get_capabilities(&caps);
    if (err == 0) {
        caps.effective = caps.permitted;
        err = set_capabilities(&caps);
    }
    return err < 0 ? err : rearm(stage);
}

int op_bounding(struct stage *stage, const struct step *step)
{
    (void)stage;
    for (unsigned long cap = 0; cap < CAPABILITIES_MAX; cap++) {
        int has = sys(prctl(PR_CAPBSET_READ, cap, 0, 0, 0)), err;

        if (has == -EINVAL)
            return 0;                   /* behind the last that this kernel knows */
        if (has < 0)
            return has;
        if (!has || (step->bounding.keep >> cap & 1))
            continue;
        err = sys(prctl(PR_CAPBSET_DROP, cap, 0, 0, 0));
        if (err < 0)
            return err;
    }
    return 0;
}

static uint64_t bounding_set(void)
{
    uint64_t set = 0;

    for (unsigned long cap = 0; cap < CAPABILITIES_MAX && prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
        if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) > 0)
            set |= 1ULL << cap;
    return set;
}

/* The specification wants a warning, not a failure.  The text is the set in hexadecimal, as in /proc/PID/status. */
static void warn_of(struct stage *stage, uint32_t detail, uint64_t missing)
{
    static const char digits[] = "0123456789abcdef";

    if (missing == 0)
        return;
    for (int i = 0; i < 16; i++)
        stage->text[i] = digits[missing >> (60 - 4 * i) & 15];
    stage->length = 16;
    stage_report(stage, REPORT_WARNING, 0, detail, NO_FD);
    stage->length = 0;
}

static uint64_t raise_ambient(uint64_t wanted)
{
    uint64_t missing = 0;

    for (unsigned long cap = 0; cap < CAPABILITIES_MAX; cap++)
        if ((wanted >> cap & 1) && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
            missing |= 1ULL << cap;
    return missing;
}

/* What the process does not have cannot be granted; what it has and the config does not name is dropped. */
int op_capabilities(struct stage *stage, const struct step *step)
{
    const struct op_capabilities *wanted = &step->capabilities;
    struct capabilities had, caps;
    int err = get_capabilities(&had);

    if (err < 0)
        return err;
    caps.permitted = wanted->permitted & had.permitted;
    caps.effective = wanted->effective & caps.permitted;
    caps.inheritable = wanted->inheritable & (had.inheritable | bounding_set());        /* capabilities(7), capset */
    if (!(had.effective >> CAP_SETPCAP & 1))
        caps.inheritable &= had.inheritable | had.permitted;
    err = set_capabilities(&caps);
    if (err == 0)
        err = sys(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
    if (err < 0)
        return err;
    warn_of(stage, DETAIL_NONE, (wanted->permitted & ~caps.permitted) | (wanted->effective & ~caps.effective));
    warn_of(stage, DETAIL_INHERITABLE, wanted->inheritable & ~caps.inheritable);
    warn_of(stage, DETAIL_AMBIENT, raise_ambient(wanted->ambient));
    return 0;
}

int op_no_new_privs(struct stage *stage, const struct step *step)
{
    (void)stage;
    (void)step;
    return sys(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}
