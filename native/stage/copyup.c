/* tmpcopyup: a tmpfs begins with what the directory below it holds.
 *
 * The tmpfs is still detached, so nobody else writes into it.  The directory belongs to the image: nothing
 * in it is followed, and only what fstat of the opened file confirms as regular is read. */
#include "compat.h"

#include <errno.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

enum {
    MAX_DEPTH = 128,                /* each level holds two descriptors and a buffer on the stack */
    CHUNK = 1 << 24
};

struct entry {
    uint64_t inode;
    int64_t offset;
    uint16_t size;
    uint8_t type;
    char name[];
};

static int copy_directory(int from, int to, int depth);

/* In a user namespace the owner may be one that is not mapped: the new file then keeps ours. */
static int copy_owner(int dir, const char *name, const struct stat *status, int flags)
{
    int result = sys(fchownat(dir, name, status->st_uid, status->st_gid, flags));
    return result == -EINVAL || result == -EPERM ? 0 : result;
}

static int copy_times(int dir, const char *name, const struct stat *status)
{
    struct timespec times[2] = { status->st_atim, status->st_mtim };
    return sys(utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW));
}

/* Owner first: a change of owner clears the set-id bits. */
static int copy_mode(int fd, const struct stat *status)
{
    int result = copy_owner(fd, "", status, AT_EMPTY_PATH);
    return result < 0 ? result : sys(fchmod(fd, status->st_mode & PERMISSIONS));
}

static int copy_bytes(int from, int to)
{
    for (unsigned tries = 0;;) {
        int sent = sys(sendfile(to, from, NULL, CHUNK));
        if (interrupted(sent, &tries))
            continue;
        if (sent <= 0)
            return sent;
    }
}

static int copy_file(int from_dir, int to_dir, const char *name)
{
    struct stat status;
    int to = -1;
    int from = sys(openat(from_dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (from < 0)
        return from;
    int result = fstat(from, &status) < 0 ? -errno : S_ISREG(status.st_mode) ? 0 : -EINVAL;
    if (result == 0)
        result = to = sys(openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (result >= 0)
        result = copy_bytes(from, to);
    if (result >= 0)
        result = copy_mode(to, &status);
    close(from);
    if (to >= 0)
        close(to);
    return result;
}

static int copy_link(int from_dir, int to_dir, const char *name)
{
    char target[4096];
    ssize_t size = readlinkat(from_dir, name, target, sizeof target - 1);
    if (size < 0)
        return -errno;
    target[size] = '\0';
    return sys(symlinkat(target, to_dir, name));
}

static int copy_subdirectory(int from_dir, int to_dir, const char *name, int depth)
{
    struct stat status;
    int to = -1;
    int from = sys(openat(from_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (from < 0)
        return from;
    int result = fstat(from, &status) < 0 ? -errno : sys(mkdirat(to_dir, name, 0700));
    if (result >= 0)
        result = to = sys(openat(to_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (result >= 0)
        result = copy_directory(from, to, depth + 1);
    if (result >= 0)
        result = copy_mode(to, &status);
    close(from);
    if (to >= 0)
        close(to);
    return result;
}

static int copy_special(int to_dir, const char *name, const struct stat *status)
{
    int result = sys(mknodat(to_dir, name, status->st_mode & S_IFMT, status->st_rdev));
    return result < 0 ? result : sys(fchmodat(to_dir, name, status->st_mode & PERMISSIONS, 0));
}

static int copy_entry(int from_dir, int to_dir, const char *name, int depth)
{
    struct stat status;
    if (fstatat(from_dir, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    int result;
    switch (status.st_mode & S_IFMT) {
    case S_IFDIR:
        result = copy_subdirectory(from_dir, to_dir, name, depth);
        break;
    case S_IFREG:
        result = copy_file(from_dir, to_dir, name);
        break;
    case S_IFLNK:
        result = copy_link(from_dir, to_dir, name);
        break;
    case S_IFSOCK:                  /* nobody can listen on a copy */
        return 0;
    default:
        result = copy_special(to_dir, name, &status);
    }
    if (result >= 0 && !S_ISDIR(status.st_mode) && !S_ISREG(status.st_mode))
        result = copy_owner(to_dir, name, &status, AT_SYMLINK_NOFOLLOW);
    return result < 0 ? result : copy_times(to_dir, name, &status);
}

static int copy_directory(int from, int to, int depth)
{
    _Alignas(struct entry) char buffer[4096];
    long size;
    if (depth > MAX_DEPTH)
        return -ENAMETOOLONG;
    while ((size = syscall(SYS_getdents64, from, buffer, sizeof buffer)) > 0) {
        for (long at = 0; at < size;) {
            const struct entry *entry = (const struct entry *)(const void *)(buffer + at);
            at += entry->size;
            if (strcmp(entry->name, ".") == 0 || strcmp(entry->name, "..") == 0)
                continue;
            int result = copy_entry(from, to, entry->name, depth);
            if (result < 0)
                return result;
        }
    }
    return size < 0 ? -errno : 0;
}

static int copy_up(int from, int to, unsigned flags)
{
    struct stat status;
    int result = 0;
    if (flags & COPY_UP_CONTENT)
        result = copy_directory(from, to, 0);
    if (result < 0 || !(flags & COPY_UP_MODE))
        return result;
    return fstat(from, &status) < 0 ? -errno : copy_mode(to, &status);
}

int op_copy_up(struct stage *stage, const struct step *step)
{
    int hidden = path_resolve(stage, string_at(stage, step->copy_up.target), O_DIRECTORY);
    if (hidden == -ENOENT)
        return 0;
    int from = hidden < 0 ? hidden : sys(openat(hidden, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (hidden >= 0)
        close(hidden);
    if (from < 0)
        return fail(stage, DETAIL_TARGET, from);
    int to = sys(openat(stage->slots[step->copy_up.mount], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    int result = to < 0 ? to : copy_up(from, to, step->flags);
    close(from);
    if (to >= 0)
        close(to);
    return result < 0 ? fail(stage, DETAIL_SOURCE, result) : 0;
}
