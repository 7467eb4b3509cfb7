/* What happens between clone3(2) and execve(2): it runs in memory shared with the suspended parent. */
#ifndef PYOCI_CHILD_H
#define PYOCI_CHILD_H

#include <stdint.h>

/* What a new process does before it becomes another program; filled by the parent, read by the child. */
struct child {
    char *const *argv;
    char *const *env;
    const char *path;           /* program; "" with program_fd */
    int program_fd;             /* memfd of the program, or -1 */
    int channel;                /* the one descriptor that stays open beside the preserved ones, or -1 */
    int preserve;               /* descriptors 3 … 2+preserve are left as they are */
    int input_fd;               /* becomes 0, or -1: leave */
    int output_fd;              /* becomes 1 and 2, or -1: leave */
    int directory_fd;           /* working directory, or -1 */
    int keep_rights;            /* the capabilities of a new user namespace outlive execve */
    int bound_to;               /* pid of the parent, with which it is to die, or 0 */
    int detach;                 /* own session, default signals, empty mask */
    volatile int begun;         /* it has run: 0 when it was killed before that */
    volatile int error;         /* errno of what failed; 0 when execve was reached and did not return */
};

/* clone3(CLONE_VFORK …) with flags; returns the pid when the child has called execve or has ended, or a
 * negative errno.  The caller has blocked all signals. */
long child_start(struct child *child, uint64_t flags, int cgroup_fd, int *pidfd);

#endif
