"""What is remembered of a container between two calls, which verb is allowed when, and who a process is.

The status is never stored but looked at: a process is a pid with its start time, and a stage that still waits has the
gate open for reading.
"""

import errno
import os
import time
from typing import Any

from pyoci.errors import StateError, wrap
from pyoci.log import utc
from pyoci.record import Members, Record

STATE_VERSION = 1
O_FILE = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK

# The status rules of runtime.md#operations, as Docker, Podman and containerd know them from runc: verb -> statuses.
# "delete" of a created container kills it first, which the callers depend on.
ALLOWED = {
    "start": ("created",),
    "kill": ("created", "running", "paused"),
    "delete": ("created", "stopped"),
    "pause": ("created", "running"),
    "resume": ("paused",),
    "exec": ("created", "running"),
    "update": ("created", "running", "paused"),
    "ps": ("created", "running", "paused"),
}

REFUSALS = {
    ("start", "running"): "cannot start an already running container",
    ("start", "stopped"): "cannot start a container that has stopped",
    ("kill", "stopped"): "container not running",
    ("exec", "stopped"): "cannot exec in a stopped container",
    ("exec", "paused"): "cannot exec in a paused container (use --ignore-paused)",
    ("resume", "stopped"): "container not running",
    ("pause", "stopped"): "container not running",
    ("update", "stopped"): "container not running",
    ("ps", "stopped"): "container not running",
}


def require(verb: str, status: str) -> None:
    """Refuse *verb* for a container in *status*.

    Raises:
        StateError: with the words that callers look for.
    """
    if status not in ALLOWED[verb]:
        refusal = REFUSALS.get((verb, status), f"cannot {verb} a container that is {status}")
        raise StateError(refusal)


class State(Record):
    """The record of one container.

    pid and startTime (clock ticks since boot, /proc/PID/stat) identify the init process; cgroup is what
    the cgroup manager needs to find its directories; hooks names the lists of hooks that later verbs must run.
    """

    id: str
    ociVersion: str
    bundle: str
    rootfs: str
    created: str
    owner: str
    annotations: Members = Members()
    pid: int = 0
    startTime: int = 0
    cgroup: dict[str, Any] = {}
    hooks: list[str] = []
    document: str = "config.json"
    hasProcess: bool = True
    privatePid: bool = True
    version: int = STATE_VERSION


def stat_fields(pid: int) -> tuple[str, int] | None:
    """Give the state letter and the start time of a process, or None when it is gone; proc(5).

    The command name may hold anything, so the fields are counted from the last parenthesis.
    """
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESRCH):
            return None
        raise wrap(f"reading /proc/{pid}/stat", error) from error
    try:
        text = os.read(fd, 4096)
    except ProcessLookupError:
        return None
    finally:
        os.close(fd)
    fields = text[text.rindex(b")") + 2 :].split()
    return fields[0].decode(), int(fields[19])


def is_alive(pid: int, start_time: int) -> bool:
    """Tell whether *pid* is still that process: same start time, and not a zombie."""
    if pid <= 0:
        return False
    found = stat_fields(pid)
    return found is not None and found[0] not in "ZX" and found[1] == start_time


def open_pidfd(pid: int) -> int:
    """Open a process; -1 when there is none with that pid.  pidfd_open(2)."""
    try:
        return os.pidfd_open(pid, 0)
    except OSError as error:
        # EINVAL: no process any more, in the moment in which it is reaped; or a thread that leads no process.
        if error.errno in (errno.ESRCH, errno.EINVAL):
            return -1
        raise wrap(f"opening process {pid}", error) from error


def absolute(path: str) -> str:
    """Make a path absolute, against the current directory.

    Raises:
        KernelError: the path is relative and the current directory has been deleted.
    """
    if path.startswith("/"):
        return path
    try:
        return f"{os.getcwd()}/{path}"
    except OSError as error:
        raise wrap("finding the current directory", error) from error


def read_file(path: str) -> bytes:
    """Read a whole regular file, without following a symbolic link at its end."""
    return read_all(os.open(path, O_FILE))


def read_given(path: str) -> bytes:
    """Read a file that the caller names: it may be a link, or a pipe as with ``/dev/stdin`` and a shell's ``<()``."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    os.set_blocking(fd, True)  # only opening must not wait
    return read_all(fd)


def read_all(fd: int, limit: int = 16 * 1024 * 1024) -> bytes:
    """Read to the end of an open file and close it."""
    try:
        chunks = []
        while chunk := os.read(fd, 1 << 20):
            chunks.append(chunk)
            limit -= len(chunk)
            if limit < 0:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        return b"".join(chunks)
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes) -> None:
    """Write every byte; write(2) may take fewer."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def write_file(path: str, data: bytes, mode: int = 0o600, *, sync: bool = False, dir_fd: int | None = None) -> None:
    """Write a file whole or not at all: a temporary file beside it, renamed into place.

    With sync its content is on the disk before its name is: a torn state is never seen, not after a crash of the
    host either.
    """
    directory, slash, name = path.rpartition("/")
    temporary = f"{directory}{slash}.{name}.{os.getpid()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    fd = os.open(temporary, flags, mode, dir_fd=dir_fd)
    try:
        try:
            write_all(fd, data)
            if sync:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, path, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
    except OSError:
        os.unlink(temporary, dir_fd=dir_fd)
        raise


def public_state(
    version: str, container_id: str, status: str, pid: int, bundle: str, annotations: "Any"
) -> dict[str, Any]:
    """Give the state object of runtime.md#state, as hooks and the seccomp agent get it."""
    state: dict[str, Any] = {"ociVersion": version, "id": container_id, "status": status}
    if status != "stopped":
        state["pid"] = pid
    state["bundle"] = bundle
    if annotations:
        state["annotations"] = annotations
    return state


def now() -> str:
    """Give the time as RFC 3339 with nanoseconds, UTC."""
    nanoseconds = time.time_ns()
    seconds = utc(nanoseconds // 10**9)
    return f"{seconds}.{nanoseconds % 10**9:09d}Z"


def user_name(uid: int) -> str:
    """Look a uid up in /etc/passwd by hand (no NSS); the number itself when it has no name."""
    try:
        lines = read_file("/etc/passwd").split(b"\n")
    except OSError:
        return str(uid)
    for line in lines:
        fields = line.split(b":")
        if len(fields) > 2 and fields[2] == b"%d" % uid:
            return fields[0].decode("utf-8", "replace")
    return str(uid)
