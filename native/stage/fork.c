/* The change to a new process, and what the old one can still do for it.
 *
 * A process in another user namespace may not reach every path of the host, nor map the ids of its mounts.  The
 * helper is the process from before: it has the credentials for that, joins the new one's mount namespace, so that
 * the kernel finds locked there what the host has mounted, and hands over what it opens. */
#include "compat.h"

#include <errno.h>
#include <linux/sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

/* Filters that are in force before a startContainer hook often know no clone3. */
static int old_clone(uint64_t flags, int *pidfd)
{
#ifdef __s390x__
    return sys(syscall(SYS_clone, 0, flags, pidfd, NULL, NULL));
#else
    return sys(syscall(SYS_clone, flags, 0, pidfd, NULL, NULL));
#endif
}

int process_copy(uint64_t flags, unsigned exit_signal, int *pidfd)
{
    struct clone_args args;
    int err;

    memset(&args, 0, sizeof args);
    args.flags = flags | CLONE_PIDFD;
    args.pidfd = (uintptr_t)pidfd;
    args.exit_signal = exit_signal;
    err = sys(syscall(SYS_clone3, &args, sizeof args));
    if ((err == -ENOSYS || err == -EPERM) && !(flags & CLONE_NEWTIME))
        err = old_clone(flags | CLONE_PIDFD | exit_signal, pidfd);
    return err;
}

/* The child waits until the old process has told the parent about it: a barrier of the child must not be
 * the first that the parent hears. */
static int fork_child(struct stage *stage, const int pair[2])
{
    char byte;
    int got;
    unsigned tries = 0;

    close(pair[1]);
    do
        got = sys(read(pair[0], &byte, 1));
    while (interrupted(got, &tries));
    if (got != 1)
        stage_end(1);
    close(pair[0]);
    return die_with_parent(stage);
}

/* ---- the helper ---- */

struct answer {
    int32_t result;                 /* 0 or a negative errno */
    uint32_t detail;                /* enum detail */
};

/* fds: a mount namespace, and the root directory there, which is not the namespace's own after a chroot(2). */
static int enter(struct stage *stage, const int fds[2])
{
    int result = sys(syscall(SYS_setns, fds[0], CLONE_NEWNS));

    if (result == 0)
        result = sys(fchdir(fds[1]));
    if (result == 0)
        result = sys(chroot("."));
    return result < 0 ? fail(stage, DETAIL_SOURCE, result) : 0;
}

/* Do one step for the stage.  Gives 0, a descriptor for it, or a negative errno. */
static int help_with(struct stage *stage, uint32_t index, const int *fds, unsigned nfds)
{
    const struct step *step = &stage->steps[index];

    stage->detail = DETAIL_PLAN;
    stage->current = index;
    if (step->op == OP_HELPER_ENTER && nfds == 2)
        return enter(stage, fds);
    if (step->op == OP_OPEN_TREE && nfds < 2)
        return tree_open(stage, step, nfds == 1 ? fds[0] : NO_FD);
    if (step->op == OP_SET_ATTRIBUTES && nfds == 1)
        return tree_set(stage, step, fds[0]);
    return -EINVAL;
}

static _Noreturn void help(struct stage *stage, int socket)
{
    static int fds[MESSAGE_FDS];
    uint32_t index;
    unsigned nfds;

    close(stage->channel);
    stage->channel = -1;
    while (message_receive(socket, &index, sizeof index, fds, &nfds) == 1) {
        int result = help_with(stage, index, fds, nfds);
        struct answer answer = { result < 0 ? result : 0, stage->detail };

        if (message_send(socket, &answer, sizeof answer, &result, result > 0) < 0)
            break;
        if (result > 0)
            close(result);
        while (nfds > 0)
            close(fds[--nfds]);
    }
    stage_end(0);
}

static int ask(struct stage *stage, const int *fds, unsigned nfds)
{
    static int received[MESSAGE_FDS];
    struct answer answer;
    unsigned count;
    int result;

    if (stage->helper < 0)
        return fail(stage, DETAIL_PLAN, EINVAL);
    result = message_send(stage->helper, &stage->current, sizeof stage->current, fds, nfds);
    if (result == 0)
        result = message_receive(stage->helper, &answer, sizeof answer, received, &count);
    if (result <= 0)
        return fail(stage, DETAIL_SOURCE, result < 0 ? result : EPIPE);
    if (answer.result < 0)
        return fail(stage, answer.detail, answer.result);
    return count > 0 ? received[0] : 0;
}

int helper_ask(struct stage *stage, int fd)
{
    return ask(stage, &fd, fd >= 0);
}

/* By descriptor: a pidfd would take the right to trace this process. */
int op_helper_enter(struct stage *stage, const struct step *step)
{
    int directory = proc_open(stage, "self/ns", O_PATH | O_DIRECTORY), fds[2], result;

    (void)step;
    if (directory < 0)
        return directory;
    fds[0] = sys(openat(directory, "mnt", O_RDONLY | O_CLOEXEC));
    close(directory);
    if (fds[0] < 0)
        return fds[0];
    fds[1] = sys(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
    result = fds[1] < 0 ? fds[1] : ask(stage, fds, 2);
    close(fds[0]);
    if (fds[1] >= 0)
        close(fds[1]);
    return result;
}

int op_helper_end(struct stage *stage, const struct step *step)
{
    (void)step;
    if (stage->helper >= 0)
        close(stage->helper);
    stage->helper = -1;
    return 0;
}

/* ---- the fork ---- */

/* In the old process, once there is a child: tell the parent, let the child go on, and stay or not. */
static _Noreturn void leave(struct stage *stage, int pidfd, const int pair[2], const int sockets[2])
{
    if (stage_report(stage, REPORT_CHILD, 0, 0, pidfd) < 0 || write(pair[1], "", 1) != 1)
        stage_end(1);
    if (sockets[0] < 0)
        stage_end(0);
    close(pair[0]);
    close(pair[1]);
    close(pidfd);
    close(sockets[1]);
    help(stage, sockets[0]);
}

int op_fork(struct stage *stage, const struct step *step)
{
    int pair[2], sockets[2] = {-1, -1}, pidfd = -1, result;

    if (stage->channel < 0)
        return -EINVAL;
    result = sys(syscall(SYS_pipe2, pair, O_CLOEXEC));
    if (result == 0 && step->flags & FORK_HELPER)
        result = sys(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets));
    if (result < 0)
        return result;
    result = process_copy(step->fork.namespaces | CLONE_PARENT, 0, &pidfd);
    if (result < 0)
        return result;
    if (result > 0)
        leave(stage, pidfd, pair, sockets);
    if (sockets[0] >= 0) {
        close(sockets[0]);
        stage->helper = sockets[1];
    }
    return fork_child(stage, pair);
}
