"""What a create that was killed has left behind, pieced together from its journal."""

import fcntl
import posix
import select
import time

from pyoci import native
from pyoci.errors import StateError
from pyoci.state import Directory, State, is_alive, stat_fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SIGKILL = 9


def half_made(directory: Directory, container_id: str) -> State:
    """Piece together from the journal what is known of a container whose create has not ended; version is 0.

    Raises:
        StateError: the directory belongs to another runtime, with which callers let us share the state root.
    """
    names = posix.listdir(directory.fd)
    if names and "journal" not in names:
        raise StateError(f"{directory.path} was not made by pyoci")
    known: dict[str, Any] = {"bundle": "", "pid": 0, "startTime": 0}
    for entry in directory.journal():
        known.update({key: value for key, value in entry.items() if key in known})
    return State(
        id=container_id,
        ociVersion="1.0.0",
        bundle=known["bundle"],
        rootfs="",
        created="1970-01-01T00:00:00Z",
        owner="",
        pid=known["pid"],
        startTime=known["startTime"],
        version=0,
    )


def is_locked(directory: Directory) -> bool:
    """Tell whether somebody else holds the lock; for readers, who take none."""
    probe = posix.open(directory.path, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
    try:
        fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        posix.close(probe)
    return False


def break_lock(directory: Directory) -> None:
    """Take the lock from a create that hangs in a hook: after a moment kill pyoci and the stage it started."""
    deadline = time.monotonic() + 1.0
    while is_locked(directory):
        if time.monotonic() < deadline:
            select.poll().poll(5)
            continue
        for entry in directory.journal():
            for pid, start in (("owner", "ownerStartTime"), ("pid", "startTime")):
                if pid in entry and is_alive(entry[pid], entry[start]):
                    kill_exactly(entry[pid], entry[start])
        return


def kill_exactly(pid: int, start_time: int) -> None:
    """Kill a process if it is still the one that was recorded."""
    try:
        pidfd = posix.pidfd_open(pid, 0)
    except OSError:
        return
    try:
        found = stat_fields(pid)
        if found and found[1] == start_time:
            native.lib.pyoci_pidfd_send_signal(pidfd, SIGKILL)
    finally:
        posix.close(pidfd)
