/*
 * Preloaded into User-Mode Linux. Linux 6.1 as a process keeps 2696 bytes of its programs' FPU state, enough for
 * AVX-512. A host kernel sets that state only from a buffer of its own full size, which is larger on processors with
 * AMX (ptrace then fails with EFAULT and no program starts). So a short state is completed from the current one.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static char whole[1 << 16] __attribute__((aligned(64)));

static long set_state(long pid, const struct iovec *given)
{
    struct iovec full = { whole, sizeof(whole) };

    if (syscall(SYS_ptrace, PTRACE_GETREGSET, pid, NT_X86_XSTATE, &full) < 0)
        return -1;
    if (given->iov_len < full.iov_len)
        memcpy(whole, given->iov_base, given->iov_len);
    else
        full = *given;
    return syscall(SYS_ptrace, PTRACE_SETREGSET, pid, NT_X86_XSTATE, &full);
}

long ptrace(enum __ptrace_request request, ...)
{
    va_list args;
    long pid, result, peeked;
    void *addr, *data;

    va_start(args, request);
    pid = va_arg(args, int);
    addr = va_arg(args, void *);
    data = va_arg(args, void *);
    va_end(args);
    if (request == PTRACE_SETREGSET && addr == (void *)NT_X86_XSTATE)
        return set_state(pid, data);
    if (request != PTRACE_PEEKTEXT && request != PTRACE_PEEKDATA && request != PTRACE_PEEKUSER)
        return syscall(SYS_ptrace, request, pid, addr, data);
    result = syscall(SYS_ptrace, request, pid, addr, &peeked); /* the C library returns the word itself */
    return result < 0 ? result : peeked;
}
