/* Kernel interfaces that a C library may lack: numbers, structures, and thin wrappers.
 *
 * Wrappers return what the system call returns, with errors as negative errno numbers.  <sys/mount.h> clashes
 * with <linux/mount.h> in some C libraries: the stage uses only the kernel's header, through this file.
 */
#ifndef PYOCI_STAGE_COMPAT_H
#define PYOCI_STAGE_COMPAT_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/major.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "stage.h"

/* Numbers from 424 on are the same on every architecture (but alpha). */
#ifndef SYS_open_tree
#define SYS_open_tree 428
#endif
#ifndef SYS_move_mount
#define SYS_move_mount 429
#endif
#ifndef SYS_fsopen
#define SYS_fsopen 430
#endif
#ifndef SYS_fsconfig
#define SYS_fsconfig 431
#endif
#ifndef SYS_fsmount
#define SYS_fsmount 432
#endif
#ifndef SYS_fspick
#define SYS_fspick 433
#endif
#ifndef SYS_openat2
#define SYS_openat2 437
#endif
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif

#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif
#ifndef AT_EMPTY_PATH
#define AT_EMPTY_PATH 0x1000
#endif
#ifndef MNT_DETACH
#define MNT_DETACH 2
#endif
#ifndef UMOUNT_NOFOLLOW
#define UMOUNT_NOFOLLOW 8
#endif
#ifndef MOUNT_ATTR_NOSYMFOLLOW
#define MOUNT_ATTR_NOSYMFOLLOW 0x00200000
#endif
#ifndef F_ADD_SEALS
#define F_ADD_SEALS 1033
#define F_GET_SEALS 1034
#define F_SEAL_SEAL 1
#define F_SEAL_SHRINK 2
#define F_SEAL_GROW 4
#define F_SEAL_WRITE 8
#endif

#ifndef SYS_statx
#error "statx(2) is missing from <sys/syscall.h>"
#endif

/* struct statx, as far as it is used: the C libraries' may be older than the mount id. */
struct k_statx {
    uint32_t mask;
    uint32_t pad[35];
    uint64_t mount;                 /* stx_mnt_id, at 0x90 */
    uint64_t rest[13];
};
_Static_assert(offsetof(struct k_statx, mount) == 0x90 && sizeof(struct k_statx) == 256, "struct statx");
#define STATX_MNT_ID_BIT 0x1000u

/* Numbers that no header of the kernel gives to programs. */
enum {
    PROC_ROOT_INODE = 1,            /* of the root of a procfs */
    NULL_MINOR = 3,                 /* devices.txt: /dev/null, with MEM_MAJOR */
    PTMX_MINOR = 2,                 /* /dev/ptmx, with TTYAUX_MAJOR */
    KEY_USR_SEARCH = 0x080000,      /* keyctl_setperm(3) */
    CAPABILITIES_MAX = 64           /* bits of a set */
};

/* The permissions of a mode, with set-id and sticky bits. */
#define PERMISSIONS 07777u

/* All propagation types of mount(2). */
#define PROPAGATION_TYPES (MS_SHARED | MS_SLAVE | MS_PRIVATE | MS_UNBINDABLE)

static inline int k_openat2(int dir, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve)
{
    struct open_how how = { .flags = flags | O_CLOEXEC, .mode = mode, .resolve = resolve };
    return sys(syscall(SYS_openat2, dir, path, &how, sizeof how));
}

static inline int k_open_tree(int dir, const char *path, unsigned flags)
{
    return sys(syscall(SYS_open_tree, dir, path, flags | OPEN_TREE_CLOEXEC));
}

/* Attach the mount behind one descriptor on the file behind another. */
static inline int k_move_mount(int mount, int target)
{
    unsigned flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
    return sys(syscall(SYS_move_mount, mount, "", target, "", flags));
}

static inline int k_fsopen(const char *type)
{
    return sys(syscall(SYS_fsopen, type, FSOPEN_CLOEXEC));
}

static inline int k_fspick(int fd)
{
    return sys(syscall(SYS_fspick, fd, "", FSPICK_CLOEXEC | FSPICK_EMPTY_PATH));
}

static inline int k_fsconfig(int fs, unsigned command, const char *key, const char *value)
{
    return sys(syscall(SYS_fsconfig, fs, command, key, value, 0));
}

static inline int k_fsmount(int fs, unsigned attributes)
{
    return sys(syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, attributes));
}

/* flags: AT_RECURSIVE or 0. */
static inline int k_mount_setattr(int mount, unsigned flags, const struct mount_attr *attr)
{
    return sys(syscall(SYS_mount_setattr, mount, "", AT_EMPTY_PATH | flags, attr, sizeof *attr));
}

static inline int k_umount(const char *path, int flags)
{
    return sys(syscall(SYS_umount2, path, flags));
}

static inline int k_mount(const char *source, const char *target, const char *type, unsigned long flags,
                          const void *data)
{
    return sys(syscall(SYS_mount, source, target, type, flags, data));
}

static inline int k_statx(int fd, unsigned mask, struct k_statx *status)
{
    return sys(syscall(SYS_statx, fd, "", AT_EMPTY_PATH, mask, status));
}

#endif
