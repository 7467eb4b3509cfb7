/* What the root file system gets besides its mounts: links, devices, hidden and read-only paths. */
#include "compat.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static int link_in(int parent, const char *text, const char *name, int replace)
{
    int result = sys(symlinkat(text, parent, name));
    if (result != -EEXIST)
        return result;
    if (!replace)
        return 0;
    result = sys(unlinkat(parent, name, 0));
    return result < 0 ? result : sys(symlinkat(text, parent, name));
}

int op_symlink(struct stage *stage, const struct step *step)
{
    char name[NAME_MAX + 1];
    struct stat status;
    const char *text = string_at(stage, step->symlink.text);
    if (step->flags & SYMLINK_IF_EXISTS
        && (strncmp(text, "/proc/", strlen("/proc/")) != 0 || fstatat(AT_FDCWD, text, &status, AT_SYMLINK_NOFOLLOW) < 0))
        return 0;
    int parent = path_parent(stage, string_at(stage, step->symlink.path), name);
    if (parent < 0)
        return fail(stage, DETAIL_TARGET, parent);
    int result = link_in(parent, text, name, step->flags & SYMLINK_REPLACE);
    close(parent);
    return result < 0 ? fail(stage, DETAIL_CREATE, result) : 0;
}

/* Does the path lead to this mount?  1, 0, or the negative errno of resolving it. */
static int leads_to(struct stage *stage, const char *path, int mount)
{
    int fd = path_resolve(stage, path, 0);
    if (fd < 0)
        return fd;
    int64_t id = mount_id(fd);
    close(fd);
    return id >= 0 && id == mount_id(mount);
}

int op_verify_mount(struct stage *stage, const struct step *step)
{
    int found = leads_to(stage, string_at(stage, step->verify_mount.path), stage->slots[step->verify_mount.mount]);
    if (found < 0)
        return fail(stage, DETAIL_TARGET, found);
    return found ? 0 : fail(stage, DETAIL_NONE, EXDEV);
}

/* ---- devices ---- */

static int is_device(int fd, mode_t type, uint64_t device)
{
    struct stat status;
    if (fstat(fd, &status) < 0 || (status.st_mode & S_IFMT) != type)
        return 0;
    return type == S_IFIFO || status.st_rdev == device;
}

/* Make the node with exactly this mode and owner, or find the same one. */
static int make_device(struct stage *stage, int parent, const char *name, const struct op_device *wanted)
{
    mode_t mask = umask(0);
    mode_t mode = wanted->type | (wanted->mode & PERMISSIONS);
    int made = sys(mknodat(parent, name, mode, wanted->type == S_IFIFO ? 0 : wanted->number));
    umask(mask);
    if (made < 0 && made != -EEXIST)
        return fail(stage, DETAIL_CREATE, made);
    int fd = sys(openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
    if (fd < 0)
        return fail(stage, DETAIL_TARGET, fd);
    int result = 0;
    if (!is_device(fd, wanted->type, wanted->number))
        result = fail(stage, DETAIL_DIFFERENT_DEVICE, EEXIST);
    else if (made >= 0 && (result = sys(fchownat(fd, "", wanted->uid, wanted->gid, AT_EMPTY_PATH))) < 0)
        fail(stage, DETAIL_ATTRIBUTES, result);
    close(fd);
    return result;
}

int op_device(struct stage *stage, const struct step *step)
{
    const struct op_device *wanted = &step->device;
    char name[NAME_MAX + 1];
    if ((wanted->type != S_IFCHR && wanted->type != S_IFBLK && wanted->type != S_IFIFO) || wanted->number > UINT32_MAX)
        return fail(stage, DETAIL_PLAN, EINVAL);
    int parent = path_parent(stage, string_at(stage, wanted->path), name);
    if (parent < 0)
        return fail(stage, DETAIL_TARGET, parent);
    int result = make_device(stage, parent, name, wanted);
    close(parent);
    return result;
}

int op_null_device(struct stage *stage, const struct step *step)
{
    if (stage->pivoted)
        return fail(stage, DETAIL_SOURCE, EPERM);
    int fd = k_open_tree(AT_FDCWD, "/dev/null", OPEN_TREE_CLONE | AT_SYMLINK_NOFOLLOW);
    if (fd < 0)
        return fail(stage, DETAIL_SOURCE, fd);
    if (!is_device(fd, S_IFCHR, makedev(MEM_MAJOR, NULL_MINOR))) {
        close(fd);
        return fail(stage, DETAIL_DIFFERENT_DEVICE, ENODEV);
    }
    struct mount_attr attr = {
        .attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, .propagation = MS_PRIVATE
    };
    int result = k_mount_setattr(fd, 0, &attr);
    slot_fill(stage, step->null_device.mount, fd);
    return result < 0 ? fail(stage, DETAIL_ATTRIBUTES, result) : 0;
}

/* ---- read-only and masked paths: each on the one descriptor that its path gave ---- */

typedef int protect_fn(struct stage *stage, const struct step *step, int target);

/* What the operations have in common. */
struct place {
    const char *path;
    int32_t mount;                  /* the mount that it lies in, or NO_SLOT */
    uint32_t prefix;                /* how many bytes of the path lead to that mount */
};

/* Protect what a path gave, which is closed.  Nothing is to be protected where the path leads to nothing: also when
 * a directory on the way is none. */
static int protect(struct stage *stage, const struct step *step, protect_fn *act, int target)
{
    if (target == -ENOENT || target == -ENOTDIR)
        return 0;
    if (target < 0)
        return fail(stage, DETAIL_TARGET, target);
    int result = act(stage, step, target);
    close(target);
    return result;
}

/* Does the part of the path that should lead to the mount still do so?  A link of the root file system may lead
 * there, too, and another mount have hidden it by that name; or somebody has moved the directory. */
static int on_mount(struct stage *stage, const struct place *place)
{
    char point[PATH_MAX];
    if (stage->reached == place->mount)
        return 1;
    memcpy(point, place->path, place->prefix);
    point[place->prefix] = '\0';
    if (leads_to(stage, point, stage->slots[place->mount]) <= 0)
        return 0;
    stage->reached = place->mount;
    return 1;
}

/* Protect the path as it is below its mount, and, where that is not what the whole path leads to, also there. */
static int protect_path(struct stage *stage, const struct step *step, protect_fn *act, struct place place)
{
    if (place.mount == NO_SLOT)
        return protect(stage, step, act, path_resolve(stage, place.path, 0));
    if (place.prefix >= PATH_MAX || place.prefix > strlen(place.path))
        return fail(stage, DETAIL_PLAN, EINVAL);
    int same = on_mount(stage, &place);
    int target = path_below(stage->slots[place.mount], place.path + place.prefix);
    int result = target == -EXDEV ? 0 : protect(stage, step, act, target);
    if (result < 0 || (same && target != -EXDEV))
        return result;
    return protect(stage, step, act, path_resolve(stage, place.path, 0));
}

static int set_readonly(int mount)
{
    struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };
    return k_mount_setattr(mount, 0, &attr);
}

/* The path over itself, read-only, with what is mounted below it.  Other attributes stay as they are. */
static int cover_readonly(struct stage *stage, const struct step *step, int target)
{
    (void)step;
    int mount = k_open_tree(target, "", OPEN_TREE_CLONE | AT_EMPTY_PATH | AT_RECURSIVE);
    if (mount < 0)
        return fail(stage, DETAIL_SOURCE, mount);
    int result = set_readonly(mount);
    if (result < 0)
        fail(stage, DETAIL_ATTRIBUTES, result);
    else if ((result = k_move_mount(mount, target)) < 0)
        fail(stage, DETAIL_ATTACH, result);
    close(mount);
    stage->reached = NO_SLOT;       /* the mount that was seen may lie below the copy now */
    return result;
}

int op_readonly_path(struct stage *stage, const struct step *step)
{
    const struct op_readonly_path *given = &step->readonly_path;
    struct place place = { string_at(stage, given->path), given->mount, given->prefix };
    return protect_path(stage, step, cover_readonly, place);
}

/* The first target gets the mount itself, the others copies of it: before Linux 6.15 a detached mount cannot
 * be cloned, and one that is detached still when its descriptor closes costs a wait for the kernel's RCU. */
static int attach_shared(int mount, int target, int *attached)
{
    if (!*attached) {
        int moved = k_move_mount(mount, target);
        *attached = moved >= 0;
        return moved;
    }
    int copy = k_open_tree(mount, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
    if (copy < 0)
        return copy;
    int result = k_move_mount(copy, target);
    close(copy);
    return result;
}

static int mask(struct stage *stage, const struct step *step, int target)
{
    struct stat status;
    int result = sys(fstat(target, &status));
    if (result >= 0 && S_ISDIR(status.st_mode))
        result = attach_shared(stage->slots[step->mask_path.empty], target, &stage->empty_attached);
    else if (result >= 0)
        result = attach_shared(stage->slots[step->mask_path.null], target, &stage->null_attached);
    return result < 0 ? fail(stage, DETAIL_ATTACH, result) : 0;
}

int op_mask_path(struct stage *stage, const struct step *step)
{
    const struct op_mask_path *given = &step->mask_path;
    struct place place = { string_at(stage, given->path), given->mount, given->prefix };
    return protect_path(stage, step, mask, place);
}

int op_root_readonly(struct stage *stage, const struct step *step)
{
    (void)step;
    int result = set_readonly(stage->root);
    return result < 0 ? fail(stage, DETAIL_ATTRIBUTES, result) : 0;
}
