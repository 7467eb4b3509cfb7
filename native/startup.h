/* What both forms of the command do before anything else: see launcher.c and static/main.c. */
#ifndef PYOCI_STARTUP_H
#define PYOCI_STARTUP_H

#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

/* The variables that pyoci reads; no other reaches Python (PYTHON*, LD_*, LC_*, TZ, GCONV_PATH …). */
static const char *const kept[] = {
    "DBUS_SESSION_BUS_ADDRESS", "HOME", "LISTEN_FDNAMES", "LISTEN_FDS", "LISTEN_PID", "NOTIFY_SOCKET", "PATH", "TERM",
    "XDG_RUNTIME_DIR"
};
enum { KEPT = sizeof kept / sizeof kept[0] };

/* Open what is closed of 0, 1 and 2, before anything else can land there.  Without a /dev/null the number is
 * taken by something that can be neither read nor written. */
static inline int fill_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0 && open("/", O_PATH) < 0)
            return -1;
    return 0;
}

/* Copy the kept variables, each once, with a NULL behind them; to has room for KEPT + 1. */
static inline void scrub(char **from, char **to)
{
    for (size_t i = 0; i < KEPT; i++) {
        size_t length = strlen(kept[i]);
        for (char **variable = from; *variable; variable++) {
            if (strncmp(*variable, kept[i], length) == 0 && (*variable)[length] == '=') {
                *to++ = *variable;
                break;
            }
        }
    }
    *to = NULL;
}

#endif
