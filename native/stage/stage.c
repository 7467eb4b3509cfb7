/* Run the steps of a plan, and report to the parent. */
#include "compat.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>

enum { RETRIES_MAX = 1024 };

int sys(long result)
{
    return result < 0 ? -errno : (int)result;
}

int fail(struct stage *stage, uint32_t detail, int err)
{
    stage->detail = detail;
    return err < 0 ? err : -err;
}

int interrupted(long result, unsigned *tries)
{
    return result == -EINTR && ++*tries < RETRIES_MAX;
}

void stage_end(int status)
{
    syscall(SYS_exit_group, status);
    syscall(SYS_exit, status);
    __builtin_trap();
}

void *bump(size_t size)
{
    static char *next;
    static size_t left;
    size = (size + 15) & ~(size_t)15;
    if (size > left) {
        size_t chunk = size > 65536 ? size : 65536;
        void *memory = mmap(NULL, chunk, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED)
            return NULL;
        next = memory;
        left = chunk;
    }
    void *result = next;
    next += size;
    left -= size;
    return result;
}

const char *string_at(const struct stage *stage, struct text text)
{
    return stage->strings + text.offset;
}

const char *first_of(const struct stage *stage, struct list list)
{
    return stage->strings + list.offset;
}

const void *array_at(const struct stage *stage, struct array array)
{
    return stage->strings + array.offset;
}

char **string_list(const struct stage *stage, struct list list)
{
    char **strings = bump((list.count + (size_t)1) * sizeof *strings);
    if (strings == NULL)
        return NULL;
    const char *string = first_of(stage, list);
    for (uint32_t i = 0; i < list.count; i++) {
        strings[i] = (char *)(uintptr_t)string;
        string += strlen(string) + 1;
    }
    strings[list.count] = NULL;
    return strings;
}

void stage_init(struct stage *stage)
{
    memset(stage, 0, sizeof *stage);
    memset(stage->slots, 0xff, sizeof stage->slots);
    stage->root = stage->procfs = stage->channel = stage->status = stage->helper = -1;
    stage->reached = NO_SLOT;
}

int slot_fill(struct stage *stage, int32_t slot, int fd)
{
    if (fd < 0)
        return fd;
    if (stage->slots[slot] >= 0 && stage->slots[slot] != stage->root)
        close(stage->slots[slot]);
    stage->slots[slot] = fd;
    return 0;
}

static uint64_t microseconds(void)
{
    struct timespec now = { 0, 0 };
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

int stage_run(struct stage *stage, const void *memory)
{
    stage->plan = memory;
    stage->steps = (const struct step *)(const void *)(stage->plan + 1);
    stage->strings = (const char *)(stage->steps + stage->plan->nsteps);
    for (uint32_t i = 0; i < stage->plan->nsteps; i++) {
        stage->current = i;
        stage->detail = DETAIL_NONE;
        stage->length = 0;
        uint64_t begun = stage->traced ? microseconds() : 0;
        int result = step_table[stage->steps[i].op](stage, &stage->steps[i]);
        if (result < 0)
            return result;
        if (stage->traced && begun != 0)        /* not the gate that has asked for it */
            stage_report(stage, REPORT_STEP, 0, (uint32_t)(microseconds() - begun), NO_FD);
    }
    return 0;
}

/* ---- reports ---- */

int stage_report(struct stage *stage, uint32_t kind, int err, uint32_t detail, int fd)
{
    static union {
        struct report head;
        char bytes[sizeof(struct report) + REPORT_MAX_TEXT];
    } message;
    int target = stage->status >= 0 ? stage->status : stage->channel;
    if (target < 0)
        return 0;
    uint32_t length = stage->length <= REPORT_MAX_TEXT ? stage->length : REPORT_MAX_TEXT;
    message.head = (struct report){ kind, stage->current, err < 0 ? -err : err, detail, length };
    memcpy(message.bytes + sizeof message.head, stage->text, length);
    size_t size = sizeof message.head + length;
    if (fd >= 0) {
        int sent = message_send(target, message.bytes, size, &fd, 1);
        return sent < 0 ? sent : 0;
    }
    unsigned tries = 0;
    int written;
    do
        written = sys(write(target, message.bytes, size));
    while (interrupted(written, &tries));
    return written < 0 ? written : 0;
}

int read_byte(const struct stage *stage, int fd, char *byte)
{
    struct iovec part = { .iov_base = byte, .iov_len = 1 };
    unsigned tries = 0;
    int got;
    do
        got = sys(stage->by_readv ? syscall(SYS_readv, fd, &part, 1) : read(fd, byte, 1));
    while (interrupted(got, &tries));
    return got;
}

int stage_wait_go(struct stage *stage)
{
    if (stage->channel < 0)
        return 0;
    char byte;
    int got = read_byte(stage, stage->channel, &byte);
    return got == 1 ? 0 : got < 0 ? got : -EPIPE;
}
