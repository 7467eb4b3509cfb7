"""Start a program and take its time and memory."""

import contextlib
import ctypes
import os
import select
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
# What a caller such as a shim gives at least; the runtimes find their helpers by it.
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


class Failed(Exception):
    """A measured command did not return 0; the message is what it wrote."""


@dataclass(frozen=True)
class Output:
    """Where the standard descriptors of measured programs go."""

    errors: Path

    def actions(self) -> list[tuple[int, ...]]:
        """Give posix_spawn's file actions: silence, and errors into a file."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        return [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
            (os.POSIX_SPAWN_OPEN, 2, str(self.errors), flags, 0o600),
        ]


def memory_directory() -> str | None:
    """Give a place on a tmpfs for the state roots, as /run is on a host; None where there is none."""
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
    """Adopt the containers, as a shim does, so that none stays a zombie of somebody else."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def milliseconds(argv: list[str], output: Output) -> float:
    """Run a program to its end and give the wall-clock time from before its start."""
    actions = output.actions()
    begin = time.perf_counter()
    pid = os.posix_spawn(argv[0], argv, ENVIRONMENT, file_actions=actions)
    _, status = os.waitpid(pid, 0)
    elapsed = (time.perf_counter() - begin) * 1000
    if status:
        said = output.errors.read_text(errors="replace").strip()
        raise Failed(f"{' '.join(argv)}: status {os.waitstatus_to_exitcode(status)}: {said}")
    return elapsed


def peak_kib(argv: list[str], output: Output, scratch: Path) -> int:
    """Give the peak resident size of a program.

    The kernel counts what the starting process had at execve as the child's own, so a small busybox
    starts it and not this interpreter.
    """
    report = scratch / "time"
    milliseconds(["/bin/busybox", "time", "-f", "%M", "-o", str(report), *argv], output)
    # busybox takes the kernel's kibibytes for pages and multiplies.
    return int(report.read_text().split()[-1]) // (os.sysconf("SC_PAGESIZE") // 1024)


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
        pass  # somebody else's child: gone is enough
    finally:
        os.close(descriptor)
