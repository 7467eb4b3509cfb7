/* What the static file does not have, told to those who ask for it.
 *
 * The linker takes a member of an archive only for a name that nobody has defined yet: each definition here
 * keeps the real one, and all that hangs on it, out of the file.  Those of libpython are in cpython311.c and so on.
 * tests/source/test_static.py looks for what
 * must not come back.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <stddef.h>
#include <time.h>
#include <unistd.h>

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

int getlogin_r(char *name, size_t size)
{
    (void)name, (void)size;
    return ENOSYS;
}

/* libgcc's registry of unwinding tables, which since version 13 reads them all at the start of a static program: by the
 * linker's --wrap, because other parts of it are linked.  Nobody unwinds. */
void __wrap___register_frame_info(const void *begin, void *object);
void *__wrap___deregister_frame_info(const void *begin);

void __wrap___register_frame_info(const void *begin, void *object)
{
    (void)begin, (void)object;
}

void *__wrap___deregister_frame_info(const void *begin)
{
    (void)begin;
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
