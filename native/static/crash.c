/* A crash ends in one line and status 1: of pyoci's own code, or because a part of the executable's file is missing. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <ucontext.h>
#include <unistd.h>

#include "crash.h"
#include "snapshot.h"

enum { FAILURE = 1, STACK = 65536 };

#ifdef __aarch64__
#define PLACE(context) ((uint64_t)(context)->uc_mcontext.pc)
#else
#define PLACE(context) ((uint64_t)(context)->uc_mcontext.gregs[REG_RIP])
#endif

extern const char __executable_start[], _end[]; /* the linker's names */

static void on_crash(int number, siginfo_t *info, void *context)
{
    const char *address = info->si_addr;

    if (number == SIGBUS && ((address >= __executable_start && address < _end)
                             || (address >= snapshot && address < snapshot + SNAPSHOT_MAX)))
        dprintf(STDERR_FILENO, "pyoci: the executable is damaged: a part of its file is missing or cannot be read\n");
    else
        dprintf(STDERR_FILENO, "pyoci: internal error: a crash (signal %d at 0x%016jx); this is a defect, or the "
                "executable is damaged\n", number, (uintmax_t)PLACE((ucontext_t *)context));
    _exit(FAILURE);
}

/* Every signal is blocked in the handler: one more crash there ends the process, by the kernel. */
void watch_crashes(void)
{
    static char stack[STACK];
    static const int crashes[] = {SIGBUS, SIGSEGV, SIGILL, SIGFPE, SIGTRAP};
    const stack_t there = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction action = {.sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    sigfillset(&action.sa_mask);
    sigaltstack(&there, NULL);
    for (size_t i = 0; i < sizeof crashes / sizeof crashes[0]; i++)
        sigaction(crashes[i], &action, NULL);
}
