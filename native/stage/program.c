/* Barriers, the gate, hooks, and the container's program. */
#include "compat.h"

#include <errno.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

enum { FIRST_BEHIND_STDERR = STDERR_FILENO + 1 };

/* ---- barriers and the gate ---- */

/* With BARRIER_OUTLIVE the parent may exit as soon as it has answered, so the parent-death signal is cleared before the
 * report; if the parent dies before it answers, the stage sees end of file.  With BARRIER_HANG_UP a gate follows, and
 * the process that opens it gets the later reports.  Otherwise the channel is closed by exec, which is how the parent
 * learns of success. */
int op_barrier(struct stage *stage, const struct step *step)
{
    int err = 0;

    if (stage->channel < 0)
        return -EINVAL;
    if (step->flags & BARRIER_OUTLIVE)
        err = outlive_parent(stage);
    if (err == 0)
        err = stage_report(stage, REPORT_BARRIER, 0, step->barrier.point, NO_FD);
    if (err == 0)
        err = stage_wait_go(stage);
    if (err == 0 && step->flags & BARRIER_HANG_UP) {
        close(stage->channel);
        stage->channel = -1;
    }
    return err;
}

static void leave(int signal)
{
    stage_end(128 + signal);
}

/* Process 1 of a PID namespace is spared signals with default action, so `kill` before `start` needs
 * handlers.  execve(2) takes them away. */
int gate_signals(void)
{
    static const int ends[] = {SIGTERM, SIGINT, SIGHUP};
    struct sigaction action;

    memset(&action, 0, sizeof action);
    action.sa_handler = leave;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        int err = sys(sigaction(ends[i], &action, NULL));

        if (err < 0)
            return err;
    }
    return 0;
}

int op_gate(struct stage *stage, const struct step *step)
{
    int filtered = step->flags & GATE_FILTERED, got, err = filtered ? 0 : gate_signals();
    char byte;

    if (err < 0)
        return err;
    got = read_byte(stage, stage->slots[step->gate.opener], &byte);
    if (got != 1)
        return got < 0 ? got : -EPIPE;
    stage->traced = byte == GATE_TRACED && !filtered;
    stage->status = stage->slots[step->gate.reports];
    return 0;
}

/* ---- the user's program ---- */

static int executable(const char *path)
{
    struct stat status;
    int err;

    if (stat(path, &status) < 0)
        return -errno;
    if (!S_ISREG(status.st_mode))
        return -EACCES;
    err = sys(syscall(SYS_faccessat2, AT_FDCWD, path, X_OK, AT_EACCESS));
    if (err == -ENOSYS || err == -EPERM)        /* a filter that is already in force, and older than this call */
        err = sys(syscall(SYS_faccessat, AT_FDCWD, path, X_OK));
    return err;
}

/* As execvp(3) searches PATH: what may not be executed is remembered, and the search goes on. */
int op_resolve_exec(struct stage *stage, const struct step *step)
{
    const struct list candidates = step->resolve_exec.candidates;
    const char *path = first_of(stage, candidates), *worst_path = path;
    int worst = -ENOENT;

    for (uint32_t i = 0; i < candidates.count; i++, path += strlen(path) + 1) {
        int err = executable(path);

        if (err == 0) {
            stage->exec_path = path;
            return 0;
        }
        if (err != -ENOENT && err != -ENOTDIR) {
            worst = err;
            worst_path = path;
        }
    }
    if (candidates.count > 0)
        tell_why_not_run(stage, worst_path, worst);
    return fail(stage, worst == -ENOENT ? DETAIL_NOT_FOUND : DETAIL_NOT_EXECUTABLE, worst);
}

int op_exec(struct stage *stage, const struct step *step)
{
    char **argv = string_list(stage, step->exec.args), **env = string_list(stage, step->exec.environment);
    int err = 0;

    if (argv == NULL || env == NULL)
        return -ENOMEM;
    if (stage->exec_path == NULL)
        return fail(stage, DETAIL_NOT_FOUND, ENOENT);
    if (step->flags & EXEC_REPORT)
        err = stage_report(stage, REPORT_EXECUTING, 0, 0, NO_FD);
    if (err < 0)
        return err;
    err = sys(execve(stage->exec_path, argv, env));
    tell_why_not_run(stage, stage->exec_path, err);
    return err;
}

/* The descriptors that stay open at op_close: those of the conversation, and the slots that later steps need. */
struct kept {
    const struct stage *stage;
    const int32_t *slots;
    uint32_t count;
};

static int is_kept(const struct kept *kept, int fd)
{
    if (fd == kept->stage->channel || fd == kept->stage->status)
        return 1;
    for (uint32_t i = 0; i < kept->count; i++)
        if (fd == kept->stage->slots[kept->slots[i]])
            return 1;
    return 0;
}

static int last_kept(const struct kept *kept, int last)
{
    last = kept->stage->channel > last ? kept->stage->channel : last;
    last = kept->stage->status > last ? kept->stage->status : last;
    for (uint32_t i = 0; i < kept->count; i++) {
        int fd = kept->stage->slots[kept->slots[i]];

        last = fd > last ? fd : last;
    }
    return last;
}

/* execve(2) resolves its path before descriptors close on exec, so a program called /proc/self/fd/N/… could
 * name what the stage has open (CVE-2024-21626): they are closed here.  Among the numbers that are
 * preserved for the user lie some of ours when the caller left them free; those close on exec, which no
 * inherited descriptor does. */
int op_close(struct stage *stage, const struct step *step)
{
    const struct kept kept = { stage, array_at(stage, step->close.keep), step->close.keep.count };
    int first, last;

    if (step->close.preserved > INT32_MAX - FIRST_BEHIND_STDERR)
        return -EINVAL;
    first = FIRST_BEHIND_STDERR + (int)step->close.preserved;
    for (int fd = FIRST_BEHIND_STDERR; fd < first; fd++) {
        int flags = fcntl(fd, F_GETFD);

        if (flags >= 0 && (flags & FD_CLOEXEC) && !is_kept(&kept, fd))
            close(fd);
    }
    last = last_kept(&kept, first - 1);
    for (int fd = first; fd <= last; fd++)
        if (!is_kept(&kept, fd))
            close(fd);
    if (syscall(SYS_close_range, last + 1, ~0U, 0) < 0)
        return -errno;
    stage->root = stage->procfs = -1;
    for (uint32_t i = 0; i < stage->plan->nslots; i++)
        if (!is_kept(&kept, stage->slots[i]))
            stage->slots[i] = -1;
    return sys(syscall(SYS_close_range, first, ~0U, CLOSE_RANGE_CLOEXEC));
}

/* ---- hooks ---- */

struct hook {
    const char *path;
    char **argv;
    char **env;
    int input;
    int pidfd;
    int output[2];              /* pipe: its standard output and error */
    int failure[2];             /* pipe: errno when the program could not be run */
    int64_t timeout;            /* seconds, 0 for none */
};

static void close_pair(int pair[2])
{
    for (int i = 0; i < 2; i++) {
        if (pair[i] >= 0)
            close(pair[i]);
        pair[i] = -1;
    }
}

/* In the new process: a session of its own, its three descriptors, and away. */
static _Noreturn void hook_child(const struct hook *hook)
{
    int err;

    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    syscall(SYS_setsid);
    /* Only the user's preserved descriptors could stay open, where a filter forbids this. */
    syscall(SYS_close_range, FIRST_BEHIND_STDERR, ~0U, CLOSE_RANGE_CLOEXEC);
    if (dup2(hook->input, STDIN_FILENO) >= 0 && dup2(hook->output[1], STDOUT_FILENO) >= 0
        && dup2(hook->output[1], STDERR_FILENO) >= 0)
        execve(hook->path, hook->argv, hook->env);
    err = errno;
    if (write(hook->failure[1], &err, sizeof err) < 0)
        stage_end(126);
    stage_end(127);
}

/* Keep the end of what the hook prints.  1 at the end of file, 0 when there is nothing more for now. */
static int keep_output(struct stage *stage, int fd)
{
    char chunk[1024];
    int rounds = 64;            /* what a pipe holds; a program left in the background may go on for ever */

    while (rounds-- > 0) {
        int got = sys(read(fd, chunk, sizeof chunk));
        uint32_t over;

        if (got <= 0)
            return got != -EAGAIN;
        over = stage->length + (uint32_t)got;
        over = over > REPORT_MAX_TEXT ? over - REPORT_MAX_TEXT : 0;
        memmove(stage->text, stage->text + over, stage->length - over);
        stage->length -= over;
        memcpy(stage->text + stage->length, chunk, (size_t)got);
        stage->length += (uint32_t)got;
    }
    return 0;
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Collect output until the hook itself has ended (not what it left in the background). */
static int watch_hook(struct stage *stage, const struct hook *hook)
{
    struct pollfd waits[2] = {{hook->pidfd, POLLIN, 0}, {hook->output[0], POLLIN, 0}};
    int64_t end = now_ms() + hook->timeout * 1000;
    unsigned tries = 0;

    for (;;) {
        int64_t left = end - now_ms();
        int ready;

        if (hook->timeout > 0 && left <= 0)
            return -ETIMEDOUT;
        ready = sys(poll(waits, 2, hook->timeout == 0 ? -1 : left > 60000 ? 60000 : (int)left));
        if (ready < 0 && !interrupted(ready, &tries))
            return ready;
        if (ready > 0 && waits[1].revents && keep_output(stage, waits[1].fd))
            waits[1].fd = -1;
        if (ready > 0 && waits[0].revents) {
            if (waits[1].fd >= 0)
                keep_output(stage, waits[1].fd);
            return 0;
        }
    }
}

static int wait_hook(struct stage *stage, const struct hook *hook, int pid)
{
    int err = watch_hook(stage, hook), status = 0, exec_error, waited;
    unsigned tries = 0;

    /* Its group; or itself, when it has not made one yet.  Where a filter forbids both it dies with us. */
    if (err < 0 && kill(-pid, SIGKILL) < 0 && kill(pid, SIGKILL) < 0)
        return err;
    do
        waited = sys(waitpid(pid, &status, 0));
    while (interrupted(waited, &tries));
    if (err == 0 && read(hook->failure[0], &exec_error, sizeof exec_error) == sizeof exec_error)
        return -exec_error;
    if (err < 0 || waited < 0)
        return err < 0 ? err : waited;
    return status == 0 ? 0 : fail(stage, (uint32_t)status, ECHILD);
}

static int start_hook(struct stage *stage, struct hook *hook)
{
    int err = sys(syscall(SYS_pipe2, hook->output, O_CLOEXEC)), pid;

    if (err == 0)
        err = sys(syscall(SYS_pipe2, hook->failure, O_CLOEXEC));
    if (err == 0)
        err = sys(fcntl(hook->output[0], F_SETFL, O_NONBLOCK));
    if (err < 0)
        return err;
    pid = process_copy(0, SIGCHLD, &hook->pidfd);
    if (pid == 0)
        hook_child(hook);
    if (pid < 0)
        return pid;
    close(hook->output[1]);
    close(hook->failure[1]);
    hook->output[1] = hook->failure[1] = -1;
    err = wait_hook(stage, hook, pid);
    close(hook->pidfd);
    return err;
}

int op_hook(struct stage *stage, const struct step *step)
{
    struct hook hook = {
        .path = string_at(stage, step->hook.program),
        .argv = string_list(stage, step->hook.args),
        .env = string_list(stage, step->hook.environment),
        .input = stage->slots[step->hook.state],
        .pidfd = -1, .output = {-1, -1}, .failure = {-1, -1},
        .timeout = step->hook.timeout,
    };
    int err;

    if (hook.argv == NULL || hook.env == NULL)
        return -ENOMEM;
    if (lseek(hook.input, 0, SEEK_SET) < 0)
        return -errno;
    stage->length = 0;
    err = start_hook(stage, &hook);
    close_pair(hook.output);
    close_pair(hook.failure);
    return err;
}
