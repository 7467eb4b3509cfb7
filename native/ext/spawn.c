/* Starting the stage, and the parent's side of the conversation with it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../stage/stage.h"
#include "child.h"
#include "memory.h"
#include "spawn.h"

enum { RIGHTS_MAX = 253 };              /* SCM_MAX_FD of the kernel */

/* Close without disturbing the error that is being returned. */
static int close_failed(int fd, int err)
{
    close(fd);
    return err;
}

/* Run child_start with all signals blocked (the raw call: also those that libc keeps for itself).  A child
 * that did not reach its program is reaped here. */
static int start_blocked(struct child *child, uint64_t flags, int cgroup_fd, int *pidfd)
{
    const uint64_t all = ~0ULL;
    uint64_t before;
    long pid;

    child->begun = child->error = 0;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof all);
    pid = child_start(child, flags, cgroup_fd, pidfd);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof before);
    if (pid >= 0 && (!child->begun || child->error != 0)) {
        while (waitpid((pid_t)pid, NULL, 0) < 0 && errno == EINTR)
            ;
        return close_failed(*pidfd, child->begun ? -child->error : -ECHILD);
    }
    return (int)pid;
}

static void decimal(char *text, uint32_t number)
{
    char reversed[12];
    int length = 0;

    do {
        reversed[length++] = (char)('0' + (int)(number % 10));
        number /= 10;
    } while (number > 0);
    while (length > 0)
        *text++ = reversed[--length];
    *text = '\0';
}

/* Make the socket pair; the child's end gets a number behind the descriptors of the user's program. */
static int channel_pair(int preserve, int *ours, int *theirs)
{
    int pair[2], err = 0;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    *ours = pair[0];
    *theirs = fcntl(pair[1], F_DUPFD_CLOEXEC, 3 + preserve);
    if (*theirs < 0)
        err = close_failed(pair[0], -errno);
    return close_failed(pair[1], err);
}

/* The stage's arguments; see native/stage/main.c. */
struct birth {
    uint64_t clone_flags;
    uint32_t ahead_flags;
    int cgroup_fd, preserve;
};

static int start_stage(const struct birth *birth, int program, int socket, int *pidfd)
{
    char socket_text[12], preserve_text[12], ahead_text[12], name[] = "pyoci-stage";
    char *argv[] = {name, socket_text, preserve_text, ahead_text, NULL};
    char *env[] = {NULL};
    struct child child = {
        .argv = argv, .env = env, .path = "", .program_fd = program, .channel = socket,
        .preserve = birth->preserve, .input_fd = -1, .output_fd = -1, .directory_fd = -1,
        .keep_rights = (birth->clone_flags & CLONE_NEWUSER) != 0,
    };

    decimal(socket_text, (uint32_t)socket);
    decimal(preserve_text, (uint32_t)birth->preserve);
    decimal(ahead_text, birth->ahead_flags);
    return start_blocked(&child, birth->clone_flags, birth->cgroup_fd, pidfd);
}

int pyoci_spawn(uint64_t clone_flags, uint32_t ahead_flags, int cgroup_fd, int preserve, int *pidfd,
                int *channel)
{
    const struct birth birth = {clone_flags, ahead_flags, cgroup_fd, preserve};
    int ours = -1, theirs = -1, pid, program = stage_file();

    if (program < 0)
        return program;
    pid = preserve < 0 ? -EINVAL : channel_pair(preserve, &ours, &theirs);
    if (pid < 0)
        return close_failed(program, pid);
    pid = start_stage(&birth, program, theirs, pidfd);
    close(program);
    close(theirs);
    if (pid < 0)
        return close_failed(ours, pid);
    *channel = ours;
    return pid;
}

/* ---- the conversation ---- */

struct plan_head {
    uint32_t size;              /* of the plan; 0 in the messages that bring more descriptors */
    uint32_t ninputs;
    uint32_t traced;            /* whether the stage reports each step */
};

static int send_rights(int channel, struct plan_head head, const int *fds, size_t count)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(RIGHTS_MAX * sizeof(int))];
    } control;
    struct iovec iov = {&head, sizeof head};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    struct cmsghdr *rights;
    ssize_t sent;

    memset(&control, 0, sizeof control);
    message.msg_control = control.room;
    message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(rights), fds, count * sizeof(int));
    do
        sent = sendmsg(channel, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : 0;
}

int pyoci_send_plan(int channel, int memfd, uint32_t size, const int *fds, uint32_t nfds, int traced)
{
    struct plan_head head = {size, nfds, traced != 0};
    int batch[RIGHTS_MAX] = {memfd};
    uint32_t sent = 0;
    size_t used = 1;

    do {
        int err;

        while (used < RIGHTS_MAX && sent < nfds)
            batch[used++] = fds[sent++];
        err = send_rights(channel, head, batch, used);
        if (err < 0)
            return err;
        head.size = 0;
        used = 0;
    } while (sent < nfds);
    return 0;
}

static int received_fd(struct msghdr *message)
{
    int fd = -1;

    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part != NULL; part = CMSG_NXTHDR(message, part))
        if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS)
            memcpy(&fd, CMSG_DATA(part), sizeof fd);
    return fd;
}

static int is_whole(const struct msghdr *message, size_t size, const struct report *report)
{
    return !(message->msg_flags & (MSG_TRUNC | MSG_CTRUNC)) && size >= sizeof *report &&
           size - sizeof *report == report->length;
}

int pyoci_receive(int channel, struct report *report, char *text, uint32_t capacity, int *fd)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec iov[2] = {{report, sizeof *report}, {text, capacity}};
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = 2, .msg_control = control.room};
    ssize_t got;

    message.msg_controllen = sizeof control.room;
    *fd = -1;
    got = recvmsg(channel, &message, MSG_CMSG_CLOEXEC);
    if (got == 0 || (got < 0 && errno == ECONNRESET))
        return 0;               /* reset: the stage died with messages from us unread */
    if (got < 0)
        return -errno;
    *fd = received_fd(&message);
    if (is_whole(&message, (size_t)got, report))
        return 1;
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    return -EPROTO;
}

int pyoci_resume(int channel)
{
    ssize_t sent;

    do
        sent = send(channel, "", 1, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : 0;
}

/* ---- steps in this process ---- */

int pyoci_run_steps(const void *plan, size_t size, int *slots, uint32_t nslots, uint32_t *failed_step,
                    uint32_t *detail)
{
    const struct plan *head = plan;
    struct stage *stage;
    int err;

    *failed_step = 0;
    *detail = DETAIL_PLAN;
    if (plan_check(plan, size) < 0 || head->nslots > nslots)
        return -EINVAL;
    stage = malloc(sizeof *stage);
    if (stage == NULL)
        return -ENOMEM;
    stage_init(stage);
    memcpy(stage->slots, slots, head->nslots * sizeof(int));
    err = stage_run(stage, plan);
    memcpy(slots, stage->slots, head->nslots * sizeof(int));
    *failed_step = err < 0 ? stage->current : 0;
    *detail = err < 0 ? stage->detail : 0;
    if (stage->procfs >= 0)
        close(stage->procfs);
    free(stage);
    return err;
}

/* ---- programs of the host ---- */

/* Fill argv, which has room for count + 1, from strings that lie one behind the other. */
static char **unpack(const char *strings, uint32_t count)
{
    char **list = calloc((size_t)count + 1, sizeof *list);

    for (uint32_t i = 0; list != NULL && i < count; i++) {
        list[i] = (char *)(uintptr_t)strings;           /* execve(2) does not write to them */
        strings += strlen(strings) + 1;
    }
    return list;
}

/* A descriptor above the standard ones, so that arranging 0, 1 and 2 cannot overwrite it. */
static int above_stdio(int fd, int flags)
{
    if (fd >= 0)
        return fcntl(fd, F_DUPFD_CLOEXEC, 3);
    fd = open("/dev/null", flags | O_CLOEXEC);
    return fd < 0 || fd > 2 ? fd : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

int pyoci_execute(const char *path, const char *argv, uint32_t argc, const char *env, uint32_t envc,
                  int input_fd, int output_fd, int directory_fd, int bound, int *pidfd)
{
    char **argv_list = unpack(argv, argc), **env_list = unpack(env, envc);
    struct child child = {
        .argv = argv_list, .env = env_list, .path = path, .program_fd = -1, .channel = -1, .preserve = 0,
        .input_fd = above_stdio(input_fd, O_RDONLY), .output_fd = above_stdio(output_fd, O_WRONLY),
        .directory_fd = directory_fd, .detach = 1, .bound_to = bound ? getpid() : 0,
    };
    int pid = -ENOMEM;

    if (child.input_fd < 0 || child.output_fd < 0)
        pid = -errno;
    else if (argv_list != NULL && env_list != NULL)
        pid = start_blocked(&child, 0, -1, pidfd);
    if (child.input_fd >= 0)
        close(child.input_fd);
    if (child.output_fd >= 0)
        close(child.output_fd);
    free(argv_list);
    free(env_list);
    return pid;
}
