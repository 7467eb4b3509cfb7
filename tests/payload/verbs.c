/* The probe's verbs but `report`.  Each prints one JSON object; "errno" is 0 on success. */
#define _GNU_SOURCE 1
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe.h"

static char content[1 << 20];

static int result(int failed)
{
    int number = failed ? errno : 0;
    json_begin(NULL, '{');
    json_number("errno", number);
    json_end('}');
    json_line();
    return -1;
}

static long number(const char *text)
{
    return strtol(text, NULL, 0);
}

static int quit(int argc, char **argv)
{
    return argc > 1 ? (int)number(argv[1]) : 0;
}

static int raise_signal(int argc, char **argv)
{
    (void)argc;
    signal((int)number(argv[1]), SIG_DFL);
    kill(getpid(), (int)number(argv[1]));
    return result(0);
}

/* Says {"ready":true}, then each signal that comes; SIGTERM and SIGINT end it with 128 + the number. */
static int wait_for_signals(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    json_begin(NULL, '{');
    json_text("ready", "yes");
    json_end('}');
    json_line();
    for (;;) {
        int got = sigwaitinfo(&all, NULL);
        if (got == SIGCHLD)
            while (waitpid(-1, NULL, WNOHANG) > 0)
                ;
        if (got < 0)
            continue;
        json_begin(NULL, '{');
        json_number("signal", got);
        if (got == SIGWINCH) {
            struct winsize size = {0, 0, 0, 0};
            ioctl(0, TIOCGWINSZ, &size);
            json_number("rows", size.ws_row);
            json_number("columns", size.ws_col);
        }
        json_end('}');
        json_line();
        if (got == SIGTERM || got == SIGINT)
            return 128 + got;
    }
}

/* A child that does nothing until it is killed; prints its pid as this process sees it. */
static int spawn(int argc, char **argv)
{
    pid_t child = fork();
    if (child == 0) {
        if (argc > 1 && !strcmp(argv[1], "session"))
            setsid();
        for (;;)
            pause();
    }
    json_begin(NULL, '{');
    json_number("errno", child < 0 ? errno : 0);
    json_number("child", child);
    json_end('}');
    json_line();
    return -1;
}

/* Forks up to N children that stay until this process ends; says how many there were. */
static int fork_many(int argc, char **argv)
{
    (void)argc;
    long wanted = number(argv[1]), made = 0;
    int barrier[2];
    if (pipe(barrier))
        return result(1);
    errno = 0;
    while (made < wanted) {
        pid_t child = fork();
        if (child < 0)
            break;
        if (child == 0) {
            char byte;
            close(barrier[1]);
            _exit((int)read(barrier[0], &byte, 1));
        }
        made++;
    }
    json_begin(NULL, '{');
    json_number("forked", made);
    json_number("errno", made < wanted ? errno : 0);
    json_end('}');
    json_line();
    close(barrier[1]);
    while (wait(NULL) > 0)
        ;
    return -1;
}

/* Touches so many bytes of memory. */
static int use_memory(int argc, char **argv)
{
    (void)argc;
    size_t size = (size_t)number(argv[1]);
    volatile char *area = malloc(size);
    if (!area)
        return result(1);
    for (size_t i = 0; i < size; i += 4096)
        area[i] = 1;
    return result(0);
}

static int echo(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        printf("%s%s", i > 1 ? " " : "", argv[i]);
    putchar('\n');
    fflush(stdout);
    return -1;
}

static int complain(int argc, char **argv)
{
    (void)argc;
    fprintf(stderr, "%s\n", argv[1]);
    return -1;
}

/* Copies standard input (or a file) to standard output as it is. */
static int cat(int argc, char **argv)
{
    int fd = argc > 1 ? open(argv[1], O_RDONLY | O_CLOEXEC) : 0;
    if (fd < 0)
        return result(1);
    for (ssize_t got; (got = read(fd, content, sizeof content)) > 0;)
        if (write(1, content, (size_t)got) != got)
            return 1;
    if (fd)
        close(fd);
    return -1;
}

static int read_text(int argc, char **argv)
{
    (void)argc;
    int length = read_file(argv[1], content, sizeof content);
    json_begin(NULL, '{');
    json_number("errno", length < 0 ? errno : 0);
    if (length >= 0)
        json_text("text", content);
    json_end('}');
    json_line();
    return -1;
}

static int write_text(int argc, char **argv)
{
    (void)argc;
    int flags = strcmp(argv[0], "write") ? O_WRONLY : O_WRONLY | O_CREAT | O_TRUNC;
    int fd = open(argv[1], flags | O_CLOEXEC | O_NOCTTY, 0644);
    if (fd < 0)
        return result(1);
    ssize_t done = write(fd, argv[2], strlen(argv[2]));
    int keep = errno;
    close(fd);
    errno = keep;
    return result(done < 0);
}

/* Writes to, or reads from, a descriptor that the caller of the runtime passed. */
static int use_descriptor(int argc, char **argv)
{
    int fd = (int)number(argv[1]);
    if (argc > 2)
        return result(write(fd, argv[2], strlen(argv[2])) < 0);
    ssize_t got = read(fd, content, sizeof content - 1);
    content[got > 0 ? got : 0] = 0;
    json_begin(NULL, '{');
    json_number("errno", got < 0 ? errno : 0);
    json_text("text", content);
    json_end('}');
    json_line();
    return -1;
}

static const char *kind(mode_t mode)
{
    return S_ISREG(mode)   ? "file"
           : S_ISDIR(mode) ? "directory"
           : S_ISLNK(mode) ? "link"
           : S_ISCHR(mode) ? "c"
           : S_ISBLK(mode) ? "b"
           : S_ISFIFO(mode) ? "p"
                            : "socket";
}

/* stat follows the last component, lstat does not. */
static int status(int argc, char **argv)
{
    (void)argc;
    struct stat found;
    int failed = argv[0][0] == 'l' ? lstat(argv[1], &found) : stat(argv[1], &found);
    if (failed)
        return result(1);
    json_begin(NULL, '{');
    json_number("errno", 0);
    json_text("type", kind(found.st_mode));
    json_number("mode", found.st_mode & 07777);
    json_number("uid", found.st_uid);
    json_number("gid", found.st_gid);
    json_number("size", found.st_size);
    json_unsigned("inode", found.st_ino);
    json_unsigned("device", found.st_dev);
    json_number("major", major(found.st_rdev));
    json_number("minor", minor(found.st_rdev));
    ssize_t length = readlink(argv[1], content, sizeof content - 1);
    if (argv[0][0] == 'l' && length >= 0) {
        content[length] = 0;
        json_text("target", content);
    }
    json_end('}');
    json_line();
    return -1;
}

static int file_system(int argc, char **argv)
{
    (void)argc;
    struct statfs found;
    if (statfs(argv[1], &found))
        return result(1);
    json_begin(NULL, '{');
    json_number("errno", 0);
    json_unsigned("type", (unsigned long long)found.f_type & 0xffffffff);
    json_unsigned("flags", (unsigned long long)found.f_flags);
    json_unsigned("size", (unsigned long long)found.f_blocks * (unsigned long long)found.f_bsize);
    json_end('}');
    json_line();
    return -1;
}

static int list(int argc, char **argv)
{
    (void)argc;
    DIR *directory = opendir(argv[1]);
    if (!directory)
        return result(1);
    json_begin(NULL, '{');
    json_number("errno", 0);
    json_begin("names", '[');
    for (struct dirent *entry; (entry = readdir(directory));)
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            json_text(NULL, entry->d_name);
    json_end(']');
    json_end('}');
    json_line();
    closedir(directory);
    return -1;
}

static int open_path(int argc, char **argv)
{
    int flags = argc > 2 && !strcmp(argv[2], "rw") ? O_RDWR : argc > 2 && !strcmp(argv[2], "w") ? O_WRONLY : O_RDONLY;
    int fd = open(argv[1], flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    int failed = fd < 0;
    int keep = errno;
    if (!failed)
        close(fd);
    errno = keep;
    return result(failed);
}

static int make_directory(int argc, char **argv)
{
    (void)argc;
    return result(mkdir(argv[1], 0755));
}

static int make_node(int argc, char **argv)
{
    (void)argc;
    mode_t type = argv[2][0] == 'b' ? S_IFBLK : argv[2][0] == 'p' ? S_IFIFO : S_IFCHR;
    return result(mknod(argv[1], type | 0600, makedev((unsigned)number(argv[3]), (unsigned)number(argv[4]))));
}

static int mount_it(int argc, char **argv)
{
    (void)argc;
    return result(mount(argv[1], argv[2], argv[3], (unsigned long)number(argv[4]), NULL));
}

static int unmount_it(int argc, char **argv)
{
    (void)argc;
    return result(umount2(argv[1], MNT_DETACH));
}

static int unshare_it(int argc, char **argv)
{
    (void)argc;
    return result(unshare((int)number(argv[1])));
}

/* Any system call with numbers as arguments; "self" is a pointer to some bytes. */
static int call(int argc, char **argv)
{
    long values[7] = {0};
    for (int i = 1; i < argc && i < 8; i++)
        values[i - 1] = strcmp(argv[i], "self") ? number(argv[i]) : (long)content;
    errno = 0;
    long got = syscall(values[0], values[1], values[2], values[3], values[4], values[5], values[6]);
    json_begin(NULL, '{');
    json_number("errno", got == -1 ? errno : 0);
    json_number("value", got);
    json_end('}');
    json_line();
    return -1;
}

/* Executes another program of the container in place of this one. */
static int execute(int argc, char **argv)
{
    (void)argc;
    execv(argv[1], argv + 1);
    return result(1);
}

/* As a hook: appends to a file what the hook was given.  hook FILE [STATUS [TEXT]] */
static int hook(int argc, char **argv)
{
    static char state[65536];
    ssize_t got, used = 0;
    while ((got = read(0, state + used, sizeof state - 1 - (size_t)used)) > 0)
        used += got;
    state[used] = 0;
    int low = open(argv[1], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (low < 0)
        return 99;
    int log = fcntl(low, F_DUPFD, OWN_DESCRIPTORS), keep = fcntl(1, F_DUPFD, OWN_DESCRIPTORS);
    close(low);
    if (log < 0 || keep < 0)
        return 98;
    dup2(log, 1);
    hook_state = state;
    report(argc, argv);
    dup2(keep, 1);
    if (argc > 3)
        fprintf(stderr, "%s\n", argv[3]);
    return argc > 2 ? (int)number(argv[2]) : 0;
}

/* Stays for ever, with a child of its own: for timeouts of hooks. */
static int hang(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    fork();
    while (pause() < 0)
        ;
    return 0;
}

const struct verb verbs[] = {
    {"report", report, 0, ""},
    {"true", quit, 0, ""},
    {"exit", quit, 1, "N"},
    {"raise", raise_signal, 1, "N"},
    {"wait", wait_for_signals, 0, ""},
    {"spawn", spawn, 0, "[session]"},
    {"forks", fork_many, 1, "N"},
    {"memory", use_memory, 1, "BYTES"},
    {"echo", echo, 0, "WORDS"},
    {"complain", complain, 1, "TEXT"},
    {"cat", cat, 0, "[FILE]"},
    {"read", read_text, 1, "FILE"},
    {"write", write_text, 2, "FILE TEXT"},
    {"overwrite", write_text, 2, "FILE TEXT"},
    {"fd", use_descriptor, 1, "N [TEXT]"},
    {"stat", status, 1, "PATH"},
    {"lstat", status, 1, "PATH"},
    {"statfs", file_system, 1, "PATH"},
    {"list", list, 1, "DIRECTORY"},
    {"open", open_path, 1, "PATH [r|w|rw]"},
    {"mkdir", make_directory, 1, "PATH"},
    {"mknod", make_node, 4, "PATH c|b|p MAJOR MINOR"},
    {"mount", mount_it, 4, "SOURCE TARGET TYPE FLAGS"},
    {"umount", unmount_it, 1, "TARGET"},
    {"unshare", unshare_it, 1, "FLAGS"},
    {"call", call, 1, "NUMBER ARGUMENTS"},
    {"execute", execute, 1, "FILE ARGUMENTS"},
    {"hook", hook, 1, "FILE [STATUS [TEXT]]"},
    {"hang", hang, 0, ""},
    {NULL, NULL, 0, NULL},
};
