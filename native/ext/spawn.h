/* Processes that the host side starts, and its side of the conversation with the stage.
 *
 * This text has no preprocessor lines: cffi reads it as its cdef.  Unless said otherwise a function
 * returns a number >= 0, or a negative errno.  Every descriptor that is returned is close-on-exec.
 */

/* Start the stage from a sealed copy in memory, with clone3(2).
 *
 * clone_flags: CLONE_NEW* of the namespaces it is born in; ahead_flags: those that it makes itself, while
 * the caller goes on; cgroup_fd: directory of the cgroup it is born in, or -1; preserve: number of
 * descriptors behind 2 that belong to the user's program.
 * *pidfd names the process, *channel is the SEQPACKET socket to it.  Returns its pid.  ENOEXEC: the
 * host's vm.memfd_noexec forbids to execute the stage.  ECHILD: it was killed before it ran, as recent kernels do to a process that is cloned into a cgroup that was killed before. */
int pyoci_spawn(uint64_t clone_flags, uint32_t ahead_flags, int cgroup_fd, int preserve, int *pidfd,
                int *channel);

/* Send the plan (size bytes in memfd) and the descriptors that fill slots 0 to nfds-1.  traced: each step is reported. */
int pyoci_send_plan(int channel, int memfd, uint32_t size, const int *fds, uint32_t nfds, int traced);

/* Receive one report from the channel.  *fd is the descriptor that came with it, or -1; text takes at most capacity
 * bytes.  1 for a report, 0 when the stage has gone or runs the program, -EINTR for a signal, -EPROTO for all else. */
int pyoci_receive(int channel, struct report *report, char *text, uint32_t capacity, int *fd);

/* Let the stage go on behind its barrier.  -EPIPE when it is gone. */
int pyoci_resume(int channel);

/* Make a memfd that holds size bytes, positioned at its start.  sealed: nobody can change it any more. */
int pyoci_memfd(const char *name, const void *data, size_t size, int sealed);

/* Run a plan in this process (host steps and tests).  slots has nslots members, -1 where empty: inputs
 * on the way in, everything that the steps opened on the way out, also after a failure.  On failure
 * *failed_step is the index of the step and *detail its enum detail. */
int pyoci_run_steps(const void *plan, size_t size, int *slots, uint32_t nslots, uint32_t *failed_step,
                    uint32_t *detail);

/* Run a program of the host (hooks, newuidmap) in a session and process group of its own, with default
 * signals and no other descriptors.  argv and env: argc and envc NUL-terminated strings, one behind the
 * other.  input_fd and output_fd (standard output and error): -1 for /dev/null.  directory_fd: working
 * directory, or -1.  bound: it is killed when the thread that calls dies.  Returns its pid, *pidfd names it;
 * an error of execve(2) is returned. */
int pyoci_execute(const char *path, const char *argv, uint32_t argc, const char *env, uint32_t envc,
                  int input_fd, int output_fd, int directory_fd, int bound, int *pidfd);
