/* The private procfs: a mount of our own that no path leads to, so nobody can put something over what is
 * read or written through it.  Labels, sysctls and oom scores must land in procfs, or fail. */
#include "compat.h"

#include <errno.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/stat.h>

/* A mount of a new procfs instance for this PID namespace. */
static int new_procfs(int pids_only)
{
    int fs = k_fsopen("proc");
    if (fs < 0)
        return fs;
    int result = 0;
    if (pids_only) {
        result = k_fsconfig(fs, FSCONFIG_SET_STRING, "hidepid", "ptraceable");
        if (result >= 0)
            result = k_fsconfig(fs, FSCONFIG_SET_STRING, "subset", "pid");
    }
    if (result >= 0)
        result = k_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL);
    if (result >= 0)
        result = k_fsmount(fs, MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOSUID);
    close(fs);
    return result;
}

/* A clone of the host's /proc, for a user namespace that may not make one: alone, or with all that is
 * mounted below where the kernel keeps these together (proc_open never crosses into them). */
static int clone_procfs(const struct stage *stage)
{
    if (stage->pivoted)
        return -EPERM;
    int fd = k_open_tree(AT_FDCWD, "/proc", OPEN_TREE_CLONE | AT_SYMLINK_NOFOLLOW);
    if (fd == -EINVAL)
        fd = k_open_tree(AT_FDCWD, "/proc", OPEN_TREE_CLONE | AT_SYMLINK_NOFOLLOW | AT_RECURSIVE);
    return fd;
}

static int verified(int fd)
{
    struct statfs fs;
    struct stat status;
    if (fd < 0)
        return fd;
    if (fstatfs(fd, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC && fstat(fd, &status) == 0
        && status.st_ino == PROC_ROOT_INODE)
        return fd;
    close(fd);
    return -EXDEV;
}

static int open_procfs(const struct stage *stage, int pids_only)
{
    int fd = new_procfs(pids_only);
    if (fd < 0) {
        int cloned = clone_procfs(stage);
        fd = cloned < 0 ? fd : cloned;
    }
    return verified(fd);
}

int proc_root(struct stage *stage)
{
    if (stage->procfs < 0) {
        int fd = open_procfs(stage, 1);
        if (fd < 0)
            return fail(stage, DETAIL_PROCFS, fd);
        stage->procfs = fd;
    }
    return stage->procfs;
}

static int open_below(int procfs, const char *path, int flags)
{
    return k_openat2(procfs, path, (uint64_t)(unsigned)flags, 0,
                     RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS);
}

int proc_open(struct stage *stage, const char *path, int flags)
{
    if (strncmp(path, "self", 4) == 0 || strncmp(path, "thread-self", 11) == 0) {
        int root = proc_root(stage);
        return root < 0 ? root : open_below(root, path, flags);
    }
    /* The cached instance shows processes only.  A full one is never kept. */
    int full = open_procfs(stage, 0);
    if (full < 0)
        return fail(stage, DETAIL_PROCFS, full);
    int fd = open_below(full, path, flags);
    close(full);
    return fd;
}

int proc_write(struct stage *stage, const char *path, const char *text, size_t length)
{
    int fd = proc_open(stage, path, O_WRONLY);
    if (fd < 0)
        return fd;
    int written = sys(write(fd, text, length));
    close(fd);
    if (written < 0)
        return written;
    return (size_t)written == length ? 0 : -EIO;
}

/* The decimal digits of fd, in the end of text. */
static const char *decimal(int fd, char text[12])
{
    char *digit = text + 11;
    *digit = '\0';
    do
        *--digit = (char)('0' + fd % 10);
    while ((fd /= 10) > 0);
    return digit;
}

int fd_reopen(struct stage *stage, int fd, int flags)
{
    char text[12];
    struct stat status;
    if (fd < 0)
        return -EBADF;
    if (fstat(fd, &status) == 0 && S_ISDIR(status.st_mode))
        return sys(openat(fd, ".", flags | O_CLOEXEC));
    int links = proc_open(stage, "self/fd", O_PATH | O_DIRECTORY);
    if (links < 0)
        return links;
    /* The one place where a magic link is followed, and it is our own. */
    int result = sys(openat(links, decimal(fd, text), flags | O_CLOEXEC));
    close(links);
    return result;
}
