/* probe VERB ARGUMENTS [-- VERB ARGUMENTS]...

   Runs the verbs in order; each prints one line of JSON (see verbs.c).  The exit status is 0, or what a verb such
   as `exit` asks for; 2 is a mistake in the test. */
#include <string.h>

#include "probe.h"

static int run(int argc, char **argv)
{
    for (const struct verb *verb = verbs; verb->name; verb++) {
        if (strcmp(verb->name, argv[0]) != 0)
            continue;
        if (argc > verb->least)
            return verb->run(argc, argv);
        fprintf(stderr, "probe: %s %s\n", verb->name, verb->help);
        return 2;
    }
    fprintf(stderr, "probe: no verb %s\n", argv[0]);
    return 2;
}

int main(int argc, char **argv)
{
    int start = 1;
    for (int i = 1; i <= argc; i++) {
        if (i < argc && strcmp(argv[i], "--") != 0)
            continue;
        char *keep = argv[i];
        argv[i] = NULL;
        if (i == start) {
            fputs("probe: a verb is missing\n", stderr);
            return 2;
        }
        int status = run(i - start, argv + start);
        if (status >= 0)
            return status;
        argv[i] = keep;
        start = i + 1;
    }
    return 0;
}
