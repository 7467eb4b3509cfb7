/* Mounts.  Each is made detached, gets its attributes while nobody can reach it, and is attached by
 * descriptor to a target that was resolved once. */
#include "compat.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>

enum { FSCONFIG_MAX = 255 };        /* the kernel's limit for the key and for the value of an option */

static unsigned recursive_if(int recursive)
{
    return recursive ? AT_RECURSIVE : 0;
}

/* Change the propagation of a mount; type is as for mount(2), with MS_REC for the whole tree. */
static int set_propagation(int mount, uint32_t type)
{
    struct mount_attr attr = { .propagation = type & PROPAGATION_TYPES };
    return k_mount_setattr(mount, recursive_if((type & MS_REC) != 0), &attr);
}

int op_host_propagation(struct stage *stage, const struct step *step)
{
    const uint32_t type = step->host_propagation.propagation;
    struct mount_attr attr = { .propagation = type & PROPAGATION_TYPES };
    int result = sys(syscall(SYS_mount_setattr, AT_FDCWD, "/", recursive_if((type & MS_REC) != 0), &attr, sizeof attr));
    return result < 0 ? fail(stage, DETAIL_ATTRIBUTES, result) : 0;
}

int op_root(struct stage *stage, const struct step *step)
{
    const uint32_t propagation = step->root.propagation;
    int mount = k_open_tree(AT_FDCWD, ".", OPEN_TREE_CLONE | AT_RECURSIVE);
    if (mount < 0)
        return fail(stage, DETAIL_SOURCE, mount);
    slot_fill(stage, step->root.mount, mount);
    int result = propagation != 0 ? set_propagation(mount, propagation) : 0;
    if (result < 0)
        return fail(stage, DETAIL_ATTRIBUTES, result);
    result = sys(syscall(SYS_move_mount, mount, "", AT_FDCWD, ".", MOVE_MOUNT_F_EMPTY_PATH));
    if (result < 0 || (result = sys(fchdir(mount))) < 0)
        return fail(stage, DETAIL_ATTACH, result);
    stage->root = mount;
    return 0;
}

int tree_open(struct stage *stage, const struct step *step, int found)
{
    unsigned flags = OPEN_TREE_CLONE | recursive_if(step->flags & OPEN_TREE_RECURSIVE);
    if (step->flags & OPEN_TREE_NOFOLLOW)
        flags |= AT_SYMLINK_NOFOLLOW;
    int tree = found < 0 ? k_open_tree(AT_FDCWD, string_at(stage, step->open_tree.path), flags)
                         : k_open_tree(found, "", flags | AT_EMPTY_PATH);
    return tree < 0 ? fail(stage, DETAIL_SOURCE, tree) : tree;
}

int op_open_tree(struct stage *stage, const struct step *step)
{
    int found = -1;
    if (stage->pivoted)
        return fail(stage, DETAIL_SOURCE, EPERM);
    if (step->flags & OPEN_TREE_IN_ROOT) {
        int nofollow = step->flags & OPEN_TREE_NOFOLLOW ? O_NOFOLLOW : 0;
        found = path_resolve(stage, string_at(stage, step->open_tree.path), nofollow);
        if (found < 0)
            return fail(stage, DETAIL_SOURCE, found);
    }
    int tree = step->flags & OPEN_TREE_HELPER ? helper_ask(stage, found) : tree_open(stage, step, found);
    if (found >= 0)
        close(found);
    return slot_fill(stage, step->open_tree.tree, tree);
}

/* ---- file systems ---- */

static void add_text(struct stage *stage, const char *text, size_t length)
{
    if (length > REPORT_MAX_TEXT - stage->length)
        length = REPORT_MAX_TEXT - stage->length;
    memcpy(stage->text + stage->length, text, length);
    stage->length += (uint32_t)length;
}

/* Add to the failure's text what the file system says in its context: lines "e message". */
static int refused(struct stage *stage, int fs, const char *option, uint32_t detail, int err)
{
    char line[512];
    ssize_t length;
    stage->length = 0;
    add_text(stage, option, strlen(option));
    while ((length = read(fs, line, sizeof line)) > 0) {
        if (line[length - 1] == '\n')
            length--;
        if (length < 2 || (line[0] != 'e' && line[0] != 'w'))
            continue;
        add_text(stage, stage->length > 0 ? ": " : "", stage->length > 0 ? 2 : 0);
        add_text(stage, line + 2, (size_t)length - 2);
    }
    return fail(stage, detail, err);
}

static int set_option(int fs, const char *option)
{
    char key[FSCONFIG_MAX + 1];
    const char *equals = strchr(option, '=');
    if (equals == NULL)
        return k_fsconfig(fs, FSCONFIG_SET_FLAG, option, NULL);
    size_t length = (size_t)(equals - option);
    if (length == 0 || length > FSCONFIG_MAX)
        return -EINVAL;
    memcpy(key, option, length);
    key[length] = '\0';
    return k_fsconfig(fs, FSCONFIG_SET_STRING, key, equals + 1);
}

static int set_options(struct stage *stage, int fs, struct list options)
{
    const char *option = first_of(stage, options);
    for (uint32_t i = 0; i < options.count; i++) {
        int result = set_option(fs, option);
        if (result < 0)
            return refused(stage, fs, option, DETAIL_OPTION, result);
        option += strlen(option) + 1;
    }
    return 0;
}

/* The context of a new file system, made and ready to be mounted. */
static int create_filesystem(struct stage *stage, int fs, const struct op_fsmount *wanted)
{
    const char *source = string_at(stage, wanted->source);
    int result = 0;
    if (source[0] != '\0')
        result = k_fsconfig(fs, FSCONFIG_SET_STRING, "source", source);
    if (result < 0)
        return refused(stage, fs, "source", DETAIL_OPTION, result);
    result = set_options(stage, fs, wanted->options);
    if (result < 0)
        return result;
    result = k_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL);
    return result < 0 ? refused(stage, fs, "", DETAIL_CREATE, result) : 0;
}

/* An option that fsconfig(2) cannot carry (overlay's lowerdir, say): mount(2) can. */
static int has_long_option(const struct stage *stage, const struct op_fsmount *wanted)
{
    const char *option = first_of(stage, wanted->options);
    for (uint32_t i = 0; i < wanted->options.count; i++) {
        const char *equals = strchr(option, '=');
        if (equals != NULL && strlen(equals + 1) > FSCONFIG_MAX)
            return 1;
        option += strlen(option) + 1;
    }
    return strlen(string_at(stage, wanted->source)) > FSCONFIG_MAX;
}

/* The list of options as mount(2) takes it, joined by commas. */
static const char *joined_options(const struct stage *stage, struct list options)
{
    const char *first = first_of(stage, options);
    const char *end = first;
    for (uint32_t i = 0; i < options.count; i++)
        end += strlen(end) + 1;
    size_t size = (size_t)(end - first);
    char *text = bump(size + 1);
    if (text == NULL || size == 0)
        return text;
    memcpy(text, first, size);
    text[size - 1] = '\0';
    for (size_t i = 0; i + 1 < size; i++)
        if (text[i] == '\0')
            text[i] = ',';
    return text;
}

/* mount(2) on the stage's own copy of the host's "/proc", taken off again as a detached clone.  The
 * container's root is not touched.  That mount is made private first: nothing reaches the host, whatever
 * the plan did before. */
static int mount_aside(const char *source, const char *type, const char *options)
{
    int result = k_mount(NULL, "/proc", NULL, MS_PRIVATE, NULL);
    if (result >= 0)
        result = k_mount(source, "/proc", type, 0, options);
    if (result < 0)
        return result;
    int mount = k_open_tree(AT_FDCWD, "/proc", OPEN_TREE_CLONE);
    result = k_umount("/proc", MNT_DETACH | UMOUNT_NOFOLLOW);
    if (mount >= 0 && result < 0)
        close(mount);
    return result < 0 ? result : mount;
}

static int mount_long(struct stage *stage, const struct op_fsmount *wanted)
{
    const char *options = joined_options(stage, wanted->options);
    if (options == NULL)
        return fail(stage, DETAIL_CREATE, ENOMEM);
    if (stage->pivoted || stage->channel < 0)       /* "/proc" would be the container's, or the host's own */
        return fail(stage, DETAIL_CREATE, EPERM);
    int mount = mount_aside(string_at(stage, wanted->source), string_at(stage, wanted->type), options);
    if (mount < 0)
        return fail(stage, DETAIL_CREATE, mount);
    slot_fill(stage, wanted->mount, mount);
    struct mount_attr attr = { .attr_set = wanted->attributes };
    if (wanted->attributes & MOUNT_ATTR__ATIME)
        attr.attr_clr = MOUNT_ATTR__ATIME;
    int result = k_mount_setattr(mount, 0, &attr);
    return result < 0 ? fail(stage, DETAIL_ATTRIBUTES, result) : 0;
}

int op_fsmount(struct stage *stage, const struct step *step)
{
    const struct op_fsmount *wanted = &step->fsmount;
    if (has_long_option(stage, wanted))
        return mount_long(stage, wanted);
    int fs = k_fsopen(string_at(stage, wanted->type));
    if (fs < 0)
        return fail(stage, DETAIL_CREATE, fs);
    int result = create_filesystem(stage, fs, wanted);
    if (result >= 0) {
        result = slot_fill(stage, wanted->mount, k_fsmount(fs, (unsigned)wanted->attributes));
        if (result < 0)
            refused(stage, fs, "", DETAIL_ATTRIBUTES, result);
    }
    close(fs);
    return result;
}

/* ---- attributes ---- */

int tree_set(struct stage *stage, const struct step *step, int mount)
{
    const struct op_set_attributes *wanted = &step->set_attributes;
    struct mount_attr attr = {
        .attr_set = wanted->set, .attr_clr = wanted->clear, .propagation = wanted->propagation & PROPAGATION_TYPES
    };
    if (wanted->idmap != NO_SLOT) {
        attr.attr_set |= MOUNT_ATTR_IDMAP;
        attr.userns_fd = (unsigned)stage->slots[wanted->idmap];
    }
    int recursive = step->flags & SET_ATTRIBUTES_RECURSIVE || wanted->propagation & MS_REC;
    int result = k_mount_setattr(mount, recursive_if(recursive), &attr);
    return result < 0 ? fail(stage, DETAIL_ATTRIBUTES, result) : 0;
}

int op_set_attributes(struct stage *stage, const struct step *step)
{
    int mount = stage->slots[step->set_attributes.mount];
    return step->flags & SET_ATTRIBUTES_HELPER ? helper_ask(stage, mount) : tree_set(stage, step, mount);
}

static int reconfigure(struct stage *stage, int mount, struct list options)
{
    int fs = k_fspick(mount);
    if (fs < 0)
        return fail(stage, DETAIL_CREATE, fs);
    int result = set_options(stage, fs, options);
    if (result >= 0) {
        result = k_fsconfig(fs, FSCONFIG_CMD_RECONFIGURE, NULL, NULL);
        if (result < 0)
            refused(stage, fs, "", DETAIL_CREATE, result);
    }
    close(fs);
    return result;
}

int op_remount(struct stage *stage, const struct step *step)
{
    const struct op_remount *wanted = &step->remount;
    struct mount_attr attr = { .attr_set = wanted->set, .attr_clr = wanted->clear };
    int mount = path_resolve(stage, string_at(stage, wanted->target), 0);
    if (mount < 0)
        return fail(stage, DETAIL_TARGET, mount);
    int result = step->flags & REMOUNT_BIND ? 0 : reconfigure(stage, mount, wanted->options);
    if (result >= 0 && (wanted->set | wanted->clear) != 0) {
        result = k_mount_setattr(mount, recursive_if(step->flags & REMOUNT_RECURSIVE), &attr);
        if (result < 0)
            fail(stage, DETAIL_ATTRIBUTES, result);
    }
    close(mount);
    return result;
}

int op_propagate(struct stage *stage, const struct step *step)
{
    int mount = path_resolve(stage, string_at(stage, step->propagate.target), 0);
    if (mount < 0)
        return fail(stage, DETAIL_TARGET, mount);
    int result = set_propagation(mount, step->propagate.propagation);
    close(mount);
    return result < 0 ? fail(stage, DETAIL_ATTRIBUTES, result) : 0;
}

/* ---- attaching ---- */

/* A target in procfs could shadow what the runtime or the container trusts.  Only procfs itself may be put
 * over its root again, and what the builder has found in the allow-list. */
static int proc_target_allowed(int target, unsigned flags)
{
    struct statfs fs;
    struct stat status;
    if (fstatfs(target, &fs) < 0 || fstat(target, &status) < 0)
        return 0;
    if (fs.f_type != PROC_SUPER_MAGIC || flags & ATTACH_BELOW_PROC)
        return 1;
    return flags & ATTACH_LITERAL && status.st_ino == PROC_ROOT_INODE;
}

/* What the host has by the name of a device may be another one. */
static int is_wanted_device(int mount, const struct op_attach *wanted)
{
    struct stat status;
    return fstat(mount, &status) == 0 && (status.st_mode & S_IFMT) == wanted->node_type
        && status.st_rdev == wanted->node_number;
}

/* An earlier create may have left a regular file to mount on; a device must be the very one. */
static int same_device(int target, int mount)
{
    struct stat there, wanted;
    if (fstat(target, &there) < 0 || fstat(mount, &wanted) < 0)
        return 0;
    if (S_ISREG(there.st_mode))
        return 1;
    return (there.st_mode & S_IFMT) == (wanted.st_mode & S_IFMT) && there.st_rdev == wanted.st_rdev;
}

static uint32_t target_detail(int err, int also)
{
    return err == -ENOTDIR || err == also ? DETAIL_NOT_DIRECTORY : DETAIL_TARGET;
}

static int find_target(struct stage *stage, const struct step *step, int directory)
{
    const char *path = string_at(stage, step->attach.target);
    if (!(step->flags & ATTACH_LITERAL)) {
        int nofollow = step->flags & (ATTACH_NOFOLLOW | ATTACH_DEVICE);
        int target = path_ensure(stage, path, directory, directory ? 0755 : 0644, nofollow != 0);
        return target < 0 ? fail(stage, target_detail(target, -ENOTDIR), target) : target;
    }
    int target = path_mkdir_literal(stage, path);
    return target < 0 ? fail(stage, target_detail(target, -ELOOP), target) : target;
}

static int is_root(const struct stage *stage, int target)
{
    struct stat there, root;
    return fstat(target, &there) == 0 && fstat(stage->root, &root) == 0 && there.st_dev == root.st_dev
        && there.st_ino == root.st_ino && mount_id(target) == mount_id(stage->root);
}

static int attach(struct stage *stage, const struct step *step, int mount, int target)
{
    if (!proc_target_allowed(target, step->flags))
        return fail(stage, DETAIL_TARGET, EPERM);
    if (step->flags & ATTACH_DEVICE && !is_wanted_device(mount, &step->attach))
        return fail(stage, DETAIL_SOURCE, ENODEV);
    if (step->flags & ATTACH_DEVICE && !same_device(target, mount))
        return fail(stage, DETAIL_DIFFERENT_DEVICE, EEXIST);
    int over_root = is_root(stage, target);
    int result = k_move_mount(mount, target);
    if (result < 0)
        return fail(stage, DETAIL_ATTACH, result);
    if (over_root) {
        stage->root = mount;
        result = sys(fchdir(mount));
    }
    return result < 0 ? fail(stage, DETAIL_ATTACH, result) : 0;
}

int op_attach(struct stage *stage, const struct step *step)
{
    struct stat status;
    int mount = stage->slots[step->attach.mount];
    if (fstat(mount, &status) < 0)
        return fail(stage, DETAIL_SOURCE, errno);
    int target = find_target(stage, step, S_ISDIR(status.st_mode));
    if (target < 0)
        return target;
    int result = attach(stage, step, mount, target);
    close(target);
    return result;
}
