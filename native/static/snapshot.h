/* The state of CPython after its start, kept in the file; see snapshot.c. */
#ifndef PYOCI_SNAPSHOT_H
#define PYOCI_SNAPSHOT_H

#include <stdbool.h>

/* Whether this file holds a snapshot: CPython is there, and every module is imported. */
extern bool snapshot_is_here;

/* All memory that was allocated. */
#define SNAPSHOT_MAX 0x1000000
extern char snapshot[SNAPSHOT_MAX];

/* From here on all memory comes from the part of the file that is kept.  CPython starts between these two. */
void snapshot_begin(void);
void snapshot_started(void);

/* Import every module and write the memory to standard output; return false, with Python's exception, if that fails. */
bool snapshot_write(void);

/* Make the state that was kept this process' own; return false, with Python's exception, if that fails. */
bool snapshot_resume(void);

#endif
