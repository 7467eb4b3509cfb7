/* The state of CPython after its start, kept in the file; see snapshot.c. */
#ifndef PYOCI_SNAPSHOT_H
#define PYOCI_SNAPSHOT_H

#include <stdbool.h>
#include <stdint.h>

/* Whether this file holds a snapshot: CPython is there, and every module is imported. */
extern bool snapshot_is_here;

/* The memory.  At its beginning native/snapshot.py writes its size, which is that up to a last byte that is not zero. */
struct snapshot_head {
    uint64_t size, unused;
};
#define SNAPSHOT_MAX 0x1000000
extern union snapshot {
    struct snapshot_head head;
    char bytes[SNAPSHOT_MAX];
} snapshot;

/* From here on all memory comes from the part of the file that is kept.  CPython starts between these two. */
void snapshot_begin(void);
void snapshot_started(void);

/* Import every module and write the memory to standard output; gives false, with Python's exception, if it fails. */
bool snapshot_write(void);

/* Make the state that was kept this process' own; gives false, with Python's exception, if it fails. */
bool snapshot_resume(void);

#endif
