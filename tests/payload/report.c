/* `probe report`: everything that a process can find out about itself and its container, as one JSON object. */
#define _GNU_SOURCE 1
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "probe.h"

extern char **environ;

enum { BIG = 65536, KEYCTL_DESCRIBE_OP = 6, SESSION_KEYRING = -3, IOPRIO_OF_PROCESS = 1, SIGNALS = 64 };

static char buffer[BIG];
const char *hook_state;

/* The whole of a small file, NUL-terminated; its length or -1. */
int read_file(const char *path, char *into, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    size_t used = 0;
    ssize_t got;
    while (used + 1 < size && (got = read(fd, into + used, size - used - 1)) > 0)
        used += (size_t)got;
    close(fd);
    into[used] = 0;
    return (int)used;
}

static void file(const char *name, const char *path)
{
    if (read_file(path, buffer, sizeof buffer) < 0)
        json_null(name);
    else
        json_text(name, buffer);
}

static void strings(const char *name, char **list)
{
    json_begin(name, '[');
    for (; *list; list++)
        json_text(NULL, *list);
    json_end(']');
}

static void identity(void)
{
    uid_t uid[3];
    gid_t gid[3], groups[1024];
    getresuid(&uid[0], &uid[1], &uid[2]);
    getresgid(&gid[0], &gid[1], &gid[2]);
    json_begin("uids", '[');
    for (int i = 0; i < 3; i++)
        json_number(NULL, uid[i]);
    json_end(']');
    json_begin("gids", '[');
    for (int i = 0; i < 3; i++)
        json_number(NULL, gid[i]);
    json_end(']');
    json_begin("groups", '[');
    int count = getgroups(1024, groups);
    for (int i = 0; i < count; i++)
        json_number(NULL, groups[i]);
    json_end(']');
    mode_t mask = umask(0);
    umask(mask);
    json_number("umask", mask);
    json_number("noNewPrivs", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    json_number("dumpable", prctl(PR_GET_DUMPABLE, 0, 0, 0, 0));
    json_number("personality", personality(0xffffffff));
}

static void processes(void)
{
    json_number("pid", getpid());
    json_number("ppid", getppid());
    json_number("sid", getsid(0));
    json_number("pgid", getpgrp());
    if (getcwd(buffer, sizeof buffer))
        json_text("cwd", buffer);
    else
        json_null("cwd");
}

static void limits(void)
{
    json_begin("rlimits", '[');
    for (int i = 0; i < 16; i++) {
        struct rlimit limit = {0, 0};
        getrlimit(i, &limit);
        json_begin(NULL, '[');
        json_unsigned(NULL, limit.rlim_cur);
        json_unsigned(NULL, limit.rlim_max);
        json_end(']');
    }
    json_end(']');
}

/* Signals that are blocked or ignored, by number. */
static void signals(void)
{
    sigset_t blocked;
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    json_begin("blocked", '[');
    for (int i = 1; i <= SIGNALS; i++)
        if (sigismember(&blocked, i) == 1)
            json_number(NULL, i);
    json_end(']');
    json_begin("ignored", '[');
    for (int i = 1; i <= SIGNALS; i++) {
        struct sigaction action;
        if (sigaction(i, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
            json_number(NULL, i);
    }
    json_end(']');
}

/* Descriptors by trying, so that it works without /proc; the target of each where /proc knows it. */
static void descriptors(void)
{
    json_begin("fds", '{');
    for (int fd = 0; fd < OWN_DESCRIPTORS; fd++) {
        if (fcntl(fd, F_GETFD) < 0)
            continue;
        char name[32], path[64], target[4096];
        snprintf(name, sizeof name, "%d", fd);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(path, target, sizeof target - 1);
        target[length > 0 ? length : 0] = 0;
        json_text(name, target);
    }
    json_end('}');
}

static void terminal(void)
{
    json_begin("tty", '[');
    for (int fd = 0; fd < 3; fd++) {
        struct winsize size = {0, 0, 0, 0};
        struct stat status;
        if (!isatty(fd)) {
            json_null(NULL);
            continue;
        }
        ioctl(fd, TIOCGWINSZ, &size);
        fstat(fd, &status);
        json_begin(NULL, '{');
        json_number("rows", size.ws_row);
        json_number("columns", size.ws_col);
        json_number("uid", status.st_uid);
        json_number("mode", status.st_mode & 07777);
        json_number("session", tcgetsid(fd));
        json_number("foreground", tcgetpgrp(fd));
        json_end('}');
    }
    json_end(']');
}

static void namespaces(void)
{
    static const char *const names[] = {"cgroup", "ipc", "mnt", "net", "pid", "pid_for_children", "time", "user", "uts"};
    json_begin("namespaces", '{');
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[64], target[128];
        snprintf(path, sizeof path, "/proc/self/ns/%s", names[i]);
        ssize_t length = readlink(path, target, sizeof target - 1);
        if (length < 0)
            continue;
        target[length] = 0;
        json_text(names[i], target);
    }
    json_end('}');
}

static void network(void)
{
    struct ifreq request;
    memset(&request, 0, sizeof request);
    strcpy(request.ifr_name, "lo");
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && ioctl(fd, SIOCGIFFLAGS, &request) == 0)
        json_number("loopback", request.ifr_flags);
    else
        json_null("loopback");
    if (fd >= 0)
        close(fd);
}

static void clocks(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    json_number("monotonic", now.tv_sec);
    clock_gettime(CLOCK_BOOTTIME, &now);
    json_number("boottime", now.tv_sec);
}

static void scheduling(void)
{
    struct {
        unsigned size, policy;
        unsigned long long flags;
        int nice;
        unsigned priority;
        unsigned long long runtime, deadline, period;
        unsigned clamp[2];
    } attributes = {0};
    cpu_set_t set;
    json_number("ioprio", syscall(SYS_ioprio_get, IOPRIO_OF_PROCESS, 0));
    json_begin("affinity", '[');
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        for (unsigned i = 0; i < CPU_SETSIZE; i++)
            if (CPU_ISSET(i, &set))
                json_number(NULL, i);
    json_end(']');
    if (syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) != 0)
        return;
    json_begin("scheduler", '{');
    json_number("policy", attributes.policy);
    json_unsigned("flags", attributes.flags);
    json_number("nice", attributes.nice);
    json_number("priority", attributes.priority);
    json_unsigned("runtime", attributes.runtime);
    json_unsigned("deadline", attributes.deadline);
    json_unsigned("period", attributes.period);
    json_end('}');
}

static void keyring(void)
{
    long length = syscall(SYS_keyctl, KEYCTL_DESCRIBE_OP, SESSION_KEYRING, buffer, sizeof buffer);
    if (length < 0)
        json_null("keyring");
    else
        json_text("keyring", buffer);
    long serial = syscall(SYS_keyctl, 0, SESSION_KEYRING, 0);
    json_number("keyringSerial", serial < 0 ? -errno : serial);
}

static const char *kind(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG: return "file";
    case S_IFDIR: return "directory";
    case S_IFLNK: return "link";
    case S_IFCHR: return "c";
    case S_IFBLK: return "b";
    case S_IFIFO: return "p";
    default: return "socket";
    }
}

static void device(const char *name)
{
    char path[512], target[512];
    struct stat status;
    snprintf(path, sizeof path, "/dev/%s", name);
    if (lstat(path, &status) != 0)
        return;
    json_begin(name, '{');
    json_text("type", kind(status.st_mode));
    json_number("mode", status.st_mode & 07777);
    json_number("uid", status.st_uid);
    json_number("gid", status.st_gid);
    json_number("major", major(status.st_rdev));
    json_number("minor", minor(status.st_rdev));
    ssize_t length = readlink(path, target, sizeof target - 1);
    if (length >= 0) {
        target[length] = 0;
        json_text("target", target);
    }
    json_end('}');
}

static void devices(void)
{
    DIR *directory = opendir("/dev");
    json_begin("dev", '{');
    for (struct dirent *entry; directory && (entry = readdir(directory));)
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            device(entry->d_name);
    json_end('}');
    if (directory)
        closedir(directory);
}

static void files(void)
{
    static const char *const names[][2] = {
        {"status", "/proc/self/status"}, {"mountinfo", "/proc/self/mountinfo"}, {"cgroup", "/proc/self/cgroup"},
        {"oomScoreAdj", "/proc/self/oom_score_adj"}, {"attr_current", "/proc/self/attr/current"},
        {"attr_exec", "/proc/self/attr/exec"}, {"uid_map", "/proc/self/uid_map"}, {"gid_map", "/proc/self/gid_map"},
        {"setgroups", "/proc/self/setgroups"}, {"timens_offsets", "/proc/self/timens_offsets"},
        {"mempolicy", "/proc/self/numa_maps"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        file(names[i][0], names[i][1]);
}

int report(int argc, char **argv)
{
    (void)argc;
    struct utsname names;
    uname(&names);
    json_begin(NULL, '{');
    if (hook_state)
        json_text("stdin", hook_state);
    descriptors(); /* first: what follows opens some */
    strings("args", argv);
    strings("env", environ);
    identity();
    processes();
    limits();
    signals();
    terminal();
    namespaces();
    network();
    clocks();
    scheduling();
    keyring();
    devices();
    files();
    json_text("hostname", names.nodename);
    json_text("domainname", names.domainname);
    json_text("machine", names.machine);
    json_end('}');
    json_line();
    return -1;
}
