/* The stage: what becomes the container.
 *
 *   parent (Python)                         stage (this program)
 *   ---------------                         --------------------
 *   clone3, execveat ------------------->   main: makes its namespaces, waits for the plan
 *   plan + input descriptors ----------->   step, step, step …
 *             <----------- BARRIER_MAPS
 *   id maps, v1 cgroups; go ------------>
 *             <----------- REPORT_FD, REPORT_CHILD …
 *             <----------- BARRIER_READY
 *   state file, pid file; go ----------->   waits at the gate, without its parent
 *             (start) a byte in the FIFO >   execve
 *
 * Contract of everything below: no malloc, no stdio, no locale, no NSS, no threads; only system calls
 * and string.h.  Errors are negative errno numbers; nothing is printed.  After a switch of root nothing
 * but the user's program is executed and no host path is opened.
 */
#ifndef PYOCI_STAGE_H
#define PYOCI_STAGE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "../plan.h"
#include "../operations.h"

enum { NO_SLOT = -1, NO_FD = -1 };

struct stage {
    const struct plan *plan;
    const struct step *steps;
    const char *strings;
    int slots[PLAN_MAX_SLOTS];      /* -1 where empty */
    int root;                       /* O_PATH of the container's root; -1 before a step (root, join_process) has set it */
    int procfs;                     /* private, detached procfs; -1 until proc_open() needs it */
    int channel;                    /* SEQPACKET to the parent; -1 once it has been let go, or in the host */
    int helper;                     /* socket to the process that a fork has left behind; -1 when there is none */
    int status;                     /* FIFO to the process that opens the gate; -1 before the gate */
    int pivoted;                    /* the host's tree is out of reach: host paths are refused */
    int preserve;                   /* descriptors 3 … 2+preserve belong to the user's program */
    uint64_t ahead;                 /* CLONE_NEW* flags that were unshared before the plan came; 0 once a step has returned the result */
    int ahead_error;                /* how that went */
    int outlives;                   /* the death of the parent is not the end of this process */
    int null_attached, empty_attached;      /* the mounts that hide masked paths: the first has been attached itself */
    int32_t reached;                /* slot of a mount that its path was seen to lead to, see on_mount(); or NO_SLOT */
    int by_readv;                   /* the filter wants read_byte() to use readv(2) */
    int directory_changed;          /* an attempt to change the working directory has succeeded */
    int traced;                     /* each step is reported, until a filter may refuse what that takes */
    uint32_t current;               /* index of the step that runs */
    uint32_t detail;                /* enum detail of the failure that is being returned */
    const char *exec_path;          /* what resolve_exec has found */
    char text[REPORT_MAX_TEXT];     /* text of the failure, length bytes of it */
    uint32_t length;
};

/* A step returns 0, or a negative errno with stage->detail (and text) set. */
typedef int step_fn(struct stage *stage, const struct step *step);

enum { MESSAGE_FDS = 253 };         /* SCM_MAX_FD of the kernel */

/* ---- check.c, stage.c, message.c: decode, run, report ---- */

/* Check a plan of size bytes: every offset, list, blob and slot.  0 or -EINVAL. */
int plan_check(const void *memory, size_t size);
/* An empty stage: no slot filled, no root, no channel. */
void stage_init(struct stage *stage);
/* Run all steps of a checked plan.  0, or the failing step's negative errno; stage->current names the step. */
int stage_run(struct stage *stage, const void *memory);
/* Wait for one byte, by a call that the filter lets through.  1, 0 at end of file, or a negative errno. */
int read_byte(const struct stage *stage, int fd, char *byte);
/* Send one report, with stage->text when it has length, and a descriptor, or NO_FD. */
int stage_report(struct stage *stage, uint32_t kind, int err, uint32_t detail, int fd);
/* Send one message with nfds descriptors (at most MESSAGE_FDS).  0 or a negative errno. */
int message_send(int socket, const void *data, size_t size, const int *fds, unsigned nfds);
/* Receive a message of exactly size bytes, and its descriptors, room for MESSAGE_FDS of them.  1, 0 at end of file,
 * or a negative errno. */
int message_receive(int socket, void *data, size_t size, int *fds, unsigned *nfds);
/* Wait for the parent's go; -EPIPE when the parent is gone. */
int stage_wait_go(struct stage *stage);
const char *string_at(const struct stage *stage, struct text text);
/* The first string of a list; the others follow it. */
const char *first_of(const struct stage *stage, struct list list);
/* The items of an array. */
const void *array_at(const struct stage *stage, struct array array);
/* Fill argv (from the bump allocator) with the strings of a list and a NULL. NULL when out of memory. */
char **string_list(const struct stage *stage, struct list list);
/* Bytes that live until exec: mmap'd, never freed. */
void *bump(size_t size);
/* Put fd in a slot (a checked index); passes a negative fd on as the error it is, else 0. */
int slot_fill(struct stage *stage, int32_t slot, int fd);
/* The -errno idiom, with a detail.  Takes an errno of either sign. */
int fail(struct stage *stage, uint32_t detail, int err);
/* -errno when result < 0, else result: int fd = sys(open(…)) */
int sys(long result);

/* End, whatever a seccomp filter says to exit_group(2): behind it stands a trap, which is no system call. */
_Noreturn void stage_end(int status);
/* Is a system call to be made again?  A filter may answer EINTR for ever, so there is an end to it. */
int interrupted(long result, unsigned *tries);

extern step_fn *const step_table[OP_COUNT];

/* ---- program.c, namespaces.c ---- */

/* TERM, INT and HUP end the stage from now on. */
int gate_signals(void);

/* After err, for which the file at path did not run or may not: set the text of the failure to a word and what it is
 * about, as native.py reads it.  Nothing is set when there is nothing to tell, or a filter forbids looking. */
void tell_why_not_run(struct stage *stage, const char *path, int err);              /* reason.c */

/* Undumpable again, and tied to the parent's life again: a change of credentials takes both away. */
int rearm(const struct stage *stage);
/* As fork(2), with clone3(2)'s flags: the child's pid, 0 in the child. */
int process_copy(uint64_t flags, unsigned exit_signal, int *pidfd);                                 /* fork.c */
/* Die with the parent, unless the stage outlives it. */
int die_with_parent(const struct stage *stage);
/* From now on the death of the parent is not the end of the stage: 0 or a negative errno. */
int outlive_parent(struct stage *stage);

/* ---- mount.c, for the helper ---- */

/* What open_tree opens, at found (a descriptor) or, when that is NO_FD, at the step's path. */
int tree_open(struct stage *stage, const struct step *step, int found);
/* What set_attributes does, to mount. */
int tree_set(struct stage *stage, const struct step *step, int mount);

/* ---- fork.c ---- */

/* Have the helper do the present step with the descriptor fd, or NO_FD: what tree_open or tree_set gives. */
int helper_ask(struct stage *stage, int fd);

/* ---- path.c: the only file that resolves paths in the container's root ---- */

/* Resolve to an O_PATH descriptor with openat2(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS), EAGAIN retried.  flags: O_* */
int path_resolve(struct stage *stage, const char *path, int flags);
/* As above, no symlink anywhere (proc and sysfs targets). */
int path_literal(struct stage *stage, const char *path, int flags);
/* mkdir -p (0755), component by component under descriptors; O_PATH of the last. */
int path_mkdir(struct stage *stage, const char *path);
/* As above for proc and sysfs targets: a symlink on the way or at the end is -ELOOP. */
int path_mkdir_literal(struct stage *stage, const char *path);
/* Resolve, making a directory or an empty regular file (mknodat, never open(O_CREAT)) when missing. */
int path_ensure(struct stage *stage, const char *path, int directory, mode_t mode, int nofollow);
/* Open the parent directory of path (made when missing) and give the last component in name[256]. */
int path_parent(struct stage *stage, const char *path, char *name);

/* The mount that an open file lies on, or -errno. */
int64_t mount_id(int fd);
/* O_PATH of a path below a directory; -EXDEV when links lead out of it. */
int path_below(int directory, const char *path);

/* ---- proc.c: the private procfs, verified; every /proc access goes through it ---- */
int proc_root(struct stage *stage);
int proc_open(struct stage *stage, const char *path, int flags);
/* Write text in one write(2); a short write is an error. */
int proc_write(struct stage *stage, const char *path, const char *text, size_t length);
/* A fresh descriptor with other flags for an O_PATH one, through the private /proc/self/fd. */
int fd_reopen(struct stage *stage, int fd, int flags);

/* ---- steps, by family ---- */
step_fn op_barrier, op_gate, op_exec, op_hook, op_resolve_exec, op_close;                         /* program.c */
step_fn op_undumpable, op_become_root, op_join, op_join_process, op_unshare, op_time_namespace, op_send_user_namespace,
    op_setsid, op_hostname, op_domainname, op_loopback_up, op_keyring, op_sysctl;                  /* namespaces.c */
step_fn op_fork, op_helper_enter, op_helper_end;                                                   /* fork.c */
step_fn op_host_propagation, op_root, op_open_tree, op_fsmount, op_set_attributes, op_copy_up, op_attach, op_remount,
    op_propagate;                                                                                  /* mount.c, copyup.c */
step_fn op_symlink, op_verify_mount, op_device, op_null_device, op_readonly_path, op_mask_path, op_pivot,
    op_root_readonly;                                                                    /* rootfs.c, pivot.c */
step_fn op_console, op_controlling_tty;                                                            /* console.c */
step_fn op_rlimit, op_scheduler, op_io_priority, op_personality, op_stdio, op_umask, op_chdir, op_bounding,
    op_groups, op_ids, op_capabilities, op_no_new_privs;                                           /* identity.c */
step_fn op_apparmor, op_selinux, op_seccomp;                                                       /* security.c */

#endif
