/* What the static file does not have, told to those who ask for it.
 *
 * The linker takes a member of an archive only for a name that nobody has defined yet: each definition here
 * keeps the real one, and all that hangs on it, out of the file.  tests/source/test_static.py looks for what
 * must not come back.
 */
#define _GNU_SOURCE
#include <Python.h>

#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <time.h>

/* libpython's dynload_shlib.o: extension modules from files. */
typedef void (*function)(void);
function _PyImport_FindSharedFuncptr(const char *prefix, const char *name, const char *path, FILE *file);
const char *_PyImport_DynLoadFiletab[] = {NULL};

function _PyImport_FindSharedFuncptr(const char *prefix, const char *name, const char *path, FILE *file)
{
    (void)prefix, (void)name, (void)path, (void)file;
    return NULL;
}

/* libpython's getpath.o: the search for a standard library, by $PATH, pyvenv.cfg and landmarks. */
PyStatus _PyConfig_InitPathConfig(PyConfig *config, int compute);

PyStatus _PyConfig_InitPathConfig(PyConfig *config, int compute)
{
    (void)config, (void)compute;
    return PyStatus_Ok();
}

/* libpython's deepfreeze.o: the frozen part of the standard library.  It is asked first of all, which is the moment to
 * turn the collection of garbage off: the process ends before cycles matter, and looking for them would begin while
 * CPython makes its types. */
int _Py_Deepfreeze_Init(void);
void _Py_Deepfreeze_Fini(void);

int _Py_Deepfreeze_Init(void)
{
    PyGC_Disable();
    return 0;
}

void _Py_Deepfreeze_Fini(void)
{
}

/* cffi opens libraries; it is compiled with -Ddlopen=absent_dlopen and so on. */
void *absent_dlopen(const char *name, int flags);
void *absent_dlsym(void *library, const char *name);
int absent_dlclose(void *library);
char *absent_dlerror(void);

void *absent_dlopen(const char *name, int flags)
{
    (void)name, (void)flags;
    return NULL;
}

void *absent_dlsym(void *library, const char *name)
{
    (void)library, (void)name;
    return NULL;
}

int absent_dlclose(void *library)
{
    (void)library;
    return -1;
}

char *absent_dlerror(void)
{
    static char text[] = "pyoci's static file opens no library";
    return text;
}

/* glibc's gconv_dl.o: character sets from libraries, the last user of dlopen(3) in it. */
void *__gconv_find_shlib(const char *name);
void __gconv_release_shlib(void *library);

void *__gconv_find_shlib(const char *name)
{
    (void)name;
    return NULL;
}

void __gconv_release_shlib(void *library)
{
    (void)library;
}

/* The name service: glibc loads libraries for it. */
int getgrouplist(const char *user, gid_t group, gid_t *groups, int *count)
{
    (void)user;
    if (*count > 0)
        groups[0] = group;
    *count = 1; /* a failure would be taken for a list that is too short */
    return 1;
}

int initgroups(const char *user, gid_t group)
{
    (void)user, (void)group;
    errno = ENOSYS;
    return -1;
}

char *getlogin(void)
{
    errno = ENOSYS;
    return NULL;
}

/* Threads. */
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument)
{
    (void)thread, (void)attributes, (void)start, (void)argument;
    return EAGAIN;
}

/* Time zones: UTC, where glibc would read /etc/localtime.  Years are counted from March, in eras of 400. */
struct tm *gmtime_r(const time_t *when, struct tm *into)
{
    enum { DAY = 86400, ERA = 146097, MARCH_0000 = 719468 };
    long days = *when / DAY - (*when % DAY < 0), second = *when - days * DAY;
    long era = (days + MARCH_0000 - (days + MARCH_0000 < 0 ? ERA - 1 : 0)) / ERA, day = days + MARCH_0000 - era * ERA;
    long year = (day - day / 1460 + day / 36524 - day / (ERA - 1)) / 365, months;

    day -= 365 * year + year / 4 - year / 100;
    months = (5 * day + 2) / 153;
    *into = (struct tm){
        .tm_sec = (int)(second % 60),
        .tm_min = (int)(second / 60 % 60),
        .tm_hour = (int)(second / 3600),
        .tm_mday = (int)(day - (153 * months + 2) / 5 + 1),
        .tm_mon = (int)((months + 2) % 12),
        .tm_year = (int)(year + era * 400 + (months >= 10) - 1900),
        .tm_wday = (int)((days % 7 + 11) % 7),
        .tm_zone = "UTC"
    };
    if (months >= 10)
        into->tm_yday = (int)(day - 306);
    else
        into->tm_yday = (int)(day + 59 + (year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)));
    return into;
}

struct tm *localtime_r(const time_t *when, struct tm *into)
{
    return gmtime_r(when, into);
}
