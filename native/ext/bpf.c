/* Device control of cgroup v2; see bpf.h and bpf(2). */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/bpf.h>

#include "bpf.h"

/* By this name an earlier program of ours is known; at most 15 characters. */
static const char PROGRAM_NAME[] = "pyoci_device";

enum { MAX_PROGRAMS = 256, MAX_ATTEMPTS = 20 };

/* The kernel writes members of the union that old headers do not have (6.17 wrote behind a shorter one),
 * and wants zeros in those that it does not know. */
union attr {
    union bpf_attr bpf;
    unsigned char room[256];
};

static int bpf(int command, union attr *attr)
{
    long result = syscall(SYS_bpf, command, attr, sizeof *attr);
    return result < 0 ? -errno : (int)result;
}

static uint64_t address(const void *pointer)
{
    return (uint64_t)(uintptr_t)pointer;
}

static int load(const void *insns, unsigned int count, char *log, unsigned int log_size)
{
    union attr attr;
    memset(&attr, 0, sizeof attr);
    attr.bpf.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
    attr.bpf.expected_attach_type = BPF_CGROUP_DEVICE;
    attr.bpf.insns = address(insns);
    attr.bpf.insn_cnt = count;
    attr.bpf.license = address("Apache-2.0");
    memcpy(attr.bpf.prog_name, PROGRAM_NAME, sizeof PROGRAM_NAME);
    int fd = bpf(BPF_PROG_LOAD, &attr);
    if (fd >= 0 || log_size == 0)
        return fd;
    /* The log costs time, so it is asked for only when there is something to say. */
    attr.bpf.log_level = 1;
    attr.bpf.log_buf = address(log);
    attr.bpf.log_size = log_size;
    int again = bpf(BPF_PROG_LOAD, &attr);
    return again >= 0 ? again : fd;
}

static int query(int cgroup_fd, uint32_t *ids)
{
    union attr attr;
    memset(&attr, 0, sizeof attr);
    attr.bpf.query.target_fd = (uint32_t)cgroup_fd;
    attr.bpf.query.attach_type = BPF_CGROUP_DEVICE;
    attr.bpf.query.prog_ids = address(ids);
    attr.bpf.query.prog_cnt = MAX_PROGRAMS;
    int result = bpf(BPF_PROG_QUERY, &attr);
    return result < 0 ? result : (int)attr.bpf.query.prog_cnt;
}

static int is_ours(int program_fd)
{
    struct bpf_prog_info info;
    union attr attr;
    memset(&info, 0, sizeof info);
    memset(&attr, 0, sizeof attr);
    attr.bpf.info.bpf_fd = (uint32_t)program_fd;
    attr.bpf.info.info_len = sizeof info;
    attr.bpf.info.info = address(&info);
    int result = bpf(BPF_OBJ_GET_INFO_BY_FD, &attr);
    return result < 0 ? result : memcmp(info.name, PROGRAM_NAME, sizeof PROGRAM_NAME) == 0;
}

/* Open the next program of ours at or behind *at in the list: a descriptor, or -ENOENT at its end. */
static int open_ours(const uint32_t *ids, int count, int *at)
{
    for (; *at < count; ++*at) {
        union attr attr;
        memset(&attr, 0, sizeof attr);
        attr.bpf.prog_id = ids[*at];
        int fd = bpf(BPF_PROG_GET_FD_BY_ID, &attr);
        if (fd == -ENOENT)      /* detached meanwhile */
            continue;
        if (fd < 0)
            return fd;
        int ours = is_ours(fd);
        if (ours > 0) {
            ++*at;
            return fd;
        }
        close(fd);
        if (ours < 0)
            return ours;
    }
    return -ENOENT;
}

static int attach(int cgroup_fd, int program_fd, int replaced_fd)
{
    union attr attr;
    memset(&attr, 0, sizeof attr);
    attr.bpf.target_fd = (uint32_t)cgroup_fd;
    attr.bpf.attach_type = BPF_CGROUP_DEVICE;
    attr.bpf.attach_bpf_fd = (uint32_t)program_fd;
    attr.bpf.attach_flags = BPF_F_ALLOW_MULTI;
    if (replaced_fd >= 0) {
        attr.bpf.attach_flags |= BPF_F_REPLACE;
        attr.bpf.replace_bpf_fd = (uint32_t)replaced_fd;
    }
    return bpf(BPF_PROG_ATTACH, &attr);
}

static int attach_or_replace(int cgroup_fd, int program_fd)
{
    uint32_t ids[MAX_PROGRAMS];
    int result = -EAGAIN;
    for (int attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
        int at = 0;
        int count = query(cgroup_fd, ids);
        if (count < 0)
            return count;
        int replaced_fd = open_ours(ids, count, &at);
        if (replaced_fd < 0 && replaced_fd != -ENOENT)
            return replaced_fd;
        result = attach(cgroup_fd, program_fd, replaced_fd);
        if (replaced_fd >= 0)
            close(replaced_fd);
        /* ENOENT: the program to be replaced was detached by somebody else between the two calls. */
        if (result != -ENOENT || replaced_fd < 0)
            return result;
    }
    return result;
}

int pyoci_bpf_device_attach(int cgroup_fd, const void *insns, unsigned int count, char *log, unsigned int log_size)
{
    int program_fd = load(insns, count, log, log_size);
    if (program_fd < 0)
        return program_fd;
    int result = attach_or_replace(cgroup_fd, program_fd);
    close(program_fd);          /* the cgroup holds it now */
    return result;
}
