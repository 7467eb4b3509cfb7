/* Why a program did not start: what its file tells, read after the failure by the user that it was for. */
#include "compat.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>

enum { HEAD_MAX = 256 };            /* what the kernel itself looks at: BINPRM_BUF_SIZE */

#ifndef ST_NOEXEC
#define ST_NOEXEC 8
#endif

/* The text of the failure: a word for the host side, and what it is about. */
static void tell(struct stage *stage, const char *word, const char *about, size_t length)
{
    size_t head = strlen(word);

    if (head + 1 + length > sizeof stage->text)
        length = sizeof stage->text - head - 1;
    memcpy(stage->text, word, head);
    stage->text[head] = ' ';
    memcpy(stage->text + head + 1, about, length);
    stage->length = (uint32_t)(head + 1 + length);
}

static int is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* head has size bytes and a NUL behind them. */
static void tell_of_script(struct stage *stage, const char *head, size_t size)
{
    char name[HEAD_MAX + 1];
    size_t start = 2, end;
    struct stat status;

    while (start < size && is_blank(head[start]))
        start++;
    for (end = start; end < size && head[end] != '\n' && head[end] != '\0' && !is_blank(head[end]);)
        end++;
    memcpy(name, head + start, end - start);
    name[end - start] = '\0';
    if (end > start && name[end - start - 1] == '\r')
        tell(stage, "carriage", name, end - start - 1);
    else
        tell(stage, stat(name, &status) < 0 ? "interpreter" : "script", name, end - start);
}

/* The place of the name of the dynamic loader, 0 when it has none. */
static uint64_t find_loader(int fd, const Elf64_Ehdr *head, uint64_t *size)
{
    Elf64_Phdr part;

    for (unsigned i = 0; i < head->e_phnum && i < HEAD_MAX; i++) {
        if (pread(fd, &part, sizeof part, (off_t)(head->e_phoff + i * sizeof part)) != sizeof part)
            return 0;
        *size = part.p_filesz;
        if (part.p_type == PT_INTERP)
            return part.p_offset;
    }
    return 0;
}

static void tell_of_elf(struct stage *stage, int fd, const char *bytes, int err)
{
    char name[HEAD_MAX + 1];
    uint64_t size = 0, place;
    Elf64_Ehdr head;
    struct stat status;
    int got;

    memcpy(&head, bytes, sizeof head);
    if (err == -ENOEXEC) {
        const unsigned machine = head.e_machine % 1000;
        const char digits[] = {(char)('0' + machine / 100), (char)('0' + machine / 10 % 10), (char)('0' + machine % 10)};

        tell(stage, "machine", digits, sizeof digits);
        return;
    }
    if (head.e_ident[EI_CLASS] != ELFCLASS64 || (place = find_loader(fd, &head, &size)) == 0)
        return;
    got = sys(pread(fd, name, size < HEAD_MAX ? size : HEAD_MAX, (off_t)place));
    if (got <= 0)
        return;
    name[got] = '\0';
    tell(stage, stat(name, &status) < 0 ? "loader" : "script", name, strlen(name));
}

static void tell_of_content(struct stage *stage, const char *path, int err)
{
    char head[HEAD_MAX + 1] = {0};
    struct stat status;
    int fd = sys(open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)), got = -1;

    if (fd < 0)
        return;
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode))
        got = sys(read(fd, head, HEAD_MAX));
    if (got == 0)
        tell(stage, "empty", "", 0);
    else if (got >= 2 && memcmp(head, "#!", 2) == 0)
        tell_of_script(stage, head, (size_t)got);
    else if (got >= (int)sizeof(Elf64_Ehdr) && memcmp(head, ELFMAG, SELFMAG) == 0)
        tell_of_elf(stage, fd, head, err);
    else if (got > 0 && err == -ENOEXEC)
        tell(stage, "format", "", 0);
    close(fd);
}

void tell_why_not_run(struct stage *stage, const char *path, int err)
{
    struct stat status;
    struct statfs system;
    const char *word = NULL;

    if (stat(path, &status) < 0) {
        int link = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);

        if (link >= 0 && fstat(link, &status) == 0 && S_ISLNK(status.st_mode))
            tell(stage, "dangling", "", 0);
        close(link);
        return;
    }
    if (S_ISDIR(status.st_mode))
        word = "directory";
    else if (!S_ISREG(status.st_mode))
        word = "special";
    else if (err == -EACCES && !(status.st_mode & 0111))
        word = "mode";
    else if (err == -EACCES && statfs(path, &system) == 0 && (system.f_flags & ST_NOEXEC))
        word = "noexec";
    else if (err == -EACCES && syscall(SYS_faccessat2, AT_FDCWD, path, X_OK, AT_EACCESS) < 0 && errno == EACCES)
        word = "user";
    if (word != NULL)
        tell(stage, word, "", 0);
    else
        tell_of_content(stage, path, err);
}
