/* What a crash ends in; see crash.c. */
#ifndef PYOCI_CRASH_H
#define PYOCI_CRASH_H

/* From here on a crash is told in one line. */
void watch_crashes(void);

#endif
