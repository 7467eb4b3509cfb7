/* Device control of cgroup v2: a BPF program that the kernel asks about each use of a device node.
 *
 * This text has no preprocessor lines: cffi reads it as its cdef.
 */

/* Load count instructions of 8 bytes as a BPF_PROG_TYPE_CGROUP_DEVICE program and attach it to the
 * cgroup.  A program that an earlier call attached there is replaced in one step, so that the cgroup is
 * never without one; programs of others stay, and the kernel asks all of them.  When the verifier refuses
 * the program, log (log_size bytes, may be NULL and 0) says why.  Returns 0 or a negative errno. */
int pyoci_bpf_device_attach(int cgroup_fd, const void *insns, unsigned int count, char *log, unsigned int log_size);
