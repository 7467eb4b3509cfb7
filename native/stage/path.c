/* Paths in the container's root.  The only file that resolves them.
 *
 * The kernel resolves (openat2, RESOLVE_IN_ROOT), so whoever renames directories meanwhile can neither
 * lead out of the root nor through a magic link.  What is missing is made one component at a time, each
 * under the descriptor of the one before and without following it. */
#include "compat.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

enum {
    MAX_RETRIES = 1024,             /* of EAGAIN: a rename or mount happened during the look-up */
    MAX_LINKS = 40                  /* as the kernel's MAXSYMLINKS */
};

/* How make() treats what it meets. */
enum make_flag { LITERAL = 1, NOFOLLOW = 2 };

static int resolve_at(int directory, const char *path, int flags, uint64_t how)
{
    int fd = -EAGAIN;
    for (int i = 0; i < MAX_RETRIES && (fd == -EAGAIN || fd == -EINTR); i++)
        fd = k_openat2(directory, path, (uint64_t)(unsigned)flags, 0, how | RESOLVE_NO_MAGICLINKS);
    return fd;
}

static int resolve(const struct stage *stage, const char *path, int flags, uint64_t how)
{
    return resolve_at(stage->root, path, flags, how | RESOLVE_IN_ROOT);
}

int path_below(int directory, const char *path)
{
    while (*path == '/')
        path++;
    return resolve_at(directory, *path != '\0' ? path : ".", O_PATH, RESOLVE_BENEATH);
}

int path_resolve(struct stage *stage, const char *path, int flags)
{
    return resolve(stage, path, flags | O_PATH, 0);
}

int path_literal(struct stage *stage, const char *path, int flags)
{
    return resolve(stage, path, flags | O_PATH, RESOLVE_NO_SYMLINKS);
}

int64_t mount_id(int fd)
{
    struct k_statx status;
    int result = k_statx(fd, STATX_MNT_ID_BIT, &status);
    return result < 0 ? result : (int64_t)status.mount;
}

/* ---- making what is missing ---- */

/* A path in work: text[done] is where the part begins that fd, the directory before it, does not cover
 * yet. */
struct walk {
    char text[PATH_MAX];
    size_t done;
    int fd;
};

/* Make an entry of directory dir with exactly this type and mode, whatever the umask; open what is there
 * then. */
static int make_entry(int dir, const char *name, mode_t mode)
{
    mode_t mask = umask(0);
    int made = S_ISDIR(mode) ? sys(mkdirat(dir, name, mode & PERMISSIONS)) : sys(mknodat(dir, name, mode, 0));
    umask(mask);
    if (made < 0 && made != -EEXIST)
        return made;
    return sys(openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
}

/* Find the longest prefix of the text that exists. */
static int walk_existing(struct stage *stage, struct walk *walk, int flags)
{
    uint64_t how = flags & LITERAL ? RESOLVE_NO_SYMLINKS : 0;
    size_t end = strlen(walk->text);
    for (;;) {
        char kept = walk->text[end];
        walk->text[end] = '\0';
        walk->fd = resolve(stage, end > 0 ? walk->text : "/", O_PATH, how);
        walk->text[end] = kept;
        walk->done = end;
        if (walk->fd != -ENOENT || end == 0)
            return walk->fd < 0 ? walk->fd : 0;
        while (end > 0 && walk->text[end - 1] != '/')
            end--;
        while (end > 0 && walk->text[end - 1] == '/')
            end--;
    }
}

/* The next component to make, copied to name.  Gives 0 at the end of the text, 1 otherwise; "." is
 * skipped. */
static int next_component(struct walk *walk, char name[NAME_MAX + 1])
{
    size_t length;
    do {
        walk->done += strspn(walk->text + walk->done, "/");
        length = strcspn(walk->text + walk->done, "/");
        if (length == 0)
            return 0;
        if (length > NAME_MAX)
            return -ENAMETOOLONG;
        memcpy(name, walk->text + walk->done, length);
        name[length] = '\0';
        walk->done += length;
    } while (strcmp(name, ".") == 0);
    return strcmp(name, "..") == 0 ? -ENOENT : 1;
}

/* The component of that length before text[done] is a dangling link: put its target into the text in its
 * place. */
static int expand_link(struct walk *walk, int link, size_t length)
{
    char target[PATH_MAX], rest[PATH_MAX];
    ssize_t size = readlinkat(link, "", target, sizeof target);
    if (size < 0)
        return -errno;
    size_t start = target[0] == '/' ? 0 : walk->done - length;
    size_t rest_size = strlen(walk->text + walk->done) + 1;
    if (start + (size_t)size + rest_size > sizeof walk->text)
        return -ENAMETOOLONG;
    memcpy(rest, walk->text + walk->done, rest_size);
    memcpy(walk->text + start, target, (size_t)size);
    memcpy(walk->text + start + (size_t)size, rest, rest_size);
    return 0;
}

static int is_symlink(int fd)
{
    struct stat status;
    return fstat(fd, &status) == 0 && S_ISLNK(status.st_mode);
}

/* Make the components from text[done] on.  Gives 1 when done, 0 when a link was expanded: look up again. */
static int walk_make(struct walk *walk, mode_t mode, int flags)
{
    char name[NAME_MAX + 1];
    int more;
    while ((more = next_component(walk, name)) > 0) {
        int last = walk->text[walk->done + strspn(walk->text + walk->done, "/")] == '\0';
        int fd = make_entry(walk->fd, name, last ? mode : S_IFDIR | 0755);
        if (fd < 0)
            return fd;
        close(walk->fd);
        walk->fd = fd;
        if (!is_symlink(fd) || (last && flags & NOFOLLOW))
            continue;
        return flags & LITERAL ? -ELOOP : expand_link(walk, fd, strlen(name));
    }
    return more < 0 ? more : 1;
}

/* Make path, and the directories above it (0755), as far as they are missing.  mode has the type in it:
 * S_IFDIR or S_IFREG.  O_PATH of the last. */
static int make(struct stage *stage, const char *path, mode_t mode, int flags)
{
    struct walk walk;
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof walk.text)
        return length == 0 ? -ENOENT : -ENAMETOOLONG;
    memcpy(walk.text, path, length + 1);
    for (int links = 0; links < MAX_LINKS; links++) {
        int result = walk_existing(stage, &walk, flags);
        if (result < 0)
            return result;
        result = walk_make(&walk, mode, flags);
        if (result == 1)
            return walk.fd;
        close(walk.fd);
        if (result < 0)
            return result;
    }
    return -ELOOP;
}

/* An O_PATH descriptor passed on if it is a directory. */
static int directory_only(int fd)
{
    struct stat status;
    if (fd < 0 || (fstat(fd, &status) == 0 && S_ISDIR(status.st_mode)))
        return fd;
    close(fd);
    return -ENOTDIR;
}

int path_mkdir(struct stage *stage, const char *path)
{
    return path_ensure(stage, path, 1, 0755, 0);
}

int path_mkdir_literal(struct stage *stage, const char *path)
{
    int fd = path_literal(stage, path, 0);
    if (fd == -ENOENT)
        fd = make(stage, path, S_IFDIR | 0755, LITERAL);
    return directory_only(fd);
}

int path_ensure(struct stage *stage, const char *path, int directory, mode_t mode, int nofollow)
{
    int fd = path_resolve(stage, path, nofollow ? O_NOFOLLOW : 0);
    if (fd == -ENOENT)
        fd = make(stage, path, (directory ? S_IFDIR : S_IFREG) | mode, nofollow ? NOFOLLOW : 0);
    return directory ? directory_only(fd) : fd;
}

int path_parent(struct stage *stage, const char *path, char *name)
{
    char parent[PATH_MAX];
    size_t end = strlen(path);
    while (end > 0 && path[end - 1] == '/')
        end--;
    size_t start = end;
    while (start > 0 && path[start - 1] != '/')
        start--;
    if (end - start > NAME_MAX || start >= sizeof parent)
        return -ENAMETOOLONG;
    memcpy(name, path + start, end - start);
    name[end - start] = '\0';
    if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return -EISDIR;
    memcpy(parent, path, start);
    parent[start] = '\0';
    return path_mkdir(stage, start > 0 ? parent : "/");
}
