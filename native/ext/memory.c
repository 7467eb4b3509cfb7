/* Files in memory: the plan, what hooks read, and the stage's program. */
#define _GNU_SOURCE
#include "../stage/compat.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "memory.h"
#include "spawn.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

/* The stage's ELF file, provided by the build. */
extern const unsigned char pyoci_stage_elf[];
extern const size_t pyoci_stage_size;

static int close_failed(int fd, int err)
{
    close(fd);
    return err;
}

static int fill(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t done = write(fd, data, size);

        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return -errno;
        data += done;
        size -= (size_t)done;
    }
    return lseek(fd, 0, SEEK_SET) < 0 ? -errno : 0;
}

static int memfd_with(const char *name, unsigned flags, const void *data, size_t size, int sealed)
{
    const int seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
    int fd = memfd_create(name, flags | MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int err;

    if (fd < 0)
        return -errno;
    err = fill(fd, data, size);
    if (err < 0)
        return close_failed(fd, err);
    if (sealed && fcntl(fd, F_ADD_SEALS, seals) < 0)
        return close_failed(fd, -errno);
    return fd;
}

int pyoci_memfd(const char *name, const void *data, size_t size, int sealed)
{
    return memfd_with(name, 0, data, size, sealed);
}

static const char stage_name[] = "pyoci-stage";

/* Make the only file of a tmpfs that is mounted nowhere. */
static int write_stage(int mount)
{
    int fd = sys(openat(mount, stage_name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0555)), err;

    if (fd < 0)
        return fd;
    err = fill(fd, (const char *)pyoci_stage_elf, pyoci_stage_size);
    close(fd);
    return err;
}

/* Where vm.memfd_noexec is 2 no memfd can be executed.  The file of a tmpfs of its own can, and nobody can write to
 * it either: the mount and the file system are read-only, and mounted nowhere, so that nobody can clone or change
 * them. */
static int stage_in_tmpfs(int fs)
{
    struct mount_attr readonly = {.attr_set = MOUNT_ATTR_RDONLY};
    int err = k_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL), mount;

    if (err < 0)
        return err;
    mount = k_fsmount(fs, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
    if (mount < 0)
        return mount;
    err = write_stage(mount);
    if (err == 0)
        err = k_mount_setattr(mount, 0, &readonly);
    if (err == 0)
        err = k_fsconfig(fs, FSCONFIG_SET_FLAG, "ro", NULL);
    if (err == 0)
        err = k_fsconfig(fs, FSCONFIG_CMD_RECONFIGURE, NULL, NULL);
    if (err == 0)
        err = sys(openat(mount, stage_name, O_RDONLY | O_CLOEXEC));
    return close_failed(mount, err);
}

int stage_file(void)
{
    int fd, fs;

    fd = memfd_with(stage_name, MFD_EXEC, pyoci_stage_elf, pyoci_stage_size, 1);
    if (fd == -EINVAL)          /* before Linux 6.3 */
        fd = memfd_with(stage_name, 0, pyoci_stage_elf, pyoci_stage_size, 1);
    if (fd != -EACCES)
        return fd;
    fs = k_fsopen("tmpfs");
    return fs < 0 ? -ENOEXEC : close_failed(fs, stage_in_tmpfs(fs));
}
