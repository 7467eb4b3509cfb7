/* What the static file takes from the insides of CPython 3.13; each is to be looked at for another version.
 *
 * Further places: the names that CPython calls in inside/bootstrap.py, and those that are wrapped (executable.py).
 */
#define _GNU_SOURCE
#define Py_BUILD_CORE
#include <Python.h>
#include <internal/pycore_gc.h>
#include <internal/pycore_interp.h>
#include <internal/pycore_pystate.h>
#include <internal/pycore_runtime.h>

#include "cpython.h"

/* The table of modules in C.  This definition keeps config.o, and with it all other modules, out of the file. */
typedef PyObject *initialise(void);
#define MODULE(name, function) initialise function;
#include "modules.h"
#undef MODULE
initialise PyInit__typing; /* typing cannot do without it */

struct _inittab _PyImport_Inittab[] = {
#define MODULE(name, function) {name, function},
#include "modules.h"
#undef MODULE
    {"_typing", PyInit__typing},
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

/* Objects that live for ever: nothing counts their references, so that a start does not write to their pages.  What a
 * walk of the collector does not show is visited here: the keys of a dict if they are strings, and what code refers to. */
static int make_immortal(PyObject *object, void *unused)
{
    traverseproc traverse = Py_TYPE(object)->tp_traverse;
    Py_ssize_t at = 0;
    PyObject *key;

    if (_Py_IsImmortal(object))
        return 0;
    object->ob_refcnt = _Py_IMMORTAL_REFCNT;
    if (PyDict_Check(object))
        while (PyDict_Next(object, &at, &key, NULL))
            make_immortal(key, unused);
    if (PyCode_Check(object)) {
        const PyCodeObject *code = (PyCodeObject *)object;
        PyObject *const parts[] = {
            code->co_consts, code->co_names, code->co_exceptiontable, code->co_localsplusnames, code->co_localspluskinds,
            code->co_filename, code->co_name, code->co_qualname, code->co_linetable
        };
        for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
            make_immortal(parts[i], unused);
    }
    if (traverse && !(PyType_Check(object) && !PyType_HasFeature((PyTypeObject *)object, Py_TPFLAGS_HEAPTYPE)))
        traverse(object, make_immortal, unused);
    return 0;
}

static PyThreadState *main_thread;

bool cpython_record(void)
{
    PyObject *module = PyImport_ImportModule("gc");
    PyObject *done = module ? PyObject_CallMethod(module, "freeze", NULL) : NULL;
    PyGC_Head *all = &PyInterpreterState_Get()->gc.permanent_generation.head;

    /* gc.freeze() takes all objects out of the lists in which new ones are linked: those would be written to. */
    main_thread = PyThreadState_Get();
    /* What functions that have returned left on Python's stack: among it are addresses of C's. */
    memset(main_thread->datastack_top, 0,
           (size_t)((char *)main_thread->datastack_limit - (char *)main_thread->datastack_top));
    Py_XDECREF(module);
    Py_XDECREF(done);
    for (PyGC_Head *each = _PyGCHead_NEXT(all); done && each != all; each = _PyGCHead_NEXT(each))
        make_immortal(_Py_FROM_GC(each), NULL);
    return done != NULL;
}

/* The thread that goes on is another one, for the C library and for the kernel; a variable of each thread names its state. */
bool cpython_resume(void)
{
    _Py_tss_tstate = main_thread;
    if (PyThread_tss_set(&_PyRuntime.autoTSSkey, main_thread) != 0)
        return false;
    main_thread->thread_id = _PyRuntime.main_thread = PyThread_get_thread_ident_ex();
    main_thread->native_thread_id = PyThread_get_thread_native_id();
    return true;
}
