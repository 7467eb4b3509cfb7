"""What is remembered of a container between two calls, and which verb is allowed when.

A container is a directory below the state root:

    ROOT/ID/journal      one JSON line before each side effect; enough for ``delete --force``
    ROOT/ID/state.json   the State, written when the container is created
    ROOT/ID/config.json  the configuration as it was at create
    ROOT/ID/deviceN      device nodes that the container's user namespace could not make
    ROOT/ID/steps.json   what the steps behind the gate do, in words: read when a start fails
    ROOT/ID/gate         FIFO that ``start`` writes to; the stage reads it
    ROOT/ID/status       FIFO that the stage reports to once the gate is open

The directory itself is the lock (flock(2)).  The status is never stored but looked at: a process is a
pid with its start time, and a stage that still waits has the gate open for reading.
"""

import errno
import fcntl
import posix
import time

from pyoci import codec
from pyoci.errors import Error, StateError, wrap
from pyoci.log import utc
from pyoci.record import Members, Record, plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

STATE_VERSION = 1
O_DIRECTORY_PATH = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC | posix.O_NOFOLLOW

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
    cgroup: "dict[str, Any]" = {}
    hooks: "list[str]" = []
    hasProcess: bool = True
    privatePid: bool = True
    version: int = STATE_VERSION


def stat_fields(pid: int) -> "tuple[str, int] | None":
    """Give the state letter and the start time of a process, or None when it is gone; proc(5).

    The command name may hold anything, so the fields are counted from the last parenthesis.
    """
    try:
        fd = posix.open(f"/proc/{pid}/stat", posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ESRCH):
            return None
        raise wrap(f"reading /proc/{pid}/stat", error) from error
    try:
        text = posix.read(fd, 4096)
    except ProcessLookupError:
        return None
    finally:
        posix.close(fd)
    fields = text[text.rindex(b")") + 2 :].split()
    return fields[0].decode(), int(fields[19])


def is_alive(pid: int, start_time: int) -> bool:
    """Tell whether *pid* is still that process: same start time, and not a zombie."""
    if pid <= 0:
        return False
    found = stat_fields(pid)
    return found is not None and found[0] not in "ZX" and found[1] == start_time


def absolute(path: str) -> str:
    """Make a path absolute, against the current directory.

    Raises:
        KernelError: the path is relative and the current directory has been deleted.
    """
    if path.startswith("/"):
        return path
    try:
        return f"{posix.getcwd()}/{path}"
    except OSError as error:
        raise wrap("finding the current directory", error) from error


def read_file(path: str) -> bytes:
    """Read a whole regular file, without following a symbolic link at its end."""
    return read_all(posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NOFOLLOW | posix.O_NONBLOCK))


def read_given(path: str) -> bytes:
    """Read a file that the caller names: it may be a link, or a pipe as with ``/dev/stdin`` and a shell's ``<()``."""
    fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NONBLOCK | posix.O_NOCTTY)
    posix.set_blocking(fd, True)  # only opening must not wait
    return read_all(fd)


def read_all(fd: int, limit: int = 16 * 1024 * 1024) -> bytes:
    """Read to the end of an open file and close it."""
    try:
        chunks = []
        while chunk := posix.read(fd, 1 << 20):
            chunks.append(chunk)
            limit -= len(chunk)
            if limit < 0:
                raise OSError(errno.EFBIG, posix.strerror(errno.EFBIG))
        return b"".join(chunks)
    finally:
        posix.close(fd)


def write_all(fd: int, data: bytes) -> None:
    """Write every byte; write(2) may take fewer."""
    view = memoryview(data)
    while view:
        view = view[posix.write(fd, view) :]


def write_file(path: str, data: bytes, mode: int = 0o600, *, sync: bool = False) -> None:
    """Write a file whole or not at all: a temporary file beside it, renamed into place.

    With sync its content is on the disk before its name is: a torn state is never seen, not after a crash of the
    host either.
    """
    directory, _, name = path.rpartition("/")
    temporary = f"{directory}/.{name}.{posix.getpid()}"
    fd = posix.open(temporary, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, mode)
    try:
        try:
            write_all(fd, data)
            if sync:
                posix.fsync(fd)
        finally:
            posix.close(fd)
        posix.rename(temporary, path)
    except OSError:
        posix.unlink(temporary)
        raise


class Directory:
    """The directory of one container, open and (for every verb that changes something) locked."""

    def __init__(self, path: str, fd: int) -> None:
        """Take over the open directory."""
        self.path = path
        self.fd = fd
        self.journal_fd = -1
        self.locked = False

    @classmethod
    def claim(cls, root: str, container_id: str) -> "Directory":
        """Make the directory for a new container and lock it; its existence is what makes an id unique.

        Raises:
            StateError: there is such a container already.
        """
        make_root(root)
        path = f"{root}/{container_id}"
        try:
            posix.mkdir(path, 0o700)
        except FileExistsError:
            raise StateError(f"container with given ID already exists: {container_id} in {root}") from None
        except OSError as error:
            raise wrap(f"making the state directory {path}", error) from error
        try:
            directory = cls.open(root, container_id)
        except StateError:  # somebody's delete --force was quicker than our lock
            raise StateError("the container was deleted while it was made") from None
        except BaseException:
            posix.rmdir(path)
            raise
        return directory

    @classmethod
    def open(cls, root: str, container_id: str, *, lock: bool = True) -> "Directory":
        """Open the directory of a container, locked unless told otherwise.

        Raises:
            StateError: there is no such container.
        """
        path = f"{root}/{container_id}"
        try:
            directory = cls(path, posix.open(path, O_DIRECTORY_PATH))
            if lock:
                directory.lock()
            if not lock or directory.is_current():
                return directory
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            raise wrap(f"opening the state directory {path}", error) from error
        raise StateError(f"container does not exist: {container_id} in {root}")

    def lock(self) -> None:
        """Wait for the exclusive lock; the kernel drops it when its holder dies."""
        fcntl.flock(self.fd, fcntl.LOCK_EX)
        self.locked = True

    def unlock(self) -> None:
        """Let other verbs in."""
        fcntl.flock(self.fd, fcntl.LOCK_UN)
        self.locked = False

    def is_current(self) -> bool:
        """Tell whether the path still names this directory: it may have been deleted while we waited."""
        try:
            here, there = posix.fstat(self.fd), posix.stat(self.path, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)

    def note(self, **entry: "Any") -> None:
        """Add one line to the journal; call it before the side effect that the line announces."""
        try:
            if self.journal_fd < 0:
                flags = posix.O_WRONLY | posix.O_APPEND | posix.O_CREAT | posix.O_CLOEXEC
                self.journal_fd = posix.open(f"{self.path}/journal", flags, 0o600)
            write_all(self.journal_fd, codec.dumps(entry).encode() + b"\n")
        except OSError as error:
            raise wrap(f"writing {self.path}/journal", error) from error

    def journal(self) -> "list[dict[str, Any]]":
        """Read the journal; a last line that was cut off is left out."""
        try:
            lines = read_file(f"{self.path}/journal").split(b"\n")[:-1]
        except FileNotFoundError:
            return []
        entries = []
        for line in lines:
            try:
                entries.append(plain(codec.loads(line, "journal").value))
            except Error:
                continue
        return [entry for entry in entries if isinstance(entry, dict)]

    def save(self, state: State) -> None:
        """Write state.json."""
        self._write("state.json", {name: getattr(state, name) for name in State._fields}, sync=True)

    def save_steps(self, steps: "list[Any]") -> None:
        """Write steps.json: [index, op, words, JSON pointer, hints] of each step."""
        self._write("steps.json", steps)

    def _write(self, name: str, value: "Any", *, sync: bool = False) -> None:
        try:
            write_file(f"{self.path}/{name}", codec.dumps(value).encode(), sync=sync)
        except OSError as error:
            raise wrap(f"writing {self.path}/{name}", error) from error

    def step(self, index: int) -> "tuple[str, str, str, dict[str, str]]":
        """Look a step up in steps.json: its operation, words, JSON pointer and hints; or words for any."""
        try:
            steps = codec.loads(read_file(f"{self.path}/steps.json"), "steps.json").value
        except (OSError, Error):
            steps = []
        found = [step for step in steps if step[0] == index]
        op, what, origin, hints = plain(found[0][1:]) if found else ("", "starting the container", "", {})
        return op, what, origin, hints

    def load(self) -> "State | None":
        """Read state.json; None when it is not there or not whole (a create that was cut off)."""
        try:
            values = codec.loads(read_file(f"{self.path}/state.json"), "state.json").value
            known = {name: value if name == "annotations" else plain(value) for name, value in values.items()}
            return State(**{name: known[name] for name in State._fields})
        except (FileNotFoundError, Error, AttributeError, KeyError, TypeError):
            return None

    def remove(self) -> None:
        """Remove the directory and the files in it, none of which is ever a directory or followed.

        The journal goes last: by it a directory that is half removed is still known as ours.
        """
        try:
            for name in sorted(posix.listdir(self.fd), key=lambda name: name == "journal"):
                try:
                    posix.unlink(name, dir_fd=self.fd)
                except FileNotFoundError:
                    continue
            posix.rmdir(self.path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise wrap(f"removing the state directory {self.path}", error) from error

    def close(self) -> None:
        """Let go of the directory and with it of the lock."""
        for fd in (self.journal_fd, self.fd):
            if fd >= 0:
                posix.close(fd)
        self.journal_fd = self.fd = -1


def make_root(root: str) -> None:
    """Make the state root and its parents, mode 0700, and refuse one that others could tamper with."""
    try:
        found = posix.stat(root)
    except FileNotFoundError:
        parent = root.rpartition("/")[0]
        if parent:
            make_root_parents(parent)
        try:
            posix.mkdir(root, 0o1700)  # sticky: what prunes XDG_RUNTIME_DIR passes over it
        except FileExistsError:
            pass
        except OSError as error:
            raise wrap(f"making the state root {root}", error) from error
        return
    if found.st_uid not in (0, posix.geteuid()) or found.st_mode & 0o002 and not found.st_mode & 0o1000:
        raise Error(f"the state root {root} belongs to or can be written by others")


def make_root_parents(path: str) -> None:
    """Make the missing parents of the state root."""
    try:
        posix.mkdir(path, 0o700)
    except FileExistsError:
        return
    except FileNotFoundError:
        make_root_parents(path.rpartition("/")[0])
        posix.mkdir(path, 0o700)
    except OSError as error:
        raise wrap(f"making {path}", error) from error


def public_state(
    version: str, container_id: str, status: str, pid: int, bundle: str, annotations: "Any"
) -> "dict[str, Any]":
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
