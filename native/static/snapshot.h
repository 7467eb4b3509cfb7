/* The state of CPython after its start, kept in the file; see snapshot.c. */
#ifndef PYOCI_SNAPSHOT_H
#define PYOCI_SNAPSHOT_H

#include <stdbool.h>

/* Tell whether this file holds a snapshot: CPython is there, and every module is imported. */
bool snapshot_is_here(void);

/* From here on all memory comes from the part of the file that is kept. */
void snapshot_begin(void);

/* Import every module and write the memory to standard output; gives false, with Python's exception, if it fails. */
bool snapshot_write(void);

/* Make the state that was kept this process' own; gives false, with Python's exception, if it fails. */
bool snapshot_resume(void);

#endif
