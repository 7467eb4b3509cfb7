/* Kernel calls that Python's posix, fcntl and select lack.
 *
 * This text has no preprocessor lines: cffi reads it as its cdef.  Unless said otherwise a function
 * returns a number >= 0, or a negative errno.  Every descriptor that is returned is close-on-exec.
 */

/* openat2(2); resolve: RESOLVE_*.  EAGAIN (a rename on the way) is tried again. */
int pyoci_openat2(int directory, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve);

int pyoci_pidfd_send_signal(int pidfd, int signal);
/* The same for all processes of the group that the process leads.  -EINVAL before Linux 6.9. */
int pyoci_pidfd_signal_group(int pidfd, int signal);
/* A copy of another process's descriptor; pidfd_getfd(2). */
int pyoci_pidfd_getfd(int pidfd, int fd);
/* CLONE_NEW* of a namespace's descriptor; ioctl_ns(2). */
int pyoci_ns_type(int fd);
/* The effective capabilities of this process, bit by bit. */
uint64_t pyoci_capabilities(void);
/* Let a process run on all CPUs that its cpuset has, and those that it gets later; sched_setaffinity(2). */
int pyoci_every_cpu(int pid);

/* Sets of signals: bit n - 1 stands for signal n. */
struct pyoci_held {
    uint64_t before;            /* the mask as it was */
    uint64_t handled;           /* those of the watched ones that the program has a handler for */
};
/* Block the signals of *hold*, and give a descriptor from which those of *watch* are read that were neither
 * blocked nor ignored. */
int pyoci_hold_signals(uint64_t hold, uint64_t watch, struct pyoci_held *held);
void pyoci_release_signals(const struct pyoci_held *held);
/* A descriptor from which blocked signals are read. */
int pyoci_signalfd(uint64_t set);
/* The number of the next signal; -EAGAIN when there is none. */
int pyoci_read_signal(int fd);

/* Connect a stream socket to a path of any length below 4096; unix(7).  -ETIMEDOUT: nobody accepts. */
int pyoci_connect_unix(const char *path);
/* Send size (at least 1) bytes with count (at most 253) descriptors in one message. */
int pyoci_send_fds(int socket, const void *data, size_t size, const int *fds, uint32_t count);

struct pyoci_termios {
    unsigned char bytes[128];
};
/* Make a terminal raw but for what it does to output, with its old settings in *saved; termios(3). */
int pyoci_tty_raw(int fd, struct pyoci_termios *saved);
int pyoci_tty_restore(int fd, const struct pyoci_termios *saved);
/* From now on the terminal of this master makes no CR LF of a line's end. */
int pyoci_tty_plain_newlines(int fd);
/* size: rows, columns. */
int pyoci_winsize_get(int fd, unsigned short *size);
int pyoci_winsize_set(int fd, const unsigned short *size);
