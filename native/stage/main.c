/* The static program: argv is {"pyoci-stage", number of the socket, count of preserved descriptors, CLONE_NEW*
 * flags}.  The namespaces of the flags are made at once, while the parent still plans; a step of the plan tells
 * how that went (op_unshare). */
#include "compat.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>

enum {
    SIGSET_BYTES = _NSIG / 8,       /* of the kernel's signal set; _NSIG is the C library's, one more than there are */
    SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE
};

/* A message that brings the plan: the first one names its size and carries the memfd before the inputs. */
struct delivery {
    uint32_t size;                  /* bytes of the plan, 0 in the messages that only bring more inputs */
    uint32_t ninputs;               /* inputs in all messages together */
    uint32_t traced;                /* report each step, with the time that it has taken */
};

static struct stage stage;

static _Noreturn void die(int err)
{
    stage_report(&stage, REPORT_FAILED, err, stage.detail, NO_FD);
    stage_end(1);
}

static int number(const char *text)
{
    int value = 0;
    if (*text == '\0')
        stage_end(1);
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9' || value > 200000000)
            stage_end(1);
        value = value * 10 + (*text - '0');
    }
    return value;
}

/* execve keeps ignored signals and the mask.  By raw calls: a C library hides the signals it uses itself. */
static void reset_signals(void)
{
    unsigned long zero[16] = { 0 };
    for (int signal = 1; signal < _NSIG; signal++)
        syscall(SYS_rt_sigaction, signal, zero, NULL, (size_t)SIGSET_BYTES);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, zero, NULL, (size_t)SIGSET_BYTES);
}

/* Receive one message.  Gives the number of descriptors; end of file ends the stage: the parent is gone. */
static unsigned receive(struct delivery *delivery, int fds[MESSAGE_FDS])
{
    unsigned count;
    int got = message_receive(stage.channel, delivery, sizeof *delivery, fds, &count);
    if (got == 0)
        stage_end(1);
    if (got < 0)
        die(got);
    return count;
}

static const struct plan *map_plan(int fd, uint32_t size)
{
    struct stat status;
    int seals = sys(fcntl(fd, F_GET_SEALS));
    if (seals < 0 || (seals & SEALS) != SEALS)
        die(-EPERM);
    if (fstat(fd, &status) < 0 || (uint64_t)status.st_size != size)
        die(-EINVAL);
    void *memory = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (memory == MAP_FAILED)
        die(-errno);
    close(fd);
    int checked = plan_check(memory, size);
    if (checked < 0)
        die(checked);
    return memory;
}

static const struct plan *receive_plan(void)
{
    static int fds[MESSAGE_FDS];
    struct delivery delivery;
    unsigned count = receive(&delivery, fds);
    if (count == 0)
        die(-EPROTO);
    uint32_t ninputs = delivery.ninputs;
    stage.traced = delivery.traced != 0;
    const struct plan *plan = map_plan(fds[0], delivery.size);
    if (ninputs != plan->ninputs)
        die(-EPROTO);
    memmove(fds, fds + 1, --count * sizeof *fds);
    for (uint32_t filled = 0;;) {
        if (count > ninputs - filled)
            die(-EPROTO);
        memcpy(stage.slots + filled, fds, count * sizeof *fds);
        filled += count;
        if (filled == ninputs)
            return plan;
        count = receive(&delivery, fds);
        if (count == 0 || delivery.size != 0)
            die(-EPROTO);
    }
}

int main(int argc, char **argv)
{
    /* A parent that died before this call shows as end of file on the channel. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    reset_signals();
    if (argc != 4)
        stage_end(1);
    stage_init(&stage);
    stage.channel = number(argv[1]);
    stage.preserve = number(argv[2]);
    if (fcntl(stage.channel, F_SETFD, FD_CLOEXEC) < 0)
        stage_end(1);
    stage.ahead = (uint64_t)number(argv[3]);
    if (stage.ahead != 0)
        stage.ahead_error = sys(syscall(SYS_unshare, (unsigned long)stage.ahead));
    stage.detail = DETAIL_PLAN;
    const struct plan *plan = receive_plan();
    int result = stage_run(&stage, plan);
    if (result < 0)
        die(result);
    stage_end(0);
}
