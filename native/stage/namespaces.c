/* Namespaces: making and joining them, and what is set inside them before the mounts. */
#include "compat.h"

#include <errno.h>
#include <linux/keyctl.h>
#include <linux/netlink.h>
#include <linux/nsfs.h>
#include <linux/sched.h>
#include <net/if.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>

enum { VALUE_MAX = 1024 };

int die_with_parent(const struct stage *stage)
{
    return stage->outlives || stage->channel < 0 ? 0 : sys(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0));
}

/* Once only: a filter that is in force by the second time may forbid the call. */
int outlive_parent(struct stage *stage)
{
    int err = stage->outlives ? 0 : sys(prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0));

    if (err == 0)
        stage->outlives = 1;
    return err;
}

/* The kernel forgets both settings when credentials change; a process of the container could then trace
 * the stage, and the stage could outlive its parent. */
int rearm(const struct stage *stage)
{
    int err = sys(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));

    return err < 0 ? err : die_with_parent(stage);
}

int op_undumpable(struct stage *stage, const struct step *step)
{
    (void)stage;
    (void)step;
    return sys(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));
}

int op_become_root(struct stage *stage, const struct step *step)
{
    int err = step->flags & BECOME_ROOT_KEEP_GROUPS ? 0 : sys(syscall(SYS_setgroups, 0, NULL));

    (void)stage;
    if (err < 0 && err != -EPERM)       /* EPERM: /proc/PID/setgroups says "deny", as it must without privilege */
        return err;
    err = sys(syscall(SYS_setresgid, 0, 0, 0));
    if (err == 0)
        err = sys(syscall(SYS_setresuid, 0, 0, 0));
    return err < 0 ? err : rearm(stage);
}

/* ---- joining ---- */

/* After a switch of mount namespace "/" is the root that steps work in. */
static int take_root(struct stage *stage)
{
    int fd = sys(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));

    if (fd < 0)
        return fd;
    if (stage->root >= 0)
        close(stage->root);
    stage->root = fd;
    return 0;
}

static int join_one(struct stage *stage, int fd, int type)
{
    int err = sys(syscall(SYS_setns, fd, type));

    if (err == 0 && type == CLONE_NEWNS)
        err = take_root(stage);
    if (err == 0 && type == CLONE_NEWUSER)
        err = rearm(stage);
    return err;
}

/* The namespaces of op_join: their descriptors, and the types of those that are still to be joined, 0 of the others. */
struct round {
    const int32_t *slots;
    int *types;
    uint32_t count;
};

/* Join those whose type is (or is not) the user namespace.  What fails with EPERM is left, and *refused set, when that
 * is given. */
static int join_round(struct stage *stage, const struct round *round, int user, int *refused)
{
    for (uint32_t i = 0; i < round->count; i++) {
        int type = round->types[i], err;

        if (type == 0 || (type == CLONE_NEWUSER) != user)
            continue;
        err = join_one(stage, stage->slots[round->slots[i]], type);
        if (err == -EPERM && refused != NULL)
            *refused = 1;
        else if (err < 0)
            return err;
        else
            round->types[i] = 0;
    }
    return 0;
}

int op_join(struct stage *stage, const struct step *step)
{
    const struct array given = step->join.namespaces;
    const struct round round = { array_at(stage, given), bump(given.count * sizeof(int)), given.count };
    int refused = 0, err;

    if (round.types == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < round.count; i++) {
        round.types[i] = sys(ioctl(stage->slots[round.slots[i]], NS_GET_NSTYPE));
        if (round.types[i] < 0)
            return fail(stage, DETAIL_SOURCE, round.types[i]);
    }
    err = join_round(stage, &round, 0, &refused);
    if (err == 0)
        err = join_round(stage, &round, 1, NULL);
    if (err == 0 && refused)
        err = join_round(stage, &round, 0, NULL);
    return err;
}

int op_join_process(struct stage *stage, const struct step *step)
{
    const uint32_t namespaces = step->join_process.namespaces;
    int err = sys(syscall(SYS_setns, stage->slots[step->join_process.process], (int)namespaces));

    if (err == 0 && (namespaces & CLONE_NEWNS))
        err = take_root(stage);
    return err < 0 ? err : rearm(stage);
}

/* ---- making ---- */

int op_unshare(struct stage *stage, const struct step *step)
{
    int err;

    if (step->flags & UNSHARE_AHEAD) {
        if (stage->ahead == 0 || step->unshare.namespaces != stage->ahead)
            return fail(stage, DETAIL_PLAN, EINVAL);
        stage->ahead = 0;
        return stage->ahead_error;
    }
    err = sys(syscall(SYS_unshare, (unsigned long)step->unshare.namespaces));
    /* Still dumpable if it was: an unprivileged parent can only then write the id maps. */
    return err < 0 ? err : die_with_parent(stage);
}

/* A process cannot move into its time namespace by unshare(2): only its children are born there, or it
 * joins the namespace that they would be born in. */
int op_time_namespace(struct stage *stage, const struct step *step)
{
    const char *text = string_at(stage, step->time_namespace.offsets);
    int directory, fd, err = 0;

    if (*text != '\0')
        err = proc_write(stage, "self/timens_offsets", text, strlen(text));
    if (err < 0)
        return err;
    directory = proc_open(stage, "self/ns", O_PATH | O_DIRECTORY);     /* root's, as the stage is undumpable */
    if (directory < 0)
        return directory;
    fd = sys(openat(directory, "time_for_children", O_RDONLY | O_CLOEXEC));
    close(directory);
    if (fd < 0)
        return fd;
    err = sys(syscall(SYS_setns, fd, CLONE_NEWTIME));
    close(fd);
    return err;
}

/* By the caller's /proc: in a new user namespace nobody may make a procfs of his own for the caller's mounts. */
int op_send_user_namespace(struct stage *stage, const struct step *step)
{
    int fd = stage->pivoted ? -EPERM : sys(open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC)), err;

    (void)step;
    if (fd < 0)
        return fail(stage, DETAIL_SOURCE, fd);
    err = stage_report(stage, REPORT_FD, 0, 0, fd);
    close(fd);
    return err;
}

int op_setsid(struct stage *stage, const struct step *step)
{
    int err = sys(syscall(SYS_setsid));

    (void)stage;
    (void)step;
    if (err == -EPERM && getsid(0) == getpid())
        return 0;
    return err < 0 ? err : 0;
}

/* ---- what is set inside ---- */

int op_hostname(struct stage *stage, const struct step *step)
{
    const char *name = string_at(stage, step->hostname.name);

    return sys(sethostname(name, strlen(name)));
}

int op_domainname(struct stage *stage, const struct step *step)
{
    const char *name = string_at(stage, step->domainname.name);

    return sys(setdomainname(name, strlen(name)));
}

/* The interface's ioctls work on every kind of socket; netlink's is there without IPv4 and IPv6. */
int op_loopback_up(struct stage *stage, const struct step *step)
{
    int fd = sys(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)), err;
    struct ifreq request;

    (void)stage;
    (void)step;
    if (fd < 0)
        return fd;
    memset(&request, 0, sizeof request);
    memcpy(request.ifr_name, "lo", sizeof "lo");
    err = sys(ioctl(fd, SIOCGIFFLAGS, &request));
    if (err == 0) {
        request.ifr_flags = (short)(request.ifr_flags | IFF_UP);
        err = sys(ioctl(fd, SIOCSIFFLAGS, &request));
    }
    close(fd);
    return err;
}

/* The permissions of a key are the fourth field of its description, in hexadecimal. */
static int key_permissions(int serial, uint32_t *permissions)
{
    char text[512];             /* an id may have 255 characters; the kernel gives all or nothing */
    int length = sys(syscall(SYS_keyctl, KEYCTL_DESCRIBE, serial, text, sizeof text)), field = 0;

    if (length < 0)
        return length;
    *permissions = 0;
    for (int i = 0; i < length && i < (int)sizeof text && field < 4; i++) {
        char c = text[i];

        if (c == ';')
            field++;
        else if (field == 3 && c >= '0' && c <= '9')
            *permissions = *permissions << 4 | (uint32_t)(c - '0');
        else if (field == 3 && c >= 'a' && c <= 'f')
            *permissions = *permissions << 4 | (uint32_t)(c - 'a' + 10);
    }
    return field == 4 ? 0 : -EINVAL;
}

/* keyrings(7): a session keyring of its own, so that the host's keys are out of reach.  A process that is
 * exec'd later joins it by its name, for which the user needs the right to search it. */
static int join_keyring(const char *name)
{
    int serial = sys(syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name));
    uint32_t permissions;
    int err;

    if (serial < 0)
        return serial == -ENOSYS ? 0 : serial;
    err = key_permissions(serial, &permissions);
    if (err < 0)
        return err;
    return sys(syscall(SYS_keyctl, KEYCTL_SETPERM, serial, permissions | KEY_USR_SEARCH));
}

int op_keyring(struct stage *stage, const struct step *step)
{
    static const char file[] = "thread-self/attr/keycreate";
    const char *label = string_at(stage, step->keyring.label);
    int err = 0;

    if (*label != '\0')
        err = proc_write(stage, file, label, strlen(label));
    if (err == 0)
        err = join_keyring(string_at(stage, step->keyring.name));
    if (err == 0 && *label != '\0')
        err = proc_write(stage, file, "\n", 1);         /* keys made later take the default label again */
    return err;
}

/* Read a small file; its length without trailing newlines, or a negative errno. */
static int read_value(struct stage *stage, const char *path, char value[VALUE_MAX])
{
    int fd = proc_open(stage, path, O_RDONLY), got;

    if (fd < 0)
        return fd;
    got = sys(read(fd, value, VALUE_MAX - 1));
    close(fd);
    while (got > 0 && value[got - 1] == '\n')
        got--;
    if (got >= 0)
        value[got] = '\0';
    return got;
}

/* Equal but for the kind of white space, which the kernel changes from blanks to tabs. */
static int same_value(const char *left, const char *right)
{
    while (*left != '\0' && *right != '\0') {
        int blank = *left == ' ' || *left == '\t';

        if (blank != (*right == ' ' || *right == '\t') || (!blank && *left != *right))
            return 0;
        left++;
        right++;
    }
    return *left == *right;
}

/* The kernel stores some values in another form (rounded, sorted), so reading back cannot ask for the same
 * text; but a write that is followed by the old value, which was another one, has had no effect. */
/* Is ".." among the components of a path?  Names of parameters may hold two dots, as those of interfaces do. */
static int goes_up(const char *path)
{
    for (;;) {
        size_t length = strcspn(path, "/");

        if (length == 2 && path[0] == '.' && path[1] == '.')
            return 1;
        if (path[length] == '\0')
            return 0;
        path += length + 1;
    }
}

int op_sysctl(struct stage *stage, const struct step *step)
{
    const char *name = string_at(stage, step->sysctl.name), *value = string_at(stage, step->sysctl.value);
    char *before = bump(2 * VALUE_MAX), *after, path[256] = "sys/";
    const size_t start = strlen(path);
    int known, err;

    if (before == NULL || strlen(name) >= sizeof path - start)
        return before == NULL ? -ENOMEM : -ENAMETOOLONG;
    if (goes_up(name))
        return fail(stage, DETAIL_PLAN, EINVAL);
    after = before + VALUE_MAX;
    memcpy(path + start, name, strlen(name) + 1);
    known = read_value(stage, path, before) >= 0 && !same_value(before, value);
    err = proc_write(stage, path, value, strlen(value));
    if (err < 0)
        return err;
    if (known && read_value(stage, path, after) >= 0 && strcmp(before, after) == 0)
        return fail(stage, DETAIL_READ_BACK, EINVAL);
    return 0;
}
