/* What the static file takes from the insides of CPython 3.11; each is to be looked at for another version.
 *
 * Further places: the names that CPython calls in inside/bootstrap.py, and those that are wrapped (executable.py).
 */
#define _GNU_SOURCE
#define Py_BUILD_CORE
#include <Python.h>
#include <internal/pycore_runtime.h>

#include "cpython.h"

/* The table of modules in C.  This definition keeps config.o, and with it all other modules, out of the file. */
typedef PyObject *initialise(void);
#define MODULE(name, function) initialise function;
#include "modules.h"
#undef MODULE

struct _inittab _PyImport_Inittab[] = {
#define MODULE(name, function) {name, function},
#include "modules.h"
#undef MODULE
    {"builtins", NULL},
    {"sys", NULL},
    {NULL, NULL}
};

/* The tables of frozen modules.  They keep frozen.o, which has importlib and parts of the library, out of the file. */
static const struct _frozen none[1];
static const void *const no_aliases[2];
const struct _frozen *_PyImport_FrozenBootstrap = frozen_bootstrap, *_PyImport_FrozenStdlib = none;
const struct _frozen *_PyImport_FrozenTest = none, *PyImport_FrozenModules = frozen_modules;
const struct _module_alias *_PyImport_FrozenAliases = (const void *)no_aliases;

/* Extension modules from files: keeps dynload_shlib.o and dlopen(3) out. */
typedef void (*function)(void);
function _PyImport_FindSharedFuncptr(const char *prefix, const char *name, const char *path, FILE *file);
const char *_PyImport_DynLoadFiletab[] = {NULL};

function _PyImport_FindSharedFuncptr(const char *prefix, const char *name, const char *path, FILE *file)
{
    (void)prefix, (void)name, (void)path, (void)file;
    return NULL;
}

/* The search for a standard library, by $PATH, pyvenv.cfg and landmarks: keeps getpath.o out. */
PyStatus _PyConfig_InitPathConfig(PyConfig *config, int compute);

PyStatus _PyConfig_InitPathConfig(PyConfig *config, int compute)
{
    (void)config, (void)compute;
    return PyStatus_Ok();
}

/* The code objects of a part of the standard library: keeps deepfreeze.o out. */
int _Py_Deepfreeze_Init(void);
void _Py_Deepfreeze_Fini(void);

int _Py_Deepfreeze_Init(void)
{
    return 0;
}

void _Py_Deepfreeze_Fini(void)
{
}

static PyThreadState *main_thread;

bool cpython_record(void)
{
    PyObject *module = PyImport_ImportModule("gc");
    PyObject *done = module ? PyObject_CallMethod(module, "freeze", NULL) : NULL;

    /* gc.freeze() takes all objects out of the lists in which new ones are linked: those would be written to. */
    main_thread = PyThreadState_Get();
    /* What functions that have returned left on Python's stack: among it are addresses of C's. */
    memset(main_thread->datastack_top, 0,
           (size_t)((char *)main_thread->datastack_limit - (char *)main_thread->datastack_top));
    Py_XDECREF(module);
    Py_XDECREF(done);
    return done != NULL;
}

/* The thread that goes on is another one, for the C library and for the kernel. */
bool cpython_resume(void)
{
    if (PyThread_tss_set(&_PyRuntime.gilstate.autoTSSkey, main_thread) != 0)
        return false;
    main_thread->thread_id = _PyRuntime.main_thread = PyThread_get_thread_ident();
    main_thread->native_thread_id = PyThread_get_thread_native_id();
    return true;
}
