/* Decode a plan, run its steps, talk to the parent. */
#include "compat.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>

enum { RETRIES_MAX = 1024 };

step_fn *const step_table[OP_COUNT] = {
    [OP_BARRIER] = op_barrier,
    [OP_GATE] = op_gate,
    [OP_EXEC] = op_exec,
    [OP_HOOK] = op_hook,
    [OP_DUMPABLE] = op_dumpable,
    [OP_PARENT_DEATH] = op_parent_death,
    [OP_BECOME_ROOT] = op_become_root,
    [OP_JOIN] = op_join,
    [OP_JOIN_PROCESS] = op_join_process,
    [OP_FORK] = op_fork,
    [OP_HELPER_ENTER] = op_helper_enter,
    [OP_HELPER_END] = op_helper_end,
    [OP_UNSHARE] = op_unshare,
    [OP_TIME_OFFSETS] = op_time_offsets,
    [OP_SEND_USER] = op_send_user,
    [OP_SETSID] = op_setsid,
    [OP_HOSTNAME] = op_hostname,
    [OP_DOMAINNAME] = op_domainname,
    [OP_LOOPBACK_UP] = op_loopback_up,
    [OP_KEYRING] = op_keyring,
    [OP_SYSCTL] = op_sysctl,
    [OP_PROPAGATION] = op_propagation,
    [OP_ROOT] = op_root,
    [OP_OPEN_TREE] = op_open_tree,
    [OP_FSMOUNT] = op_fsmount,
    [OP_SETATTR] = op_setattr,
    [OP_COPY_UP] = op_copy_up,
    [OP_ATTACH] = op_attach,
    [OP_REMOUNT] = op_remount,
    [OP_PROPAGATE] = op_propagate,
    [OP_MKDIR] = op_mkdir,
    [OP_SYMLINK] = op_symlink,
    [OP_VERIFY_MOUNT] = op_verify_mount,
    [OP_DEVICE] = op_device,
    [OP_NULL_DEVICE] = op_null_device,
    [OP_READONLY_PATH] = op_readonly_path,
    [OP_MASK_PATH] = op_mask_path,
    [OP_CONSOLE] = op_console,
    [OP_CONTROLLING_TTY] = op_controlling_tty,
    [OP_PIVOT] = op_pivot,
    [OP_ROOT_READONLY] = op_root_readonly,
    [OP_RLIMIT] = op_rlimit,
    [OP_SCHEDULER] = op_scheduler,
    [OP_IO_PRIORITY] = op_io_priority,
    [OP_PERSONALITY] = op_personality,
    [OP_STDIO] = op_stdio,
    [OP_UMASK] = op_umask,
    [OP_CHDIR] = op_chdir,
    [OP_BOUNDING] = op_bounding,
    [OP_GROUPS] = op_groups,
    [OP_IDS] = op_ids,
    [OP_CAPABILITIES] = op_capabilities,
    [OP_NO_NEW_PRIVS] = op_no_new_privs,
    [OP_APPARMOR] = op_apparmor,
    [OP_SELINUX] = op_selinux,
    [OP_SECCOMP] = op_seccomp,
    [OP_RESOLVE_EXEC] = op_resolve_exec,
    [OP_CLOSE] = op_close,
};

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

const char *string_at(const struct stage *stage, uint32_t offset)
{
    return stage->strings + offset;
}

char **string_list(const struct stage *stage, uint32_t offset, uint32_t count)
{
    char **list = bump((count + (size_t)1) * sizeof *list);
    if (list == NULL)
        return NULL;
    const char *string = string_at(stage, offset);
    for (uint32_t i = 0; i < count; i++) {
        list[i] = (char *)(uintptr_t)string;
        string += strlen(string) + 1;
    }
    list[count] = NULL;
    return list;
}

void stage_init(struct stage *stage)
{
    memset(stage, 0, sizeof *stage);
    memset(stage->slots, 0xff, sizeof stage->slots);
    stage->root = stage->procfs = stage->channel = stage->status = stage->helper = -1;
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
            stage_report(stage, REPORT_STEP, 0, (uint32_t)(microseconds() - begun), -1);
    }
    return 0;
}

/* ---- talk ---- */

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
