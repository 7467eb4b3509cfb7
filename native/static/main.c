/* pyoci as one static file: CPython, cffi's backend, the extension and the frozen modules.
 *
 * There is no search path, no site, no environment but the variables of startup.h, no locale, no shared
 * library and no thread; no file of Python's is looked for.  What can be imported is what modules.h
 * and frozen.c (freeze.py) name.  All of it happens when the file is built: a start goes on from there, see
 * snapshot.c.
 *
 * There is no sys.stdin, sys.stdout and sys.stderr (they are None): a recorded one would know the build's descriptors.
 */
#define _GNU_SOURCE
#include <Python.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>

#include "crash.h"
#include "snapshot.h"
#include "startup.h"

enum { FAILURE = 1, HEADROOM = 3 << 20, HASH_SEED = 1 };

static int complain(const char *what)
{
    dprintf(STDERR_FILENO, "pyoci: cannot start: %s\n", what);
    return FAILURE;
}

/* Tell, in one line and without reading a source file, of an error that no Python code could handle. */
static int tell_error(void)
{
    PyObject *type, *value, *traceback, *text;
    const char *words;

    PyErr_Fetch(&type, &value, &traceback);
    text = value ? PyObject_Str(value) : NULL;
    words = text ? PyUnicode_AsUTF8(text) : NULL;
    dprintf(STDERR_FILENO, "pyoci: internal error: %s: %.*s\n", type ? ((PyTypeObject *)type)->tp_name : "unknown",
            words ? (int)strcspn(words, "\n") : 0, words ? words : "");
    return FAILURE;
}

/* Stand for CPython's own, which dump what they know in several lines and abort. */
_Noreturn void __wrap__Py_FatalErrorFunc(const char *function, const char *message);
_Noreturn void __wrap__Py_FatalErrorFormat(const char *function, const char *format, ...);

void __wrap__Py_FatalErrorFunc(const char *function, const char *message)
{
    dprintf(STDERR_FILENO, "pyoci: internal error: %s: %s\n", function ? function : "CPython", message);
    _exit(FAILURE);
}

void __wrap__Py_FatalErrorFormat(const char *function, const char *format, ...)
{
    __wrap__Py_FatalErrorFunc(function, format);
}

/* Ask for what a verb takes, and give it back: without memory for its first objects CPython would abort. */
static int has_memory(void)
{
    void *memory = mmap(NULL, HEADROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return memory != MAP_FAILED && munmap(memory, HEADROOM) == 0;
}

static volatile sig_atomic_t interrupted;

/* Asked when a system call was cut short.  The first SIGINT becomes a KeyboardInterrupt, so that what is half made is
 * undone; the second one ends us.  CPython's own handlers are those that Python code has set. */
int __real_PyErr_CheckSignals(void);
int __wrap_PyErr_CheckSignals(void);

int __wrap_PyErr_CheckSignals(void)
{
    if (!interrupted)
        return __real_PyErr_CheckSignals();
    interrupted = 0;
    PyErr_SetNone(PyExc_KeyboardInterrupt);
    return -1;
}

static int raise_interrupt(void *unused)
{
    (void)unused;
    return __wrap_PyErr_CheckSignals();
}

static void on_interrupt(int signal_number)
{
    int saved = errno;

    (void)signal_number;
    interrupted = 1;
    Py_AddPendingCall(raise_interrupt, NULL);
    errno = saved;
}

/* CPython's own would look at each of 64 signals; the stage gives all their defaults back. */
static void set_signals(void)
{
    struct sigaction action = {.sa_handler = SIG_IGN}, before;

    sigaction(SIGPIPE, &action, NULL);
    sigaction(SIGXFSZ, &action, NULL);
    action.sa_handler = SIG_DFL;        /* where a caller had it ignored, the kernel would forget how children end */
    sigaction(SIGCHLD, &action, NULL);
    action.sa_handler = on_interrupt;
    action.sa_flags = (int)SA_RESETHAND;
    if (sigaction(SIGINT, NULL, &before) == 0 && before.sa_handler == SIG_DFL)
        sigaction(SIGINT, &action, NULL);
}

static PyStatus start(void)
{
    static const char *const streams[] = {"stdin", "__stdin__", "stdout", "__stdout__", "stderr", "__stderr__"};
    PyPreConfig before;
    PyConfig config;
    PyStatus status;

    PyPreConfig_InitIsolatedConfig(&before);
    before.utf8_mode = 1;
    status = Py_PreInitialize(&before);
    if (PyStatus_Exception(status))
        return status;
    PyConfig_InitIsolatedConfig(&config);
    config.use_hash_seed = 1;
    config.hash_seed = HASH_SEED;
    config.install_signal_handlers = 0;
    config.module_search_paths_set = 1;
    config.pathconfig_warnings = 0;
    config.site_import = 0;
    config.write_bytecode = 0;
    status = Py_InitializeFromConfig(&config);
    if (!PyStatus_Exception(status))
        PyGC_Disable(); /* the process ends before cycles matter */
    for (size_t i = 0; !PyStatus_Exception(status) && i < sizeof streams / sizeof streams[0]; i++)
        PySys_SetObject(streams[i], Py_None);
    return status;
}

/* Return the list for sys.argv, which the core phase does not set. */
static PyObject *words(int count, char **arguments)
{
    PyObject *list = PyList_New(count);

    for (int i = 0; list && i < count; i++) {
        PyObject *word = PyUnicode_DecodeUTF8(arguments[i], (Py_ssize_t)strlen(arguments[i]), "surrogateescape");
        if (!word)
            return NULL;
        PyList_SET_ITEM(list, i, word);
    }
    return list;
}

static int run(int count, char **arguments)
{
    PyObject *list = words(count, arguments), *module;

    /* sys.frozen is how a program learns, by convention, that it was made into one file. */
    if (!list || PySys_SetObject("argv", list) < 0 || PySys_SetObject("frozen", Py_True) < 0)
        return tell_error();
    module = PyImport_ImportModule("pyoci.__main__");
    if (module)
        PyObject_CallMethod(module, "entry", NULL);
    return tell_error(); /* entry() ends the process */
}

int main(int argc, char **argv)
{
    static char *variables[KEPT + 1];
    bool is_build = !snapshot_is_here && argc == 2 && strcmp(argv[1], "--snapshot") == 0;

    watch_crashes();
    if (fill_standard_descriptors() < 0)
        return complain(strerror(errno));
    if (!has_memory())
        return complain("no memory");
    scrub(environ, variables);
    environ = variables;
    if (is_build)
        snapshot_begin();
    if (!snapshot_is_here) {
        PyStatus status = start();
        if (is_build)
            snapshot_started();
        if (PyStatus_Exception(status))
            return complain(status.err_msg ? status.err_msg : "no memory");
    } else if (!snapshot_resume()) {
        return tell_error();
    }
    if (is_build)
        return snapshot_write() ? 0 : tell_error();
    set_signals();
    return run(argc, argv);
}
