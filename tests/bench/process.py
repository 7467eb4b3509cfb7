"""Start a program, and take its time and memory."""

import contextlib
import ctypes
import os
import select
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

PR_SET_CHILD_SUBREAPER = 36
# What a caller such as a shim sets at least; the runtimes find their helpers by it.
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


class Failed(Exception):
    """A measured command did not return 0; the message is what it wrote."""


class Usage(NamedTuple):
    """What a program took until its end: milliseconds by the clock, and of processor time.

    Processor time is user and system time of the program and of the children that it waited for, see getrusage(2).
    """

    wall: float
    cpu: float


@dataclass(frozen=True)
class Output:
    """Where the standard descriptors of measured programs go."""

    errors: Path

    def actions(self) -> list[tuple[Any, ...]]:
        """Return posix_spawn's file actions: silence, and errors into a file."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        return [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
            (os.POSIX_SPAWN_OPEN, 2, str(self.errors), flags, 0o600),
        ]


def memory_directory() -> str | None:
    """Return a place on a tmpfs for the state roots, as /run is on a host; None where there is none."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    tmpfs = {words[1] for words in mounts if words[2] == "tmpfs"}
    return next((path for path in ("/run", "/dev/shm") if path in tmpfs), None)


@contextlib.contextmanager
def directories() -> Iterator[tuple[Path, Path]]:
    """Make a directory for bundles and one for state roots, for as long as they are needed."""
    prefix = "pyoci-bench-"
    with (
        tempfile.TemporaryDirectory(prefix=prefix) as scratch,
        tempfile.TemporaryDirectory(prefix=prefix, dir=memory_directory()) as roots,
    ):
        yield Path(scratch), Path(roots)


def become_subreaper() -> None:
    """Adopt the containers, as a shim does, so that none stays a zombie of another process."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def start(argv: list[str], output: Output) -> int:
    """Start a program; return its pid."""
    return os.posix_spawn(argv[0], argv, ENVIRONMENT, file_actions=output.actions())


def check(argv: list[str], status: int, output: Output) -> None:
    """Raise Failed with what the program wrote, unless its wait status is 0."""
    if status:
        said = output.errors.read_text(errors="replace").strip()
        raise Failed(f"{' '.join(argv)}: status {os.waitstatus_to_exitcode(status)}: {said}")


def usage(argv: list[str], output: Output) -> Usage:
    """Run a program to its end; return its times."""
    begin = time.perf_counter()
    pid = start(argv, output)
    _, status, used = os.wait4(pid, 0)
    wall = (time.perf_counter() - begin) * 1000
    check(argv, status, output)
    return Usage(wall, (used.ru_utime + used.ru_stime) * 1000)


def milliseconds(argv: list[str], output: Output) -> float:
    """Run a program to its end; return the wall-clock time from before its start."""
    return usage(argv, output).wall


def busybox_time(form: str, argv: list[str], output: Output, scratch: Path) -> str:
    """Run a program below a small busybox, and return what its time(1) says of it in this form.

    The kernel counts what the starting process had at execve(2) as the program's own, so this interpreter must not
    start it.
    """
    report = scratch / "time"
    milliseconds(["/bin/busybox", "time", "-f", form, "-o", str(report), *argv], output)
    return report.read_text().split()[-1]


def peak_kib(argv: list[str], output: Output, scratch: Path) -> int:
    """Return the peak resident size of a program or of one of its children, whichever is larger."""
    # busybox takes the kernel's kibibytes for pages and multiplies.
    return int(busybox_time("%M", argv, output, scratch)) // (os.sysconf("SC_PAGESIZE") // 1024)


def minor_faults(argv: list[str], output: Output, scratch: Path) -> int:
    """Return the page faults, without those that read a disk, of a program and the children that it waited for."""
    return int(busybox_time("%R", argv, output, scratch))


def end_of(pid: int, deadline: float = 10) -> None:
    """Wait until a process, adopted by this one, has ended, and reap it."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ready, _, _ = select.select([descriptor], [], [], deadline)
        if not ready:
            raise Failed(f"process {pid} is still there after {deadline} s")
        os.waitid(os.P_PIDFD, descriptor, os.WEXITED)
    except ChildProcessError:
        pass  # another process's child: gone is enough
    finally:
        os.close(descriptor)
