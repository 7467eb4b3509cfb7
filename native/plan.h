/* The boundary between Python, which decides, and the stage, which acts.
 *
 * This text has no preprocessor lines: cffi reads it as its cdef, C includes it, and the
 * numbers of the operations exist nowhere else.
 *
 * A plan is one block of memory:
 *
 *     struct plan | struct step[nsteps] | string table (nstrings bytes)
 *
 * It is byte code without branches: the stage runs the steps in order and stops at the first
 * that fails.  Every string and blob is an offset into the string table.  The table begins with
 * a NUL and ends with one, so offset 0 is "" and no string can run off the end.  A "list" is
 * an offset and a count: count NUL-terminated strings, one behind the other.  A "blob" is an
 * offset (a multiple of 8) and a length.
 *
 * A slot is an index into the stage's table of file descriptors.  The first ninputs slots are
 * filled from outside, by SCM_RIGHTS, in order; steps fill the others.  Slot -1 is "none".
 */

enum plan_const {
    PLAN_MAGIC = 0x494f5950,        /* "PYOI" */
    PLAN_VERSION = 1,
    PLAN_MAX_SLOTS = 4096,
    PLAN_MAX_STEPS = 65536,
    PLAN_MAX_BYTES = 67108864,
    REPORT_MAX_TEXT = 4000          /* with its head a report is atomic on a pipe (PIPE_BUF) */
};

struct plan {
    uint32_t magic;
    uint32_t version;
    uint32_t nsteps;
    uint32_t nstrings;
    uint32_t nslots;
    uint32_t ninputs;
};

struct step {
    uint16_t op;                    /* enum op */
    uint16_t flags;                 /* the *_flag enum of the operation */
    int32_t slot;
    uint32_t a;
    uint32_t b;
    uint32_t c;
    uint32_t d;
    uint64_t n;
    uint64_t m;
};

/* What a step does, and the meaning of its members.  "path" is a path inside the container's
 * root: it is resolved from the root's descriptor with openat2(RESOLVE_IN_ROOT), before and
 * after the pivot alike.  "host path" is resolved in the mount namespace the stage was born in. */
enum op {
    /* ---- order and talk (stage.c) ---- */
    OP_BARRIER,         /* a: enum barrier.  Report it, wait for the parent's go; end of file ends the stage. */
    OP_GATE,            /* slot: FIFO to read one byte from (start opens the gate); a: slot of the FIFO that later
                           reports go to.  TERM, INT and HUP end the stage while it waits.  The byte is GATE_TRACED when
                           the steps that follow are to be reported, up to a filter. */
    OP_EXEC,            /* a,b: list argv; c,d: list env.  Run the file that OP_RESOLVE_EXEC found.  Reports
                           REPORT_EXECUTING first when it follows a gate. */
    OP_HOOK,            /* a: host path (or path, after the pivot) of the program; b,c: list argv; d: list env, its
                           count in n's low half; n's high half: timeout in seconds, 0 for none; slot: memfd that is
                           its standard input (reopened at offset 0).  flags: unused.  The failure report carries the
                           end of what it printed; detail: wait status; err: ETIMEDOUT, ECHILD (failed) or errno. */

    /* ---- namespaces (namespaces.c) ---- */
    OP_DUMPABLE,        /* n: 0 or 1, for PR_SET_DUMPABLE */
    OP_PARENT_DEATH,    /* n: signal sent when the parent dies, 0 for none (PR_SET_PDEATHSIG) */
    OP_BECOME_ROOT,     /* groups (when allowed), gid and uid 0 of the user namespace; flags: GROUPS_KEEP leaves the groups */
    OP_JOIN,            /* slot, a: first slot and number of namespace descriptors; joined in the order that the rights
                           ask for: others first, then the user namespace, then what failed with EPERM */
    OP_JOIN_PROCESS,    /* slot: pidfd; n: CLONE_NEW* flags, joined in one setns(2) */
    OP_FORK,            /* n: CLONE_NEW* flags.  Goes on in a new child of the same parent (CLONE_PARENT); reports
                           REPORT_CHILD with its pidfd; the old process ends.  flags: FORK_HELPER, it stays as the
                           helper: with the credentials that it has, until OP_HELPER_END. */
    OP_HELPER_ENTER,    /* The helper joins this process's mount namespace and takes its root directory */
    OP_HELPER_END,      /* The helper ends */
    OP_UNSHARE,         /* n: CLONE_NEW* flags */
    OP_TIME_OFFSETS,    /* a: text for timens_offsets, "" for none, or when the parent has written it; then enters
                           time_for_children */
    OP_SEND_USER,       /* REPORT_FD of this process's user namespace: of a hidden process not even the parent may open it */
    OP_SETSID,
    OP_HOSTNAME,        /* a: name */
    OP_DOMAINNAME,      /* a: name */
    OP_LOOPBACK_UP,
    OP_KEYRING,         /* a: name; b: SELinux label for its creation or "" */
    OP_SYSCTL,          /* a: name with slashes, below /proc/sys; b: value.  Read back where readable. */

    /* ---- mounts (mount.c) ---- */
    OP_PROPAGATION,     /* n: MS_* propagation of "/", the stage's own copy of the host's tree */
    OP_ROOT,            /* slot: filled with the root.  Clones the current directory's tree (parent did fchdir to the
                           rootfs before the clone), gives it propagation n (MS_*, 0: leave), attaches it over the
                           current directory and moves into it. */
    OP_OPEN_TREE,       /* slot: filled; a: host path, or path with TREE_IN_ROOT.  A detached clone, in which the kernel
                           keeps what is locked in this mount namespace.  flags: enum tree_flag */
    OP_FSMOUNT,         /* slot: filled; a: file system type; b,c: list of options "key" or "key=value"; d: source or "";
                           n: MOUNT_ATTR_* of the new mount */
    OP_SETATTR,         /* slot: mount; n: attr_set; m: attr_clr; a: propagation (MS_*) or 0; b: 1 + slot of the user
                           namespace of an idmapped mount, or 0.  flags: enum setattr_flag */
    OP_COPY_UP,         /* slot: detached tmpfs; a: path.  flags: COPY_MODE takes mode and owner of the directory that the
                           mount will hide, COPY_CONTENT also what is in it */
    OP_ATTACH,          /* slot: detached mount; a: path.  flags: enum attach_flag.  Missing targets are made, as the
                           mount's root is a directory or not; n: mode of a made directory (0: 0755); m: with ATTACH_DEVICE
                           what the mount must be: S_IFMT bits << 32 | makedev */
    OP_REMOUNT,         /* a: path; n: attr_set; m: attr_clr; b,c: list of file system options; flags: REMOUNT_BIND for
                           mount attributes only, REMOUNT_RECURSIVE for those of the mounts below, too */
    OP_PROPAGATE,       /* a: path; n: MS_* propagation of the mount there */

    /* ---- the root file system (rootfs.c) ---- */
    OP_MKDIR,           /* a: path; n: mode */
    OP_SYMLINK,         /* a: text of the link; b: path of the link.  An existing entry is left alone.
                           flags: SYMLINK_IF_SOURCE only when the (absolute) text exists on the host side's /proc;
                           SYMLINK_REPLACE */
    OP_VERIFY_MOUNT,    /* slot: mount; a: path that must lead to it.  EXDEV when it leads to another one. */
    OP_DEVICE,          /* a: path; n: makedev; m: S_IFMT bits; b: mode; c: uid; d: gid.  The same node may be there
                           already; anything else is EEXIST. */
    OP_NULL_DEVICE,     /* slot: filled with a detached clone of the host's /dev/null, verified to be chr 1:3, private,
                           read-only, nosuid and noexec (but not nodev: it is read as an empty file) */
    OP_READONLY_PATH,   /* a: path; missing is fine.  c: 1 + slot of the mount that the path lies in, or 0; n: how much
                           of the path leads to that mount.  The rest is resolved from there. */
    OP_MASK_PATH,       /* a, c, n: as of OP_READONLY_PATH.  slot: OP_NULL_DEVICE's; b: slot of an empty read-only
                           tmpfs */
    OP_CONSOLE,         /* slot: filled with the peer.  Makes a pty in the container's devpts, sends the master
                           (REPORT_FD), binds the peer on /dev/console (flags: CONSOLE_BIND).  n: rows<<16 | columns,
                           0 to leave; a: uid that will own it */
    OP_CONTROLLING_TTY, /* slot: peer; becomes the controlling terminal and descriptors 0, 1 and 2 */
    OP_PIVOT,           /* flags: PIVOT_MOVE for MS_MOVE + chroot; PIVOT_CHROOT for chroot(2) into the current directory
                           alone (no mount namespace).  The old root is gone afterwards. */
    OP_ROOT_READONLY,   /* the root mount itself, not what is mounted below */

    /* ---- who the process is (identity.c) ---- */
    OP_RLIMIT,          /* a: resource; n: soft; m: hard */
    OP_SCHEDULER,       /* b,c: blob struct sched_attr and its length */
    OP_IO_PRIORITY,     /* n: value for ioprio_set(2), process group */
    OP_PERSONALITY,     /* n: persona */
    OP_STDIO,           /* descriptors 0-2: /dev/null of the host is reopened inside; pipes and files are given to uid a */
    OP_UMASK,           /* n */
    OP_CHDIR,           /* a: path as the new process sees it.  flags: CHDIR_CREATE, CHDIR_RETRY (EACCES is left to a later
                           OP_CHDIR without this flag, which does nothing where this one has succeeded).  The raw getcwd must begin with "/". */
    OP_BOUNDING,        /* n: capabilities to keep in the bounding set */
    OP_GROUPS,          /* a,b: blob of uint32 gids and their number; flags: GROUPS_KEEP leaves them.  None where
                           nobody may set any (setgroups of the user namespace says "deny") is no error */
    OP_IDS,             /* a: uid; b: gid.  Capabilities are kept across the change. */
    OP_CAPABILITIES,    /* n: permitted; m: effective; a,b: inheritable low and high half; c,d: ambient low and high half */
    OP_NO_NEW_PRIVS,
    OP_APPARMOR,        /* a: profile */
    OP_SELINUX,         /* a: label for exec */
    OP_SECCOMP,         /* a,b: blob of struct sock_filter and their number; n: SECCOMP_FILTER_FLAG_*.  With the listener
                           flag, REPORT_LISTENER carries the descriptor's number in detail and waits for go.  flags:
                           SECCOMP_READV, the filter refuses read(2) but not readv(2) */
    OP_RESOLVE_EXEC,    /* a,b: list of candidate files.  The first that this process may execute is the one that
                           OP_EXEC runs.  detail: DETAIL_NOT_EXECUTABLE or DETAIL_NOT_FOUND; text: why,
                           as reason.c tells it, and so of OP_EXEC */
    OP_CLOSE,           /* n: number of descriptors behind 2 that stay open (--preserve-fds); all others close on exec */
    OP_COUNT
};

enum gate_byte { GATE_OPEN = 10, GATE_TRACED = 116 };
enum fork_flag { FORK_HELPER = 1 };
enum tree_flag {
    TREE_RECURSIVE = 1,
    TREE_NOFOLLOW = 2,
    TREE_HELPER = 4,                /* the helper opens it, with its credentials */
    TREE_IN_ROOT = 8                /* in the container's root, as it is now */
};
enum setattr_flag {
    SETATTR_RECURSIVE = 1,
    SETATTR_HELPER = 2              /* the helper does it, with its credentials */
};
enum copy_flag { COPY_MODE = 1, COPY_CONTENT = 2 };
enum attach_flag {
    ATTACH_LITERAL = 1,             /* proc and sysfs: no symlink on the way, a real directory */
    ATTACH_NOFOLLOW = 2,            /* the last component is not followed */
    ATTACH_PROC_OK = 4,             /* the target may lie below /proc (the builder has checked the allow-list) */
    ATTACH_DEVICE = 8               /* a device bound from the host: an existing node must be the same device */
};
enum remount_flag { REMOUNT_BIND = 1, REMOUNT_RECURSIVE = 2 };
enum symlink_flag { SYMLINK_IF_SOURCE = 1, SYMLINK_REPLACE = 2 };
enum console_flag { CONSOLE_BIND = 1 };
enum pivot_flag { PIVOT_MOVE = 1, PIVOT_CHROOT = 2 };
enum chdir_flag { CHDIR_CREATE = 1, CHDIR_RETRY = 2 };
enum seccomp_flag { SECCOMP_READV = 1 };
enum groups_flag { GROUPS_KEEP = 1 };

/* Points at which the parent must do something before the stage may go on. */
enum barrier {
    BARRIER_MAPS,                   /* what the stage may not write itself: id maps, offsets of the clocks */
    BARRIER_HOOKS,                  /* prestart and createRuntime hooks */
    BARRIER_READY                   /* everything is applied; after go the stage lives without its parent */
};

enum report_kind {
    REPORT_FAILED,                  /* step, err, detail; text for OP_HOOK */
    REPORT_BARRIER,                 /* detail: enum barrier */
    REPORT_FD,                      /* a descriptor by SCM_RIGHTS: the console's master, a user namespace */
    REPORT_CHILD,                   /* a pidfd by SCM_RIGHTS: OP_FORK's child, which carries on */
    REPORT_LISTENER,                /* detail: number of the seccomp listener in the stage's table */
    REPORT_EXECUTING,               /* the gate is open and the hooks have run; end of file now means success */
    REPORT_STEP,                    /* of a traced stage, after a step; detail: how long it took, in microseconds; text: what
                                       a hook has printed */
    REPORT_WARNING                  /* a control that is not applied, which is no failure.  Of OP_CAPABILITIES: detail:
                                       enum detail; text: those that are missing.  Of others: err says why */
};

struct report {
    uint32_t kind;                  /* enum report_kind */
    uint32_t step;                  /* index in the plan */
    int32_t err;                    /* errno, 0 for none */
    uint32_t detail;                /* by kind; of a failure: enum detail, or what the operation says */
    uint32_t length;                /* bytes of text that follow the report, at most REPORT_MAX_TEXT */
};

/* Which part of a step failed, where errno alone would not tell. */
enum detail {
    DETAIL_NONE,
    DETAIL_PLAN,                    /* the plan itself is malformed */
    DETAIL_TARGET,                  /* resolving or making the target in the root */
    DETAIL_NOT_DIRECTORY,           /* the target must be a directory of the root itself, not a link */
    DETAIL_SOURCE,
    DETAIL_OPTION,                  /* the file system refused an option; text: the option and what it says */
    DETAIL_CREATE,
    DETAIL_ATTACH,
    DETAIL_ATTRIBUTES,
    DETAIL_DIFFERENT_DEVICE,        /* another file is already there */
    DETAIL_PROCFS,                  /* the private procfs could not be made or is not one */
    DETAIL_READ_BACK,               /* a value written reads back differently */
    DETAIL_ESCAPED,                 /* the working directory lies outside the root */
    DETAIL_NOT_FOUND,
    DETAIL_NOT_EXECUTABLE,
    DETAIL_INHERITABLE,
    DETAIL_AMBIENT
};
