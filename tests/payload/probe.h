/* What the files of the probe share.

   The probe is the program that the tests put into a container: it says what it sees, one JSON value a line, on
   standard output.  It is static, needs nothing in the root file system and not even /proc. */
#ifndef PROBE_H
#define PROBE_H

#include <stdio.h>

enum { OWN_DESCRIPTORS = 900 }; /* from here on they are the probe's own, and not reported */

/* json.c: a writer that remembers whether a comma is due. */
void json_begin(const char *name, char bracket);
void json_end(char bracket);
void json_text(const char *name, const char *value);
void json_number(const char *name, long long value);
void json_unsigned(const char *name, unsigned long long value);
void json_null(const char *name);
void json_line(void);

/* report.c */
extern const char *hook_state; /* what a hook read from standard input, or NULL */
int report(int argc, char **argv);
int read_file(const char *path, char *buffer, size_t size);

/* verbs.c: each prints its line and returns the exit status, or -1 for "go on". */
struct verb {
    const char *name;
    int (*run)(int argc, char **argv);
    int least; /* number of arguments that it needs */
    const char *help;
};
extern const struct verb verbs[];

#endif
