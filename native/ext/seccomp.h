/* Seccomp filters, compiled by libseccomp.
 *
 * This text has no preprocessor lines: cffi reads it as its cdef.
 */

/* One rule for nnames system calls.  Rules, names and conditions lie in arrays of their own, one behind
 * the other: each rule takes its next nnames names and its next nargs conditions. */
struct pyoci_seccomp_rule {
    uint32_t action;            /* SCMP_ACT_*, with the errno in the low 16 bits */
    uint32_t nnames;
    uint32_t nargs;
};

struct pyoci_seccomp_arg {
    uint32_t index;
    uint32_t op;                /* enum scmp_compare */
    uint64_t value;             /* the mask of SCMP_CMP_MASKED_EQ */
    uint64_t value_two;         /* what the masked argument equals */
};

/* Compile a filter for the machine's own architecture and archs (SCMP_ARCH_*).  Returns a memfd that
 * holds struct sock_filter's, from offset 0 on, or a negative errno; *failed_rule is then the index of
 * the rule, or nrules when it was none.  Names that libseccomp does not know are left out, and rules
 * that do what the default does; conditions on one argument twice are alternatives.  When the default is
 * an errno, system calls that are newer than every one in the rules fail with ENOSYS instead, so that C
 * libraries fall back to older ones. */
int pyoci_seccomp_compile(uint32_t default_action, const uint32_t *archs, uint32_t narchs,
                          const struct pyoci_seccomp_rule *rules, uint32_t nrules,
                          const struct pyoci_seccomp_arg *args, const char *names, uint32_t *failed_rule);

/* What a program can answer to a system call of the machine's own architecture, its arguments being unknown. */
enum pyoci_seccomp_answer {
    PYOCI_SECCOMP_PASSES = 1,   /* it is made; SECCOMP_RET_TRACE counts as that */
    PYOCI_SECCOMP_ASKS = 2,     /* SECCOMP_RET_USER_NOTIF */
    PYOCI_SECCOMP_REFUSES = 4
};

/* Returns the answers that are possible, together; 0 when there is no such system call here, or its answer
 * cannot be told. */
int pyoci_seccomp_answers(const char *program, uint32_t length, const char *name);

/* Does libseccomp know a system call of this name, on any architecture? */
int pyoci_seccomp_known(const char *name);
/* Can a filter of this machine have rules for this architecture (SCMP_ARCH_*), too?  libseccomp must know it, and its
 * byte order must be the machine's. */
int pyoci_seccomp_arch_known(uint32_t arch);
/* Does the kernel take this SECCOMP_FILTER_FLAG_*?  seccomp(2) */
int pyoci_seccomp_flag_supported(uint32_t flag);
/* libseccomp's version: major << 16 | minor << 8 | micro. */
int pyoci_seccomp_version(void);
