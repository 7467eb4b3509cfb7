"""The files and directories of a cgroup file system: read, write, make, remove, and wait for them.

cgroupfs has no symbolic links and its files are made by the kernel, so paths are safe to use here.
"""

import errno
import posix
import select
import time

from pyoci.errors import wrap
from pyoci.log import debug
from pyoci.undo import Undo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

O_READ = posix.O_RDONLY | posix.O_CLOEXEC
V2_CONTROLLERS = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc")
O_WRITE = posix.O_WRONLY | posix.O_CLOEXEC


def read(path: str) -> str:
    """Give the content of a small file; OSError when it cannot be read."""
    fd = posix.open(path, O_READ)
    try:
        chunks = []
        while chunk := posix.read(fd, 65536):
            chunks.append(chunk)
    finally:
        posix.close(fd)
    return b"".join(chunks).decode("utf-8", "surrogateescape")


def read_or(path: str, default: str) -> str:
    """Give the content of a small file, *default* when there is none (or its cgroup has just gone)."""
    try:
        return read(path)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENODEV):
            raise
        return default


def shown(value: str) -> str:
    """Give a value as it appears in a one-line message."""
    return repr(value) if not value or "\n" in value else value


def write(path: str, value: str) -> None:
    """Hand one value to the kernel in one call, as cgroupfs wants it; OSError when it refuses."""
    debug(f"writing {shown(value)} to {path}")
    fd = posix.open(path, O_WRITE)
    try:
        posix.write(fd, value.encode("utf-8", "surrogateescape"))
    finally:
        posix.close(fd)


def make_directories(path: str, root: str, journal: "Callable[[str], None]") -> "list[str]":
    """Make *path* and what is missing between it and *root*; give what was made, parents first.

    journal is told of each directory before it is made.
    """
    missing = []
    while path != root and not _exists(path):
        missing.append(path)
        path = path.rpartition("/")[0]
    made = []
    for directory in reversed(missing):
        journal(directory)
        debug(f"making the cgroup {directory}")
        try:
            posix.mkdir(directory, 0o755)
        except FileExistsError:  # somebody else was quicker
            continue
        made.append(directory)
    return made


def _exists(path: str) -> bool:
    try:
        posix.stat(path)
    except FileNotFoundError:
        return False
    return True


def _ancestors(root: str, directory: str) -> "list[str]":
    """Give the directories from *root* to the parent of *directory*."""
    found = []
    while directory != root:
        directory = directory.rpartition("/")[0]
        found.append(directory)
    return found[::-1]


def enable_controllers(root: str, directory: str) -> None:
    """Enable the controllers of the host for a v2 cgroup, as far as the cgroups above it let us.

    What cannot be enabled is no error here: a limit that needs it will be one.
    """
    available = read(f"{root}/cgroup.controllers").split()
    wanted = [name for name in V2_CONTROLLERS if name in available]
    if set(wanted) <= set(read(f"{directory}/cgroup.controllers").split()):
        return
    for ancestor in _ancestors(root, directory):
        enabled = read(f"{ancestor}/cgroup.subtree_control").split()
        missing = [f"+{name}" for name in wanted if name not in enabled]
        if missing and not _enable(ancestor, " ".join(missing)):
            for name in missing:
                _enable(ancestor, name)


def _enable(directory: str, words: str) -> bool:
    try:
        write(f"{directory}/cgroup.subtree_control", words)
    except OSError:
        return False
    return True


def inherit_cpuset(root: str, directory: str) -> None:
    """Fill empty cpusets of v1 from above: a process cannot enter an empty one."""
    above = root
    for path in (*_ancestors(root, directory)[1:], directory):
        for file in ("cpuset.cpus", "cpuset.mems"):
            if not read(f"{path}/{file}").strip():
                write(f"{path}/{file}", read(f"{above}/{file}").strip())
        above = path


def children(directory: str) -> "list[str]":
    """Give the paths of the sub-cgroups; none when the cgroup is gone."""
    try:
        with posix.scandir(directory) as entries:
            return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def tree(directory: str) -> "list[str]":
    """Give the cgroup and all below it, the deepest last."""
    found = [directory]
    for path in found:
        found += children(path)
    return found


def processes(directory: str) -> "list[int]":
    """Give the pids in the cgroup and below it, in ascending order, each once.

    A process outside of our pid namespace has the number 0 there and is left out.
    """
    pids: set[int] = set()
    for path in tree(directory):
        try:
            pids.update(map(int, read_or(f"{path}/cgroup.procs", "").split()))
        except OSError as error:
            # A threaded cgroup of v2 lists its processes at the root of its threaded domain.
            if error.errno != errno.EOPNOTSUPP:
                raise wrap(f"reading {path}/cgroup.procs", error) from error
    return sorted(pids - {0})


def remove_tree(directory: str, deadline: "Deadline") -> None:
    """Remove the cgroup and all below it; missing is fine.  Processes that are ending are waited for.

    Raises:
        KernelError: somebody was still in it when the deadline had passed.
    """
    for path in reversed(tree(directory)):
        while (error := _remove(path)) is not None:
            if error.errno == errno.EBUSY and deadline.wait_for(f"{path}/cgroup.events", "populated 0"):
                deadline.wait()  # it may be empty and still be busy for an instant
            else:
                left = processes(path)
                hint = f"processes still in it: {' '.join(map(str, left))}" if left else ""
                raise wrap(f"removing the cgroup {path}", error, hint=hint) from error


def _remove(path: str) -> OSError | None:
    """Remove one directory; give what prevented it."""
    debug(f"removing the cgroup {path}")
    try:
        posix.rmdir(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        return error
    return None


def undo(journal: "Iterable[str]", seconds: float = 10.0) -> None:
    """Remove the directories that a journal names, last ones first.

    A leaf goes with what is below it.  A parent stays when somebody else uses it by now.  All of them are tried.

    Raises:
        KernelError: a leaf cannot be removed, or a process is still in it after *seconds*.
    """
    paths = list(dict.fromkeys(journal))
    deadline, failed = Deadline(seconds), Undo()
    for path in reversed(paths):
        if any(other.startswith(path + "/") for other in paths):
            _remove(path)
        else:
            failed.attempt(f"removing the cgroup {path}", lambda path=path: remove_tree(path, deadline))  # type: ignore[misc]
    failed.finish()


class Deadline:
    """A point in time, and ways to wait until something changes before it."""

    def __init__(self, seconds: float) -> None:
        """Let the time run from now."""
        self.end = time.monotonic() + seconds
        self.pause = 1.0

    def left(self) -> float:
        """Give the milliseconds that are left, at least 0."""
        return max(0.0, (self.end - time.monotonic()) * 1000)

    def wait(self) -> bool:
        """Wait a moment, longer each time; False when the time is over."""
        left = self.left()
        if left <= 0:
            return False
        select.poll().poll(min(self.pause, left))
        self.pause = min(self.pause * 2, 50.0)
        return True

    def wait_for(self, events: str, wanted: str) -> bool:
        """Wait until the file cgroup.events (v2) holds *wanted*, or a moment where there is no such file.

        False when the time is over.
        """
        try:
            fd = posix.open(events, O_READ)
        except FileNotFoundError:
            return self.wait()
        try:
            poll = select.poll()
            poll.register(fd, select.POLLPRI)
            while wanted not in posix.pread(fd, 4096, 0).decode():
                if not self.left():
                    return False
                poll.poll(self.left())
        except OSError:  # the cgroup has gone meanwhile
            return self.wait()
        finally:
            posix.close(fd)
        return True
