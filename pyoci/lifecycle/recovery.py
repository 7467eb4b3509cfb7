"""What a create that was killed has left behind, pieced together from its journal."""

import errno
import os
import select
import time
from signal import SIGKILL
from typing import Any

from pyoci import native
from pyoci.errors import StateError
from pyoci.lifecycle.directory import Directory
from pyoci.lifecycle.state import State
from pyoci.process import is_alive

PATIENCE = 1.0


def half_made(directory: Directory, container_id: str) -> State:
    """Piece together from the journal what is known of a container whose create has not ended; version is 0.

    Raises:
        StateError: the directory belongs to another runtime, with which callers let us share the state root.
    """
    names = os.listdir(directory.fd)
    if names and "journal" not in names:
        raise StateError(f"{directory.path} was not made by pyoci")
    known: dict[str, Any] = {"bundle": "", "pid": 0, "pidStart": 0}
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
        startTime=known["pidStart"],
        version=0,
    )


def break_lock(directory: Directory) -> None:
    """Take the lock from a verb that hangs.

    After a second it is killed what the verb waits for, so that it fails and takes itself back: the hook, or the
    process that is to be the container's init.  When that does not help, pyoci itself is, if it is a command that
    exists for this one create; another program, which only uses pyoci, is never killed.

    Raises:
        StateError: the verb is of such a program, and does not end.
    """
    begin = time.monotonic()
    while directory.is_locked():
        passed = time.monotonic() - begin
        last: dict[str, Any] = {}
        for entry in directory.journal() if passed > PATIENCE else ():
            last.update(entry)
        kill_exactly(last.get("hook", 0), last.get("hookStart", 0), group=True)
        kill_exactly(last.get("pid", 0), last.get("pidStart", 0))
        is_command = passed > 2 * PATIENCE and kill_exactly(last.get("owner", 0), last.get("ownerStart", 0))
        if passed > 10 * PATIENCE and not is_command:
            raise StateError(f"{directory.path} is in use by another program, which does not let go")
        select.poll().poll(5)


def kill_exactly(pid: int, start_time: int, *, group: bool = False) -> bool:
    """Kill a process, or the group that it leads, if it is still the one that was recorded; tell whether it was."""
    try:
        pidfd = os.pidfd_open(pid, 0) if pid > 0 else -1
    except OSError:
        return False
    if pidfd < 0:
        return False
    try:
        if not is_alive(pid, start_time):
            return False
        if not group:
            native.lib.pyoci_pidfd_send_signal(pidfd, SIGKILL)
        elif native.lib.pyoci_pidfd_signal_group(pidfd, SIGKILL) == -errno.EINVAL:  # before Linux 6.9
            os.killpg(pid, SIGKILL)
    except ProcessLookupError:
        return False
    finally:
        os.close(pidfd)
    return True
