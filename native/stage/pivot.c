/* The switch of root.  Afterwards no path leads to the host. */
#include "compat.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>

/* Make the old root, at cwd, stop sending mount events and take it off with all that is below. */
static int drop_old_root(int old)
{
    int result = sys(fchdir(old));
    if (result >= 0)
        result = k_mount(NULL, ".", NULL, MS_SLAVE | MS_REC, NULL);
    return result < 0 ? result : k_umount(".", MNT_DETACH);
}

static int switch_root(int root)
{
    int old = sys(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (old < 0)
        return old;
    int result = sys(fchdir(root));
    if (result >= 0)
        result = sys(syscall(SYS_pivot_root, ".", "."));
    if (result >= 0)
        result = drop_old_root(old);
    close(old);
    return result;
}

/* ---- without pivot_root(2), which an initramfs refuses ---- */

/* Undo mountinfo's \ooo in place. */
static void unescape(char *text)
{
    char *out = text;
    for (; *text != '\0'; text++) {
        if (text[0] == '\\' && text[1] != '\0' && text[2] != '\0' && text[3] != '\0') {
            *out++ = (char)((text[1] - '0') << 6 | (text[2] - '0') << 3 | (text[3] - '0'));
            text += 3;
        } else {
            *out++ = *text;
        }
    }
    *out = '\0';
}

/* Return the mount point of a line of mountinfo if a procfs or a sysfs is mounted there, else NULL. */
static char *kernel_mount(char *line)
{
    const char *type = strstr(line, " - ");
    if (type == NULL || (strncmp(type + 3, "proc ", 5) != 0 && strncmp(type + 3, "sysfs ", 6) != 0))
        return NULL;
    for (int field = 0; field < 4; field++) {
        line = strchr(line, ' ');
        if (line == NULL)
            return NULL;
        line++;
    }
    line[strcspn(line, " ")] = '\0';
    unescape(line);
    return line;
}

static int is_below(const char *path, const char *directory)
{
    size_t length = strlen(directory);
    return strncmp(path, directory, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

/* Take the mount off; what is locked together with others gets an empty file system over it. */
static int hide(const char *path)
{
    int result = k_mount(NULL, path, NULL, MS_SLAVE | MS_REC, NULL);
    if (result == -ENOENT || result == -EINVAL)     /* gone with one that was above it */
        return 0;
    result = k_umount(path, MNT_DETACH | UMOUNT_NOFOLLOW);
    if (result == -EINVAL || result == -EPERM)
        result = k_mount("tmpfs", path, "tmpfs", MS_RDONLY, "nr_blocks=1,nr_inodes=2");
    return result;
}

static int read_mountinfo(struct stage *stage, char **text)
{
    size_t size = 0;
    unsigned tries = 0;
    int got;
    *text = bump(PLAN_MAX_BYTES);   /* untouched pages cost nothing */
    if (*text == NULL)
        return -ENOMEM;
    int fd = proc_open(stage, "self/mountinfo", O_RDONLY);
    if (fd < 0)
        return fd;
    do {
        got = sys(read(fd, *text + size, PLAN_MAX_BYTES - 1 - size));
        size += got > 0 ? (size_t)got : 0;
    } while (got > 0 || interrupted(got, &tries));
    close(fd);
    return got;
}

/* A procfs or sysfs of the host that stays visible lets a user namespace mount unmasked ones of its own. */
static int hide_kernel_mounts(struct stage *stage)
{
    char *text, root[PATH_MAX];
    int result = sys(syscall(SYS_getcwd, root, sizeof root));
    if (result >= 0)
        result = read_mountinfo(stage, &text);
    while (result >= 0 && *text != '\0') {
        char *line = text;
        size_t length = strcspn(text, "\n");
        text += length + (text[length] == '\n');
        line[length] = '\0';
        const char *path = kernel_mount(line);
        if (path != NULL && !is_below(path, root))
            result = hide(path);
    }
    return result;
}

static int move_root(struct stage *stage)
{
    int result = sys(fchdir(stage->root));
    if (result >= 0)
        result = hide_kernel_mounts(stage);
    if (result >= 0)
        result = k_mount(".", "/", NULL, MS_MOVE, NULL);
    return result < 0 ? result : sys(chroot("."));
}

/* "/" must be the root that was built, not what some race left there. */
static int root_is_ours(const struct stage *stage)
{
    struct stat now, ours;
    int fd = sys(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (fd < 0)
        return 0;
    int64_t id = mount_id(fd);
    int same = fstat(fd, &now) == 0 && fstat(stage->root, &ours) == 0 && now.st_dev == ours.st_dev
        && now.st_ino == ours.st_ino && id >= 0 && id == mount_id(stage->root);
    close(fd);
    return same;
}

/* Without a mount namespace there is nothing to detach: only the root directory of this process changes. */
static int change_root(struct stage *stage)
{
    int result = sys(chroot("."));

    if (result >= 0)
        result = sys(chdir("/"));
    if (result >= 0)
        result = stage->root = sys(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (result < 0)
        return fail(stage, DETAIL_ATTACH, result);
    stage->pivoted = 1;
    return 0;
}

int op_pivot(struct stage *stage, const struct step *step)
{
    if (step->flags & PIVOT_CHROOT)
        return change_root(stage);
    int result = proc_root(stage);  /* while the host's /proc is there to fall back to */
    if (result < 0)
        return result;
    result = step->flags & PIVOT_MOVE ? move_root(stage) : switch_root(stage->root);
    if (result >= 0)
        result = sys(chdir("/"));
    if (result < 0)
        return fail(stage, DETAIL_ATTACH, result);
    stage->pivoted = 1;
    return root_is_ours(stage) ? 0 : fail(stage, DETAIL_ESCAPED, EXDEV);
}
