/* The boundary between Python, which decides, and the stage, which acts: its fixed part.  The operations with their
 * operands follow in operations.h, which is generated from spec/operations.
 *
 * Neither text has preprocessor lines: cffi reads them as its cdef, one behind the other, and C includes them.
 *
 * A plan is one block of memory, aligned to 8 bytes:
 *
 *     struct plan | struct step[nsteps] | string table (nstrings bytes)
 *
 * The stage runs the steps in order and stops at the first that fails; there are no branches.  A step is its operation,
 * the flags of this, and a structure with its operands.  What has no fixed size lies in the string table, which begins
 * and ends with a NUL, so that offset 0 is "" and no string runs off the end.  The operand holds the offset:
 *
 *     struct text     a NUL-terminated string
 *     struct list     count NUL-terminated strings, one behind the other
 *     struct array    count items of one size; the offset is a multiple of 8
 *
 * A slot is an index into the stage's table of file descriptors.  The first ninputs slots are filled from outside, by
 * SCM_RIGHTS, in order; steps fill the others.  -1 is no slot, where an operand is optional.
 */

enum plan_const {
    PLAN_MAGIC = 0x494f5950,        /* "PYOI" */
    PLAN_VERSION = 2,
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

struct text {
    uint32_t offset;
};

struct list {
    uint32_t offset;
    uint32_t count;
};

struct array {
    uint32_t offset;
    uint32_t count;
};

/* What `start` writes to the gate: GATE_TRACED when the steps that follow are to be reported. */
enum gate_byte { GATE_OPEN = 10, GATE_TRACED = 116 };

enum report_kind {
    REPORT_FAILED,                  /* step, err, detail; text for a hook */
    REPORT_BARRIER,                 /* detail: enum barrier */
    REPORT_FD,                      /* a descriptor by SCM_RIGHTS: the console's master, a user namespace */
    REPORT_CHILD,                   /* a pidfd by SCM_RIGHTS: the child of a fork, which carries on */
    REPORT_LISTENER,                /* detail: number of the seccomp listener in the stage's table */
    REPORT_EXECUTING,               /* the gate is open and the hooks have run; end of file now means success */
    REPORT_STEP,                    /* of a traced stage, after a step; detail: how long it took, in microseconds; text: what
                                       a hook has printed */
    REPORT_WARNING                  /* a control that is not applied, which is no failure.  Of capabilities: detail:
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
