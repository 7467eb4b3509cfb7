"""What a test may leave behind: nothing.

A Snapshot is taken before and compared after; what is left fails the test and is then removed, so that the next
test starts clean.
"""

import contextlib
import os
import shutil
import signal
import time
from pathlib import Path

from tests.helpers_host import hierarchies, mounts_of, unmount
from tests.helpers_runtime import NOT_OURS

ENDING_SECONDS = 2.0


def descendants(pid: int | None = None) -> list[int]:
    """Pids of all processes below *pid* (ours): as a subreaper we are above everything that the tests start."""
    found: list[int] = []
    for task in Path(f"/proc/{pid or os.getpid()}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, task.read_text().split()):
                found += [child, *descendants(child)]
    return found


def alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] not in "ZX"


def processes_since(others: set[int]) -> list[int]:
    """Return the pids of those that run below us and are not among *others*."""
    reap()
    return [pid for pid in descendants() if pid not in others and alive(pid)]


def describe(pid: int) -> str:
    """A process in a word, for messages."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return f"process {pid} ({command.strip() or Path(f'/proc/{pid}/comm').read_text().strip()})"
    except OSError:
        return f"process {pid}"


def reap(but: int = 0) -> None:
    """Collect every zombie among our children, as a good init does; not the one with pid *but*.

    The kernel ends a pid namespace only when the zombies in it are collected, so who deletes a container waits for us.
    """
    for task in Path("/proc/self/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            if child != but and not alive(child):
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(child, os.WNOHANG)


def cgroups(token: str) -> list[Path]:
    """Directories in any cgroup hierarchy whose name has *token*, deepest first."""
    found = []
    for hierarchy in hierarchies():
        for top, directories, _ in os.walk(hierarchy):
            found += [Path(top) / name for name in directories if token in f"{top}/{name}"]
    return sorted(found, key=lambda path: -len(path.parts))


class Snapshot:
    """What there was before a test."""

    def __init__(self, token: str, root: Path) -> None:
        """Look at the machine; *token* marks our cgroups, *root* is the runtime's state."""
        self.token, self.root = token, root
        self.processes = set(descendants())
        self.mounts = _mount_lines()
        self.descriptors = _descriptors()

    def leaks(self) -> list[str]:
        """Compare with now; processes that are ending have a moment for it."""
        end = time.monotonic() + ENDING_SECONDS
        while (left := processes_since(self.processes)) and time.monotonic() < end:
            time.sleep(0.005)
        found = [describe(pid) for pid in left]
        now_mounted = _mount_lines()
        found += [f"mount {line}" for line in now_mounted if line not in self.mounts]
        # Somebody else who removes the directory below a mount of his takes it out of our namespace too.
        found += [f"mount gone: {line}" for line in self.mounts if line not in now_mounted and _point(line).exists()]
        found += [f"cgroup {path}" for path in cgroups(self.token)]
        if self.root.exists():
            found += [f"state {name}" for name in os.listdir(self.root) if name not in NOT_OURS]
        now = _descriptors()
        found += [f"descriptor {fd} -> {now[fd]}" for fd in now if self.descriptors.get(fd) != now[fd]]
        return found

    def clean(self) -> None:
        """Remove what was left, by force."""
        for _ in range(100):
            left = [pid for pid in descendants() if pid not in self.processes]
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            reap()
            if not left:
                break
            time.sleep(0.01)
        for path in cgroups(self.token):
            _empty_cgroup(path)
        reap()
        for line in reversed([line for line in _mount_lines() if line not in self.mounts]):
            with contextlib.suppress(OSError):
                unmount(mounts_of(line)[0].point)
        if self.root.exists():
            for name in os.listdir(self.root):
                shutil.rmtree(self.root / name, ignore_errors=True)


def _empty_cgroup(path: Path) -> None:
    for file, text in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
        with contextlib.suppress(OSError):
            if (path / file).exists():
                (path / file).write_text(text)
    for _ in range(200):
        with contextlib.suppress(OSError):
            for pid in (path / "cgroup.procs").read_text().split():
                os.kill(int(pid), signal.SIGKILL)
        reap()
        try:
            path.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.01)
        else:
            return


def _point(line: str) -> Path:
    return Path(mounts_of(line)[0].point)


def _mount_lines() -> list[str]:
    return Path("/proc/self/mountinfo").read_text().splitlines()


def _descriptors() -> dict[int, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return found
