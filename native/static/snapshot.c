/* The state of CPython after its start, kept in the file.
 *
 * Making CPython's types and importing the modules takes the same 20 million instructions at every start, and gives
 * the same bytes.  So the build lets them happen once (`pyoci --snapshot`) and snapshot.py puts the memory
 * that they leave behind into the file: what is not in the C library's own variables, which are fresh at each start,
 * and all that was allocated.  A start maps this, page by page when it is touched, and goes on from there.
 *
 * Nothing of the recording process may be in it: no descriptor, no pid, no address of its stack or of the C library's
 * heap, no variable of its environment.  What two recordings do not agree on is cleared, and that may be a few words
 * only.  So modules must not ask the host for anything when they are imported.
 *
 * The hashes of strings are those of one seed, which everybody can know.  So whoever writes a configuration can choose
 * names that collide, and a dict of those takes a time that grows with the square of their number.  Therefore nothing
 * in pyoci keys a dict or a set by names that a configuration chooses: they stay in lists (pyoci.members.Members), and
 * what must be known to be there once is sorted.  tests/unit/test_chosen_names.py looks for such a dict, and
 * tests/source/test_collisions.py tries such names.
 */
#define _GNU_SOURCE
#include <Python.h>

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "cpython.h"
#include "snapshot.h"

/* The memory is a section of its own, so that it is a segment of its own: the linker is told where
 * (executable.py). */
#define WORDS(number) #number
#define TEXT(number) WORDS(number)
enum { ALIGNMENT = 16, PAGE = 4096, EIGHTHS = 8, CLASSES = 160 };

__asm__(".section .snapshot, \"aw\", @nobits\n"
        ".balign 4096\n"
        ".globl snapshot\n"
        "snapshot: .skip " TEXT(SNAPSHOT_MAX) "\n"
        ".previous");
extern char __data_start[], _end[]; /* of all variables; the linker's names */

enum { OUTPUT = STDOUT_FILENO, ERRORS = STDERR_FILENO, HIDDEN = 10 };

static char *next = snapshot;
static struct piece {
    struct piece *next;
} *given_back[CLASSES];
static bool recording;
static pthread_key_t keys; /* how many pthread_key_create(3) had made */
static PyObjectArenaAllocator usual;
bool snapshot_is_here;

/* ---- malloc(3), in CPython and all else that is linked, by the linker's --wrap ---- */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void __real_free(void *memory);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void __wrap_free(void *memory);

/* What nobody has asked for is no part of the file: there the kernel may put the heap. */
static bool is_kept(const void *memory)
{
    return (const char *)memory >= snapshot && (const char *)memory < next;
}

/* Sizes are rounded up to one of few, eight between two powers of two, so that what is freed can be given out again. */
static size_t rounded(size_t size, size_t *class)
{
    int power = size < EIGHTHS * ALIGNMENT ? 0 : (int)(sizeof(long) * CHAR_BIT) - 8 - __builtin_clzl(size);
    size_t step = (size_t)ALIGNMENT << power;

    size = (size + step - 1) / step;
    *class = (size_t)power * EIGHTHS + size;
    return size * step;
}

/* Return zeroed memory, with its size in front of it. */
static void *take(size_t size)
{
    size_t class;
    char *memory;
    struct piece *free;

    if (size > SNAPSHOT_MAX / 2)
        return NULL;
    size = rounded(size ? size : 1, &class);
    free = given_back[class];
    if (free) {
        given_back[class] = free->next;
        return memset(free, 0, size);
    }
    memory = next + ALIGNMENT;
    if (size + PAGE > (size_t)(snapshot + SNAPSHOT_MAX - memory))
        return NULL;
    memcpy(memory - ALIGNMENT, &size, sizeof size);
    next = memory + size;
    return memory;
}

/* Only while recording: later a start may not depend on what another one has freed. */
static void give_back(void *memory)
{
    size_t size, class;
    struct piece *free = memory;

    memcpy(&size, (char *)memory - ALIGNMENT, sizeof size);
    rounded(size, &class);
    memset(memory, 0, size);
    free->next = given_back[class];
    given_back[class] = free;
}

void *__wrap_malloc(size_t size)
{
    return recording ? take(size) : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    size_t bytes;

    if (!recording)
        return __real_calloc(count, size);
    return __builtin_mul_overflow(count, size, &bytes) ? NULL : take(bytes);
}

void *__wrap_realloc(void *memory, size_t size)
{
    size_t before;
    void *moved;

    if (!is_kept(memory))
        return recording && !memory ? take(size) : __real_realloc(memory, size);
    memcpy(&before, (char *)memory - ALIGNMENT, sizeof before);
    if (size <= before)
        return memory;
    moved = __wrap_malloc(size);
    if (!moved)
        return NULL;
    memcpy(moved, memory, before);
    __wrap_free(memory);
    return moved;
}

void __wrap_free(void *memory)
{
    if (!is_kept(memory))
        __real_free(memory);
    else if (recording)
        give_back(memory);
}

static void *arena(void *context, size_t size)
{
    char *memory = snapshot + ((size_t)(next - snapshot) + PAGE - 1) / PAGE * PAGE;

    if (!recording)
        return usual.alloc(context, size);
    if (size + PAGE > (size_t)(snapshot + SNAPSHOT_MAX - memory))
        return NULL;
    next = memory + size;
    return memory;
}

static void free_arena(void *context, void *memory, size_t size)
{
    if (!is_kept(memory))
        usual.free(context, memory, size);
}

/* ---- the build's side ---- */

/* Close a descriptor while CPython starts, so that it makes no sys.stdout from what the build has there. */
static void hide(int fd)
{
    dup2(fd, fd + HIDDEN);
    close(fd);
}

void snapshot_begin(void)
{
    PyObjectArenaAllocator ours = {NULL, arena, free_arena};

    PyObject_GetArenaAllocator(&usual);
    ours.ctx = usual.ctx;
    PyObject_SetArenaAllocator(&ours);
    recording = true;
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL);
    hide(OUTPUT), hide(ERRORS), close(STDIN_FILENO);
}

void snapshot_started(void)
{
    dup2(OUTPUT + HIDDEN, OUTPUT);
    dup2(ERRORS + HIDDEN, ERRORS);
}

static bool write_all(const void *memory, size_t size)
{
    const char *from = memory;

    while (size) {
        ssize_t written = write(OUTPUT, from, size);
        if (written < 0) {
            PyErr_SetFromErrno(PyExc_OSError);
            return false;
        }
        from += written;
        size -= (size_t)written;
    }
    return true;
}

/* Write where a piece of memory is, its size, and what is in it. */
static bool write_piece(const char *from, const char *end)
{
    uint64_t place[] = {(uint64_t)(uintptr_t)from, (uint64_t)(end - from)};

    return write_all(place, sizeof place) && write_all(from, (size_t)(end - from));
}

bool snapshot_write(void)
{
    for (const struct _frozen *each = PyImport_FrozenModules; each->name; each++) {
        PyObject *module = PyImport_ImportModule(each->name);
        if (!module)
            return false;
        Py_DECREF(module);
    }
    if (!cpython_record())
        return false;
    if (pthread_key_create(&keys, NULL) != 0)
        return false;
    recording = false;
    snapshot_is_here = true;
    return write_piece(__data_start, _end) && write_piece(snapshot, next);
}

/* ---- the start's side ---- */

/* Put what the kernel gave this process into posix.environ. */
static bool read_environment(void)
{
    PyObject *module = PyImport_ImportModule("posix");
    PyObject *variables = module ? PyObject_GetAttrString(module, "environ") : NULL;
    bool done = variables != NULL;

    for (char **variable = environ; done && *variable; variable++) {
        const char *value = strchr(*variable, '=') + 1;
        PyObject *name = PyBytes_FromStringAndSize(*variable, value - 1 - *variable), *text = PyBytes_FromString(value);
        done = name && text && PyDict_SetItem(variables, name, text) == 0;
        Py_XDECREF(name);
        Py_XDECREF(text);
    }
    Py_XDECREF(variables);
    Py_XDECREF(module);
    return done;
}

bool snapshot_resume(void)
{
    pthread_key_t key;

    (void)*(const volatile char *)(next - 1); /* of a file that was cut off the end is missing: a crash, told in one line */
    for (pthread_key_t made = 0; made < keys; made++)
        if (pthread_key_create(&key, NULL) != 0)
            return false;
    if (!cpython_resume())
        return false;
    return read_environment();
}
