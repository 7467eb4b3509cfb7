"""What the C code may call, read from the object files of the build."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.source.tree import TREE

OBJECTS = TREE / "build" / "native"
EVERYWHERE = {"__errno_location", "__stack_chk_fail"}
# Thin wrappers of system calls, and functions that work on the memory they are given.
SYSTEM_CALLS = {
    "_exit",
    "chdir",
    "chroot",
    "clock_gettime",
    "close",
    "dup",
    "dup2",
    "dup3",
    "execve",
    "fchdir",
    "fchmod",
    "fchmodat",
    "fchown",
    "fchownat",
    "fcntl",
    "fstat",
    "fstatat",
    "fstatfs",
    "ftruncate",
    "getegid",
    "geteuid",
    "getpid",
    "getppid",
    "getsid",
    "ioctl",
    "kill",
    "lseek",
    "mkdirat",
    "mknodat",
    "mmap",
    "mount",
    "munmap",
    "open",
    "openat",
    "pipe2",
    "poll",
    "ppoll",
    "prctl",
    "pread",
    "read",
    "readlinkat",
    "recvmsg",
    "sched_yield",
    "sendfile",
    "sendmsg",
    "setdomainname",
    "sethostname",
    "setns",
    "setpgid",
    "setsid",
    "sigaction",
    "sigemptyset",
    "sigprocmask",
    "socket",
    "socketpair",
    "stat",
    "statfs",
    "symlinkat",
    "syscall",
    "umask",
    "umount2",
    "unlinkat",
    "unshare",
    "utimensat",
    "waitid",
    "waitpid",
    "write",
}
MEMORY = {
    "memchr",
    "memcmp",
    "memcpy",
    "memmove",
    "memset",
    "strchr",
    "strcmp",
    "strcspn",
    "strlen",
    "strncmp",
    "strnlen",
    "strrchr",
    "strspn",
    "strstr",
}

pytestmark = pytest.mark.skipif(not shutil.which("nm"), reason="nm (binutils) is not installed")


def symbols(option: str, objects: list[Path]) -> set[str]:
    """Return the names that nm lists with an option, local labels left out."""
    assert objects, f"nothing is built in {OBJECTS}; run make"
    shown = subprocess.run(
        ["nm", option, *objects], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    return {line.split()[-1] for line in shown.splitlines() if line and not line.endswith(":")}


def outside(objects: list[Path]) -> set[str]:
    """Return what the objects need from elsewhere."""
    return symbols("--undefined-only", objects) - symbols("--defined-only", objects)


def test_the_stage_needs_system_calls_and_string_functions_only() -> None:
    """No malloc, no stdio, no locale, no NSS, no threads, no dlopen."""
    assert outside(sorted((OBJECTS / "stage").glob("*.o"))) <= EVERYWHERE | SYSTEM_CALLS | MEMORY


def test_the_child_of_a_spawn_makes_raw_system_calls_only() -> None:
    """It runs in the interpreter's memory: a lock taken or a byte allocated there is a dead process later."""
    assert outside([OBJECTS / "ext" / "child.o"]) <= EVERYWHERE | {"mmap", "munmap", "syscall"}


def test_the_stage_is_static_and_small() -> None:
    """It is copied into a memfd at every create and counts against the container's memory limit."""
    stage = OBJECTS / "pyoci-stage"
    headers = subprocess.run(
        ["readelf", "-lW", stage], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert "INTERP" not in headers
    assert " RWE " not in headers
    if shutil.which("musl-gcc"):
        assert stage.stat().st_size < 64 * 1024


def test_the_extension_exports_its_entry_only() -> None:
    shared = TREE / "pyoci" / "_native.abi3.so"
    shown = subprocess.run(
        ["nm", "-D", "--defined-only", shared], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert [line.split()[-1] for line in shown.splitlines()] == ["PyInit__native"]
