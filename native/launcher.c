/* DIR/bin/pyoci: start the interpreter on DIR/lib/pyoci and on nothing else.
 *
 * A runtime is started by root from foreign directories with foreign environments.  So this program
 *   - fills closed standard descriptors, before anything else can land on 0, 1 or 2;
 *   - finds its installation by /proc/self/exe, not by argv[0], PATH or the working directory;
 *   - refuses code that somebody other than root, or the user who runs it, could have written;
 *   - passes on the few variables that pyoci reads (no PYTHON*, LD_*, GLIBC_TUNABLES, GCONV_PATH …);
 *   - runs the interpreter that the installation recorded, with no site, no user paths, no byte code
 *     written, and DIR/lib/pyoci in front of the standard library on sys.path.
 * It touches neither the umask, the signals nor the descriptors behind 2: they belong to the caller's request.
 *
 * The build defines PYOCI_INTERPRETER and PYOCI_STDLIB (absolute paths), and PYOCI_DEVELOPMENT for the
 * installation inside the source tree, where the directories above it are the developer's business.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "startup.h"

enum { MAX_DEPTH = 8, FAILURE = 1 };

static const char start[] =
    "import sys\n"
    "sys.path.insert(0, sys.argv.pop(1))\n"
    "from pyoci.__main__ import entry\n"
    "entry()\n";

static int complain(const char *path, const char *what)
{
    dprintf(STDERR_FILENO, "pyoci: %s: %s\n", path, what);
    return FAILURE;
}

/* Check one file or directory.  In a sticky directory nobody can replace what belongs to another, so one
 * that only leads to the code (above) may be writable. */
static int trusted(const char *path, const struct stat *status, int above)
{
    int shared = (status->st_mode & (S_IWGRP | S_IWOTH)) != 0;

    if (status->st_uid != 0 && status->st_uid != geteuid())
        return complain(path, "belongs to another user, who could have changed the code; refusing to run it");
    if (shared && !(above && (status->st_mode & S_ISVTX)) && !S_ISLNK(status->st_mode))
        return complain(path, "others can write it; refusing to run the code (chmod go-w)");
    return 0;
}

static int trusted_path(const char *path, int above)
{
    struct stat status;

    if (stat(path, &status) < 0)
        return complain(path, strerror(errno));
    return trusted(path, &status, above);
}

/* Check every directory that leads to path, and path itself. */
static int trusted_from_root(const char *path)
{
    char prefix[PATH_MAX];
    size_t length = strlen(path);

    if (length >= sizeof prefix)
        return complain(path, strerror(ENAMETOOLONG));
    if (trusted_path("/", 1))
        return FAILURE;
    for (size_t at = 1; at <= length; at++) {
        if (path[at] != '/' && path[at] != '\0')
            continue;
        memcpy(prefix, path, at);
        prefix[at] = '\0';
        if (trusted_path(prefix, path[at] == '/'))
            return FAILURE;
    }
    return 0;
}

/* Check everything below the open directory. */
static int trusted_tree(int fd, const char *name, int depth)
{
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;
    struct stat status;
    int result = 0;

    if (!directory)
        return complain(name, strerror(errno));
    while (!result && (entry = readdir(directory))) {
        if (strcmp(entry->d_name, "..") == 0)
            continue;
        if (fstatat(fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0)
            result = complain(entry->d_name, strerror(errno));
        else if (S_ISLNK(status.st_mode) || depth == MAX_DEPTH)
            result = complain(entry->d_name, "does not belong into the installation");
        else
            result = trusted(entry->d_name, &status, 0);
        if (!result && S_ISDIR(status.st_mode) && strcmp(entry->d_name, ".") != 0)
            result = trusted_tree(openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC),
                                  entry->d_name, depth + 1);
    }
    closedir(directory);
    return result;
}

/* DIR/bin/pyoci -> DIR/lib/pyoci */
static int find_library(char *path, size_t size)
{
    static const char suffix[] = "/lib/pyoci";
    ssize_t length = readlink("/proc/self/exe", path, size - sizeof suffix);

    if (length < 0)
        return complain("/proc/self/exe", strerror(errno));
    path[length] = '\0';
    for (int components = 0; components < 2; components++) {
        char *slash = strrchr(path, '/');
        if (!slash)
            return complain(path, "cannot tell where pyoci is installed");
        *slash = '\0';
    }
    strcat(path, suffix);
    return 0;
}

static int check(const char *library)
{
#ifdef PYOCI_DEVELOPMENT
    if (trusted_path(library, 0))
        return FAILURE;
#else
    if (trusted_from_root(library))
        return FAILURE;
#endif
    if (trusted_from_root(PYOCI_INTERPRETER) || trusted_from_root(PYOCI_STDLIB))
        return FAILURE;
    return trusted_tree(open(library, O_RDONLY | O_DIRECTORY | O_CLOEXEC), library, 0);
}

int main(int argc, char **argv, char **environment)
{
    static const char *const options[] = {PYOCI_INTERPRETER, "-I", "-S", "-B", "-X", "utf8", "-c", start};
    enum { OPTIONS = sizeof options / sizeof options[0] };
    static char locale[] = "LC_ALL=POSIX"; /* spares the interpreter the search for one */
    char library[PATH_MAX];
    char *variables[KEPT + 2] = {locale};
    const char *arguments[OPTIONS + 1 + (argc > 0 ? (size_t)argc : 1)];

    if (fill_standard_descriptors() < 0)
        return complain("/dev/null", strerror(errno));
    if (find_library(library, sizeof library) || check(library))
        return FAILURE;
    memcpy(arguments, options, sizeof options);
    arguments[OPTIONS] = library;
    for (int i = 1; i <= argc; i++)
        arguments[OPTIONS + i] = argv[i];
    if (argc < 1)
        arguments[OPTIONS + 1] = NULL;
    scrub(environment, variables + 1);
    execve(PYOCI_INTERPRETER, (char **)(size_t)arguments, variables);
    return complain(PYOCI_INTERPRETER, strerror(errno));
}
