/* The child's side of a spawn.
 *
 * The child shares our memory (CLONE_VM) while we are suspended (CLONE_VFORK), as posix_spawn(3) does it,
 * so that a start costs nothing for the size of Python's heap.  Therefore the code below touches no Python
 * object, takes no lock and allocates nothing: it makes system calls through syscall(2), and a test reads
 * with nm that this file needs no more than that (and mmap for the parent).  It runs on a stack of its own.
 */
#define _GNU_SOURCE
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { STACK_SIZE = 65536, SIGNALS = 64, EXEC_FAILED = 127 };

/* Reset every signal to its default action and empty the mask: both outlive execve(2). */
static void reset_signals(void)
{
    uint64_t action[8] = {0};       /* struct sigaction of the kernel is nowhere longer; zero is SIG_DFL */
    uint64_t mask = 0;

    for (long number = 1; number <= SIGNALS; number++)
        syscall(SYS_rt_sigaction, number, action, NULL, sizeof mask);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof mask);
}

/* The first process of a user namespace has all capabilities there.  Without ids in it yet, it is not root,
 * and would lose them by execve(2) but for the ambient set; capabilities(7).  What cannot be kept shows when
 * the stage misses it. */
static void keep_rights(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {{0, 0, 0}, {0, 0, 0}};

    syscall(SYS_capget, &header, data);
    data[0].inheritable = data[0].permitted;
    data[1].inheritable = data[1].permitted;
    syscall(SYS_capset, &header, data);
    for (long cap = 0; cap < 64; cap++)
        if (syscall(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
            break;
}

static long move_fd(int fd, int number)
{
    return fd < 0 ? 0 : syscall(SYS_dup3, fd, number, 0);
}

/* Put the descriptors where the program expects them; all others close on exec. */
static long arrange_fds(const struct child *child)
{
    if (move_fd(child->input_fd, 0) < 0 || move_fd(child->output_fd, 1) < 0 || move_fd(child->output_fd, 2) < 0)
        return -1;
    if (syscall(SYS_close_range, 3 + child->preserve, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
        return -1;
    return child->channel < 0 ? 0 : syscall(SYS_fcntl, child->channel, F_SETFD, 0);
}

/* The trap is for an outer seccomp filter that refuses exit_group(2): there is nothing to return to. */
static _Noreturn void end(void)
{
    syscall(SYS_exit_group, EXEC_FAILED);
    __builtin_trap();
}

/* Die with the parent.  One that died before this call is no longer our parent. */
static void bind(const struct child *child)
{
    syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (syscall(SYS_getppid) != child->bound_to)
        end();
}

static void child_main(struct child *child)
{
    child->begun = 1;
    if (child->bound_to)
        bind(child);
    if (child->detach)
        syscall(SYS_setsid);
    if (arrange_fds(child) < 0 || (child->directory_fd >= 0 && syscall(SYS_fchdir, child->directory_fd) < 0)) {
        child->error = errno;
        end();
    }
    if (child->keep_rights)
        keep_rights();
    if (child->detach)
        reset_signals();
    if (child->program_fd >= 0)
        syscall(SYS_execveat, child->program_fd, "", child->argv, child->env, AT_EMPTY_PATH);
    else
        syscall(SYS_execve, child->path, child->argv, child->env);
    child->error = errno;
    end();
}

#if defined(__x86_64__)
/* The child starts on an empty stack: it cannot return through frames of the parent's, so it is sent into
 * child_main from here. */
static __attribute__((noinline)) long clone_and_run(struct clone_args *args, struct child *child)
{
    long result = SYS_clone3;

    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "mov %[child], %%rdi\n\t"
                     "call *%[run]\n\t"
                     "hlt\n"
                     "1:"
                     : "+a"(result)
                     : "D"(args), "S"(sizeof *args), [run] "r"(child_main), [child] "r"(child)
                     : "rcx", "r11", "memory", "cc");
    return result;
}
enum { SHARED_MEMORY = 1 };
#elif defined(__aarch64__)
static __attribute__((noinline)) long clone_and_run(struct clone_args *args, struct child *child)
{
    register long number __asm__("x8") = SYS_clone3;
    register long result __asm__("x0") = (long)args;
    register long size __asm__("x1") = (long)sizeof *args;

    __asm__ volatile("svc #0\n\t"
                     "cbnz x0, 1f\n\t"
                     "mov x29, #0\n\t"
                     "mov x0, %[child]\n\t"
                     "blr %[run]\n\t"
                     "brk #0\n"
                     "1:"
                     : "+r"(result)
                     : "r"(number), "r"(size), [run] "r"(child_main), [child] "r"(child)
                     : "memory", "cc");
    return result;
}
enum { SHARED_MEMORY = 1 };
#else
/* Elsewhere the child gets a copy of our memory, and *child lies in a shared page. */
static long clone_and_run(struct clone_args *args, struct child *child)
{
    long result = syscall(SYS_clone3, args, sizeof *args);

    if (result == 0)
        child_main(child);
    return result < 0 ? -errno : result;
}
enum { SHARED_MEMORY = 0 };
#endif

long child_start(struct child *child, uint64_t flags, int cgroup_fd, int *pidfd)
{
    void *stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct clone_args args = {0};
    struct child *shared = stack;           /* at the low end */
    long pid;

    if (stack == MAP_FAILED)
        return -errno;
    *shared = *child;
    args.flags = flags | CLONE_VFORK | CLONE_PIDFD | CLONE_CLEAR_SIGHAND;
    args.exit_signal = SIGCHLD;
    args.pidfd = (uint64_t)(uintptr_t)pidfd;
    if (SHARED_MEMORY) {
        args.flags |= CLONE_VM;
        args.stack = (uint64_t)(uintptr_t)stack;
        args.stack_size = STACK_SIZE;
    }
    if (cgroup_fd >= 0) {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = (unsigned)cgroup_fd;
    }
    pid = clone_and_run(&args, shared);
    child->begun = shared->begun;
    child->error = shared->error;
    munmap(stack, STACK_SIZE);
    return pid;
}
