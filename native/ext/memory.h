#ifndef PYOCI_MEMORY_H
#define PYOCI_MEMORY_H

/* Open the stage's program: a file that nobody can write to, also not who finds it as /proc/self/exe in a
 * container (CVE-2019-5736).  ENOEXEC: vm.memfd_noexec forbids to execute a memfd, and there is no right to make a file
 * system instead. */
int stage_file(void);

#endif
