/* The container's terminal: a pair of its own devpts, opened without a path that the container could have
 * changed (CVE-2025-52565). */
#include "compat.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif

/* The multiplexer of the devpts on /dev/pts, and nothing mounted over it. */
static int open_master(struct stage *stage)
{
    int directory = path_resolve(stage, "/dev/pts", O_PATH | O_DIRECTORY), master;
    struct statfs fs;
    struct stat status;

    if (directory < 0)
        return directory;
    if (fstatfs(directory, &fs) < 0 || fs.f_type != DEVPTS_SUPER_MAGIC) {
        close(directory);
        return -ENOTTY;
    }
    master = k_openat2(directory, "ptmx", O_RDWR | O_NOCTTY, 0,
                       RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS);
    close(directory);
    if (master >= 0 && (fstat(master, &status) < 0 || !S_ISCHR(status.st_mode) ||
                        status.st_rdev != makedev(TTYAUX_MAJOR, PTMX_MINOR))) {
        close(master);
        return -ENOTTY;
    }
    return master;
}

/* The other end, by the master itself and not by its name. */
static int open_peer(int master, const struct op_console *wanted)
{
    struct winsize size = {.ws_row = (unsigned short)wanted->rows, .ws_col = (unsigned short)wanted->columns};
    int unlocked = 0, peer, err;

    if (ioctl(master, TIOCSPTLCK, &unlocked) < 0)
        return -errno;
    if ((wanted->rows | wanted->columns) != 0 && ioctl(master, TIOCSWINSZ, &size) < 0)
        return -errno;
    peer = sys(ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
    if (peer < 0)
        return peer;
    err = sys(fchown(peer, wanted->owner, (gid_t)-1));
    if (err == 0)
        err = sys(fchmod(peer, 0620));
    if (err == 0)
        return peer;
    close(peer);
    return err;
}

static int bind_peer(struct stage *stage, int peer)
{
    int target = path_ensure(stage, "/dev/console", 0, 0600, 1), tree, err;
    struct stat status;

    if (target < 0)
        return fail(stage, DETAIL_TARGET, target);
    err = sys(fstat(target, &status));
    if (err == 0 && (S_ISLNK(status.st_mode) || S_ISDIR(status.st_mode)))
        err = S_ISLNK(status.st_mode) ? -ELOOP : -EISDIR;
    if (err < 0) {
        close(target);
        return fail(stage, DETAIL_TARGET, err);
    }
    tree = k_open_tree(peer, "", AT_EMPTY_PATH | OPEN_TREE_CLONE);
    err = tree < 0 ? tree : k_move_mount(tree, target);
    close(target);
    if (tree >= 0)
        close(tree);
    return err < 0 ? fail(stage, DETAIL_ATTACH, err) : 0;
}

int op_console(struct stage *stage, const struct step *step)
{
    int master = open_master(stage), peer, err;

    if (master < 0)
        return fail(stage, DETAIL_SOURCE, master);
    peer = open_peer(master, &step->console);
    if (peer < 0) {
        close(master);
        return fail(stage, DETAIL_CREATE, peer);
    }
    err = slot_fill(stage, step->console.peer, peer);
    if (err == 0)
        err = stage_report(stage, REPORT_FD, 0, 0, master);
    close(master);
    return err < 0 || !(step->flags & CONSOLE_BIND) ? err : bind_peer(stage, peer);
}

int op_controlling_tty(struct stage *stage, const struct step *step)
{
    int peer = stage->slots[step->controlling_tty.peer], err = sys(ioctl(peer, TIOCSCTTY, 0));

    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO && err >= 0; fd++)
        err = sys(syscall(SYS_dup3, peer, fd, 0));
    if (err < 0)
        return err;
    close(peer);
    stage->slots[step->controlling_tty.peer] = -1;
    return 0;
}
