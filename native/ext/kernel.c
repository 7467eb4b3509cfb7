/* Thin wrappers: one system call each, or the few that belong together. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/nsfs.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "kernel.h"

_Static_assert(sizeof(struct termios) <= sizeof(struct pyoci_termios), "room for the terminal's settings");

enum { FDS_MAX = 253, PATHNAME_MAX = 4096, CONNECT_SECONDS = 5 };
enum { MASK_BYTES = 1024 };             /* no kernel has more CPUs than 8192 */

static int result_of(long result)
{
    return result < 0 ? -errno : (int)result;
}

int pyoci_openat2(int directory, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve)
{
    struct open_how how = {.flags = flags | O_CLOEXEC, .mode = mode, .resolve = resolve};
    int fd;

    do
        fd = result_of(syscall(SYS_openat2, directory, path, &how, sizeof how));
    while (fd == -EAGAIN || fd == -EINTR);
    return fd;
}

int pyoci_pidfd_send_signal(int pidfd, int signal)
{
    return result_of(syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0));
}

int pyoci_pidfd_signal_group(int pidfd, int signal)
{
    const unsigned process_group = 4;       /* PIDFD_SIGNAL_PROCESS_GROUP */

    return result_of(syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, process_group));
}

int pyoci_pidfd_getfd(int pidfd, int fd)
{
    return result_of(syscall(SYS_pidfd_getfd, pidfd, fd, 0));
}

int pyoci_ns_type(int fd)
{
    return result_of(ioctl(fd, NS_GET_NSTYPE));
}

uint64_t pyoci_capabilities(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {{0, 0, 0}, {0, 0, 0}};

    if (syscall(SYS_capget, &header, data) < 0)
        return 0;
    return data[0].effective | (uint64_t)data[1].effective << 32;
}

int pyoci_every_cpu(int pid)
{
    unsigned char mask[MASK_BYTES];

    memset(mask, 0xff, sizeof mask);
    return result_of(syscall(SYS_sched_setaffinity, pid, sizeof mask, mask));
}

/* ---- signals ---- */

enum { SET_SIZE = sizeof(uint64_t), SIGNALS = 64 };

int pyoci_signalfd(uint64_t set)
{
    return result_of(syscall(SYS_signalfd4, -1, &set, (size_t)SET_SIZE, SFD_CLOEXEC | SFD_NONBLOCK));
}

/* A signal that is ignored stays pending while it is blocked, and would be read. */
int pyoci_hold_signals(uint64_t hold, uint64_t watch, struct pyoci_held *held)
{
    int fd;

    if (syscall(SYS_rt_sigprocmask, SIG_BLOCK, &hold, &held->before, (size_t)SET_SIZE) < 0)
        return -errno;
    watch &= ~held->before;
    held->handled = 0;
    for (int number = 1; number <= SIGNALS; number++) {
        uint64_t bit = 1ULL << (number - 1);
        struct sigaction action;

        if (!(watch & bit) || sigaction(number, NULL, &action) < 0)
            continue;
        if (!(action.sa_flags & SA_SIGINFO) && action.sa_handler == SIG_IGN)
            watch &= ~bit;
        else if ((action.sa_flags & SA_SIGINFO) || action.sa_handler != SIG_DFL)
            held->handled |= bit;
    }
    fd = pyoci_signalfd(watch);
    if (fd < 0)
        pyoci_release_signals(held);
    return fd;
}

void pyoci_release_signals(const struct pyoci_held *held)
{
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &held->before, NULL, (size_t)SET_SIZE);
}

int pyoci_read_signal(int fd)
{
    struct signalfd_siginfo info;
    ssize_t got = read(fd, &info, sizeof info);

    return got < 0 ? -errno : (int)info.ssi_signo;
}

/* ---- sockets ---- */

/* sun_path has room for 107 bytes.  A longer path is connected to by way of an O_PATH descriptor of the
 * socket's file, which has a short name. */
static int short_name(const char *path, struct sockaddr_un *address)
{
    static const char prefix[] = "/proc/self/fd/";
    int fd = open(path, O_PATH | O_CLOEXEC), divisor = 1;
    char *end = address->sun_path + sizeof prefix - 1;

    if (fd < 0)
        return -errno;
    memcpy(address->sun_path, prefix, sizeof prefix);
    while (fd / divisor >= 10)
        divisor *= 10;
    for (; divisor > 0; divisor /= 10)
        *end++ = (char)('0' + fd / divisor % 10);
    *end = '\0';
    return fd;
}

/* A peer that listens but never accepts must not block us for ever: signals are held back meanwhile. */
int pyoci_connect_unix(const char *path)
{
    const struct timeval patience = {.tv_sec = CONNECT_SECONDS};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), file = -1, err = 0;

    if (sock < 0)
        return -errno;
    if (strlen(path) < sizeof address.sun_path)
        memcpy(address.sun_path, path, strlen(path) + 1);
    else
        err = file = short_name(path, &address);
    if (err >= 0 && setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) < 0)
        err = -errno;
    if (err >= 0 && connect(sock, (struct sockaddr *)&address, sizeof address) < 0)
        err = errno == EAGAIN ? -ETIMEDOUT : -errno;
    if (file >= 0)
        close(file);
    if (err >= 0)
        return sock;
    close(sock);
    return err;
}

int pyoci_send_fds(int socket, const void *data, size_t size, const int *fds, uint32_t count)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(FDS_MAX * sizeof(int))];
    } control;
    struct iovec iov = {(void *)(uintptr_t)data, size};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room};
    struct cmsghdr *rights;
    ssize_t sent;

    if (count == 0 || count > FDS_MAX || size == 0)
        return -EINVAL;
    memset(&control, 0, sizeof control);
    message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(rights), fds, count * sizeof(int));
    do
        sent = sendmsg(socket, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent >= 0 && (size_t)sent < size)       /* the rest of a long text; the descriptors are gone */
        do {
            ssize_t more = send(socket, (const char *)data + sent, size - (size_t)sent, MSG_NOSIGNAL);

            if (more < 0 && errno != EINTR)
                return -errno;
            sent += more > 0 ? more : 0;
        } while ((size_t)sent < size);
    return sent < 0 ? -errno : 0;
}

/* ---- terminals ---- */

int pyoci_tty_raw(int fd, struct pyoci_termios *saved)
{
    struct termios settings;

    if (tcgetattr(fd, &settings) < 0)
        return -errno;
    memcpy(saved->bytes, &settings, sizeof settings);
    cfmakeraw(&settings);
    settings.c_oflag |= OPOST;
    return result_of(tcsetattr(fd, TCSADRAIN, &settings));
}

int pyoci_tty_restore(int fd, const struct pyoci_termios *saved)
{
    struct termios settings;

    memcpy(&settings, saved->bytes, sizeof settings);
    return result_of(tcsetattr(fd, TCSADRAIN, &settings));
}

int pyoci_tty_plain_newlines(int fd)
{
    struct termios settings;

    if (tcgetattr(fd, &settings) < 0)
        return -errno;
    settings.c_oflag &= ~(tcflag_t)ONLCR;
    return result_of(tcsetattr(fd, TCSANOW, &settings));
}

int pyoci_winsize_get(int fd, unsigned short *size)
{
    struct winsize window;

    if (ioctl(fd, TIOCGWINSZ, &window) < 0)
        return -errno;
    size[0] = window.ws_row;
    size[1] = window.ws_col;
    return 0;
}

int pyoci_winsize_set(int fd, const unsigned short *size)
{
    struct winsize window = {.ws_row = size[0], .ws_col = size[1]};

    return result_of(ioctl(fd, TIOCSWINSZ, &window));
}
