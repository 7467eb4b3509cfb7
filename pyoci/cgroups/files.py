"""Files and directories of a cgroup file system: reading, writing, creating, removing, waiting for a change.

A cgroup file system has no symbolic links, and the kernel creates its files, so paths are safe to use.
"""

import errno
import os
import select
import time
from collections.abc import Callable, Iterable

from pyoci.errors import wrap
from pyoci.log import debug
from pyoci.undo import Undo

O_READ = os.O_RDONLY | os.O_CLOEXEC
O_WRITE = os.O_WRONLY | os.O_CLOEXEC
V2_CONTROLLERS = ("cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc")
DIRECTORY_MODE = 0o755
LONGEST_PAUSE = 50.0  # milliseconds


class Deadline:
    """A point in time, and waiting for a change until then."""

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds
        self.pause = 1.0  # milliseconds

    def left(self) -> float:
        """Return the milliseconds that are left, at least 0."""
        return max(0.0, (self.end - time.monotonic()) * 1000)

    def wait(self) -> bool:
        """Wait for a moment, each time longer; return False at the deadline."""
        left = self.left()
        if left <= 0:
            return False
        select.poll().poll(min(self.pause, left))
        self.pause = min(self.pause * 2, LONGEST_PAUSE)
        return True

    def wait_for(self, events: str, wanted: str) -> bool:
        """Wait until the file *events* (cgroup.events of v2) contains *wanted*; return False at the deadline.

        If the file does not exist, wait for a moment.
        """
        try:
            fd = os.open(events, O_READ)
        except FileNotFoundError:
            return self.wait()
        try:
            poll = select.poll()
            poll.register(fd, select.POLLPRI)
            while wanted not in os.pread(fd, 4096, 0).decode():
                if not self.left():
                    return False
                poll.poll(self.left())
        except OSError:  # the cgroup has been removed meanwhile
            return self.wait()
        finally:
            os.close(fd)
        return True


def read(path: str) -> str:
    """Return the content of a small file."""
    fd = os.open(path, O_READ)
    try:
        chunks = []
        while chunk := os.read(fd, 65536):
            chunks.append(chunk)
    finally:
        os.close(fd)
    return b"".join(chunks).decode("utf-8", "surrogateescape")


def read_or(path: str, default: str) -> str:
    """Return the content of a small file, or *default* if it does not exist or its cgroup has just been removed."""
    try:
        return read(path)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENODEV):
            raise
        return default


def shown(value: str) -> str:
    """Return a value as a one-line message shows it."""
    return repr(value) if not value or "\n" in value else value


def write(path: str, value: str) -> None:
    """Write one value in a single system call, as cgroup files require; OSError if the kernel refuses it."""
    debug(f"writing {shown(value)} to {path}")
    fd = os.open(path, O_WRITE)
    try:
        os.write(fd, value.encode("utf-8", "surrogateescape"))
    finally:
        os.close(fd)


def make_directories(path: str, root: str, journal: Callable[[str], None]) -> list[str]:
    """Create *path* and the directories between it and *root* that are missing; return those created, parents first.

    journal is called with each directory before it is created.
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
            os.mkdir(directory, DIRECTORY_MODE)
        except FileExistsError:  # another process was faster
            continue
        made.append(directory)
    return made


def _exists(path: str) -> bool:
    try:
        os.stat(path)
    except FileNotFoundError:
        return False
    return True


def _ancestors(root: str, directory: str) -> list[str]:
    """Return the directories from *root* to the parent of *directory*."""
    found = []
    while directory != root:
        directory = directory.rpartition("/")[0]
        found.append(directory)
    return found[::-1]


def enable_controllers(root: str, directory: str) -> None:
    """Enable the controllers of the host for a v2 cgroup, as far as the cgroups above it allow.

    A controller that cannot be enabled is not an error until a limit needs it.
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
    """Copy cpusets of v1 from the cgroup above where they are empty: no process can enter an empty cpuset."""
    above = root
    for path in (*_ancestors(root, directory)[1:], directory):
        for file in ("cpuset.cpus", "cpuset.mems"):
            if not read(f"{path}/{file}").strip():
                write(f"{path}/{file}", read(f"{above}/{file}").strip())
        above = path


def children(directory: str) -> list[str]:
    """Return the paths of the child cgroups; none if the cgroup does not exist."""
    try:
        with os.scandir(directory) as entries:
            return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def tree(directory: str) -> list[str]:
    """Return the paths of the cgroup and all cgroups below it, children after their parents."""
    found = [directory]
    for path in found:
        found += children(path)
    return found


def processes(directory: str) -> list[int]:
    """Return the pids in the cgroup and below it, in ascending order, each once.

    A process outside of pyoci's PID namespace has the number 0 there and is left out.
    """
    pids: set[int] = set()
    for path in tree(directory):
        try:
            pids.update(map(int, read_or(f"{path}/cgroup.procs", "").split()))
        except OSError as error:
            # The processes of a threaded cgroup of v2 are listed at the root of its threaded domain.
            if error.errno != errno.EOPNOTSUPP:
                raise wrap(f"reading {path}/cgroup.procs", error) from error
    return sorted(pids - {0})


def remove_tree(directory: str, deadline: Deadline) -> None:
    """Remove the cgroup and all cgroups below it, if they exist, and wait for processes in them to exit.

    Raises:
        KernelError: there was still a process in one of them at the deadline.
    """
    for path in reversed(tree(directory)):
        while (error := _remove(path)) is not None:
            if error.errno == errno.EBUSY and deadline.wait_for(f"{path}/cgroup.events", "populated 0"):
                deadline.wait()  # an empty cgroup may still be busy for a moment
            else:
                left = processes(path)
                hint = f"processes still in it: {' '.join(map(str, left))}" if left else ""
                raise wrap(f"removing the cgroup {path}", error, hint=hint) from error


def _remove(path: str) -> OSError | None:
    """Remove one directory; return the error if that fails."""
    debug(f"removing the cgroup {path}")
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        return error
    return None


def undo(journal: Iterable[str], seconds: float = 10.0) -> None:
    """Remove the directories in a journal, in reverse order.

    A leaf is removed with the cgroups below it.  A parent stays if another program uses it by now.  An error does not
    keep the others from being removed.

    Raises:
        KernelError: a leaf cannot be removed, or there is still a process in it after *seconds*.
    """
    paths = list(dict.fromkeys(journal))
    deadline, failed = Deadline(seconds), Undo()
    for path in reversed(paths):
        if any(other.startswith(path + "/") for other in paths):
            _remove(path)
        else:
            failed.attempt(f"removing the cgroup {path}", lambda path=path: remove_tree(path, deadline))  # type: ignore[misc]
    failed.finish()
