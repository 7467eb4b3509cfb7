"""Flags, errnos, signals and the numbers of system calls have names in C; permissions are octal numbers."""

import re
from collections.abc import Iterator

import pytest

from tests.source.tree import TREE

STAGE = sorted((TREE / "native" / "stage").glob("*.c"))
# json.c makes no system call, and its fail() is another function.  -1 is "no descriptor" there.
OTHERS = sorted(
    path for name in ("ext", "static") for path in (TREE / "native" / name).glob("*.c") if path.name != "json.c"
)
NUMBER = re.compile(r"[-~(\s]*(0[xX][0-9a-fA-F]+|\d+)[uUlL)\s]*")
OCTAL = re.compile(r"0[0-7]+")
NEVER, MAY_BE_0, PERMISSIONS = "never", "may be 0", "permissions"

# Which argument of a call is made of names: never a number, 0 for none, or nothing but permissions.
CALLS: dict[str, dict[int, str]] = {
    "fail": {1: NEVER, 2: NEVER},
    "refused": {3: NEVER, 4: NEVER},
    "stage_report": {1: NEVER},
    "syscall": {0: NEVER},
    "prctl": {0: NEVER},
    "kill": {1: NEVER},
    "sigaction": {0: NEVER},
    "ioctl": {1: NEVER},
    "fcntl": {1: NEVER},
    "socket": {0: NEVER, 1: NEVER},
    "socketpair": {0: NEVER, 1: NEVER},
    "lseek": {2: NEVER},
    "mmap": {2: NEVER, 3: NEVER},
    "makedev": {0: NEVER, 1: NEVER},
    "process_copy": {0: MAY_BE_0, 1: MAY_BE_0},
    "open": {1: NEVER, 2: PERMISSIONS},
    "openat": {2: NEVER, 3: PERMISSIONS},
    "fstatat": {3: NEVER},
    "fchownat": {4: NEVER},
    "unlinkat": {2: MAY_BE_0},
    "mkdirat": {2: PERMISSIONS},
    "mknodat": {2: NEVER},
    "chmod": {1: PERMISSIONS},
    "fchmod": {1: PERMISSIONS},
    "path_resolve": {2: MAY_BE_0},
    "path_literal": {2: MAY_BE_0},
    "path_ensure": {3: PERMISSIONS},
    "proc_open": {2: NEVER},
    "fd_reopen": {2: NEVER},
    "k_openat2": {2: NEVER, 3: MAY_BE_0, 4: NEVER},
    "k_open_tree": {2: NEVER},
    "k_fsconfig": {1: NEVER},
    "k_fsmount": {1: NEVER},
    "k_mount_setattr": {1: MAY_BE_0},
    "k_mount": {3: MAY_BE_0},
    "k_umount": {1: NEVER},
    "k_statx": {1: NEVER},
}
PATTERNS = {
    "an errno that is returned": r"\breturn\b[^;]*-\d",
    "an errno that is compared": r"[=!]= *-\d|\berr(no)?\b *[=!]= *[1-9]",
    "a flag": r"\b\w*flags\b\)? *[&|]=? *~?[0-9]|\b[0-9]\w* *\| *[0-9]",
    "bits of a mode": r"\b\w*mode\b\)? *[&|]=? *~?([1-9]|0[xX])",
    "a signal": r"\bsig(nal)?\b *[=!]= *[1-9]",
    "members of a structure": r"\.(attr_set|attr_clr|propagation|exit_signal|sa_flags|flags) *=(?!=) *[1-9]",
}


def code(text: str) -> str:
    """Leave out comments, and what is in strings and characters; lines stay where they are."""
    text = re.sub(r"/\*.*?\*/", lambda comment: "\n" * comment[0].count("\n"), text, flags=re.S)
    return re.sub(r"""'(\\.|[^'\\])+'""", "' '", re.sub(r'"(\\.|[^"\\])*"', '""', text))


def arguments(text: str, start: int) -> list[str]:
    """Return the arguments of the call whose parenthesis opens before *start*."""
    found, depth, begin = [], 0, start
    for at in range(start, len(text)):
        if text[at] in "([{":
            depth += 1
        elif text[at] in ")]}":
            depth -= 1
        if depth < 0 or (depth == 0 and text[at] == ","):
            found.append(text[begin:at])
            begin = at + 1
        if depth < 0:
            break
    return found


def is_wrong(argument: str, rule: str) -> bool:
    """Return whether an argument, or a part of what it is combined from, is a number that the rule does not allow."""
    numbers = [match[1] for part in re.split(r"[|?:]", argument) if (match := NUMBER.fullmatch(part))]
    allowed = {NEVER: lambda _: False, MAY_BE_0: "0".__eq__, PERMISSIONS: OCTAL.fullmatch}[rule]
    return not all(allowed(number) for number in numbers)


def literals(text: str) -> Iterator[str]:
    """Yield what is a number in C code, and should have a name."""
    text = code(text)
    for match in re.finditer(r"\b(\w+)\(", text):
        given = arguments(text, match.end())
        for index, rule in CALLS.get(match[1], {}).items():
            if index < len(given) and is_wrong(given[index], rule):
                yield f"{text.count(chr(10), 0, match.start()) + 1}: argument {index + 1} of {match[1]}: {given[index].strip()}"
    for what, pattern in PATTERNS.items():
        for match in re.finditer(pattern, text):
            yield f"{text.count(chr(10), 0, match.start()) + 1}: {what}: {match[0]}"


@pytest.mark.parametrize("path", STAGE, ids=lambda path: path.name)
def test_the_stage_uses_names(path) -> None:  # type: ignore[no-untyped-def]
    assert not list(literals(path.read_text()))


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: path.name)
def test_the_extension_and_the_static_file_use_names(path) -> None:  # type: ignore[no-untyped-def]
    assert not list(literals(re.sub(r"-1\b", "NONE", path.read_text())))


@pytest.mark.parametrize(
    "line",
    [
        "return fail(stage, DETAIL_TARGET, 22);",
        "return fail(stage, 2, EINVAL);",
        "return fail(stage, DETAIL_TARGET, found < 0 ? found : -2);",
        "return -22;",
        "return err < 0 ? err : -5;",
        "if (err == -13)",
        "if (errno == 4)",
        "k_open_tree(fd, \"\", 1 | AT_EMPTY_PATH);",
        "k_open_tree(fd, \"\", 0x1001);",
        "k_mount_setattr(fd, 0x8000, &attr);",
        "fd = openat(dir, name, 0x80000);",
        "fd = openat(dir, name, O_CREAT | 2, 0600);",
        "fd = openat(dir, name, O_CREAT, 384);",
        "if (step->flags & 4)",
        "flags |= 2;",
        "attach(1 | 2)",
        "kill(pid, 9);",
        "prctl(4, 0);",
        "syscall(437, fd);",
        "makedev(1, NULL_MINOR)",
        "if (status.st_mode & 73)",
        "struct mount_attr attr = { .attr_set = 1 };",
        "stage_report(stage, 3, 0, 0, -1);",
    ],
)
def test_a_number_in_the_place_of_a_name_is_found(line: str) -> None:
    assert list(literals(line))


@pytest.mark.parametrize(
    "line",
    [
        "return fail(stage, DETAIL_TARGET, -EINVAL); /* return -22 */",
        "fd = openat(dir, \"-1, 22\", O_RDONLY | O_CLOEXEC, 0600);",
        "k_mount_setattr(fd, 0, &attr);",
        "if (status.st_mode & 0111)",
        "if (result == 1)",
    ],
)
def test_what_is_no_such_number_is_left_alone(line: str) -> None:
    assert not list(literals(line))
