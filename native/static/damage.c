/* An executable that was truncated or altered after it was made, as far as that can be told cheaply.
 *
 * The process begins here, before libc reads its data, some of which lies at the file's end: a page that the file no
 * longer has is a SIGBUS, and code that is not what the compiler made ends soon in one of the other signals.  Their
 * handler says so in one line.  That early there are neither thread-local variables nor relocations, and what is
 * needed to say it must not be missing itself: the code and its texts stand together, in front of all other
 * code, and use nothing of libc.  A file that is too short for them, or has no headers, is the kernel's to refuse.
 *
 * A defect of pyoci's own ends in the same line.  Children start with all signals at their defaults.
 */
#define _GNU_SOURCE
#include <Python.h>

#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

#include "snapshot.h"

/* The largest page that the machine can have; tail.ld. */
#ifdef __aarch64__
enum { PAGE = 65536 };
#else
enum { PAGE = 4096 };
#endif
enum { STACK = 65536, EXIT_DAMAGED = 1, SA_RESTORER_FLAG = 0x04000000 };

/* The last page of the file that is loaded, see tail.ld: what is missing at its end reads as zeros.  Behind it a
 * snapshot ends in the same way. */
extern const volatile char pyoci_tail[PAGE];
const volatile char pyoci_tail[PAGE] __attribute__((section(".tail"), used)) = {[PAGE - 1] = 1};

extern const char __executable_start[], _end[];

#define EARLY __attribute__((no_stack_protector, noinline, section(".text.unlikely.damage")))
#define TEXT(name, words) \
    extern const char name[], name##_end[]; \
    __asm__(".pushsection .text.unlikely.damage, \"ax\", %progbits\n" #name ": .ascii \"" words "\"\n" \
            #name "_end:\n.popsection\n")

TEXT(text_missing, "pyoci: the executable is damaged: a part of its file is missing or cannot be read\\n");
TEXT(text_crash, "pyoci: internal error: a crash (signal ");
TEXT(text_place, " at 0x");
TEXT(text_reason, "); this is a defect, or the executable is damaged\\n");
#define PIECE(name) {(void *)(uintptr_t)name, (size_t)(name##_end - name)}

#if defined(__x86_64__)
static inline long call(long number, long a, long b, long c, long d)
{
    register long fourth __asm__("r10") = d;
    long result;

    __asm__ volatile("syscall" : "=a"(result) : "0"(number), "D"(a), "S"(b), "d"(c), "r"(fourth) : "rcx", "r11", "memory");
    return result;
}
#define PLACE(context) ((uint64_t)(context)->uc_mcontext.gregs[REG_RIP])
__asm__(".pushsection .text.unlikely.damage, \"ax\", %progbits\n.globl pyoci_entry\npyoci_entry:\n"
        "push %rdx\npush %rdx\ncall pyoci_watch\npop %rdx\npop %rdx\njmp _start\n.popsection\n");
#elif defined(__aarch64__)
static inline long call(long number, long a, long b, long c, long d)
{
    register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;

    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return x0;
}
#define PLACE(context) ((uint64_t)(context)->uc_mcontext.pc)
__asm__(".pushsection .text.unlikely.damage, \"ax\", %progbits\n.globl pyoci_entry\npyoci_entry:\n"
        "str x0, [sp, #-16]!\nbl pyoci_watch\nldr x0, [sp], #16\nb _start\n.popsection\n");
#else
#error "native/executable.py builds this for x86-64 and AArch64"
#endif

static EARLY void end(const struct iovec *pieces, long count)
{
    call(SYS_writev, STDERR_FILENO, (long)pieces, count, 0);
    for (;;)
        call(SYS_exit_group, EXIT_DAMAGED, 0, 0, 0);
}

/* Every signal is blocked meanwhile: one more fault ends us, by the kernel. */
static EARLY void on_crash(int number, siginfo_t *info, void *context)
{
    volatile char digits[2], place[2 * sizeof(uint64_t)];
    uint64_t left = PLACE((ucontext_t *)context);
    const char *address = info->si_addr;
    struct iovec missing[] = {PIECE(text_missing)};
    struct iovec crash[] = {PIECE(text_crash), {(void *)(uintptr_t)digits, sizeof digits}, PIECE(text_place),
                            {(void *)(uintptr_t)place, sizeof place}, PIECE(text_reason)};

    if (number == SIGBUS && ((address >= __executable_start && address < _end)
                             || (address >= snapshot.bytes && address < snapshot.bytes + SNAPSHOT_MAX)))
        end(missing, 1);
    digits[0] = (char)('0' + number / 10);
    digits[1] = (char)('0' + number % 10);
    for (int at = sizeof place - 1; at >= 0; at--, left >>= 4)
        place[at] = (char)((left & 15) + ((left & 15) < 10 ? '0' : 'a' - 10));
    end(crash, sizeof crash / sizeof crash[0]);
}

void pyoci_watch(void);

/* The handler never returns, so the kernel is not told how to.  Its stack is in the file, too: until all of that is
 * there the process' own is used. */
EARLY void pyoci_watch(void)
{
    static char stack[STACK];
    const volatile union snapshot *kept = &snapshot;
    struct {
        void (*handler)(int, siginfo_t *, void *);
        unsigned long flags;
        void *restorer;
        uint64_t mask;
    } action = {on_crash, SA_SIGINFO | SA_ONSTACK | SA_RESTORER_FLAG, NULL, ~0ULL};
    stack_t there = {.ss_sp = stack, .ss_size = sizeof stack};
    struct iovec missing[] = {PIECE(text_missing)};

    call(SYS_rt_sigaction, SIGBUS, (long)&action, 0, sizeof action.mask);
    if (!pyoci_tail[PAGE - 1] || (snapshot_is_here && (!kept->head.size || !kept->bytes[kept->head.size - 1])))
        end(missing, 1);
    call(SYS_sigaltstack, (long)&there, 0, 0, 0);
    call(SYS_rt_sigaction, SIGSEGV, (long)&action, 0, sizeof action.mask);
    call(SYS_rt_sigaction, SIGILL, (long)&action, 0, sizeof action.mask);
    call(SYS_rt_sigaction, SIGFPE, (long)&action, 0, sizeof action.mask);
    call(SYS_rt_sigaction, SIGTRAP, (long)&action, 0, sizeof action.mask);
}
