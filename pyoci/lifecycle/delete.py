"""delete: the end of a container."""

import select
import time
from typing import Any

from pyoci.errors import NoContainerError, StateError
from pyoci.kernel import require_procfs
from pyoci.lifecycle import recovery, status
from pyoci.lifecycle.directory import Directory
from pyoci.options import check_id
from pyoci.process import kill_exactly
from pyoci.signals import Signals

PATIENCE = 1.0


def delete(root: str, container_id: str, *, force: bool = False) -> None:
    """Delete a stopped container, or with force any: silently also one that is not there.

    Raises:
        StateError: it is still running, or there is none (without force).
    """
    check_id(container_id)
    try:
        directory = Directory.open(root, container_id)
        require_procfs()
        if force:
            break_lock(directory)
        with directory:
            state = recovery.read_state(directory, container_id)
            if not force and (present := status.status_of(directory, state)) not in status.ALLOWED["delete"]:
                raise StateError(f"cannot delete container {container_id} that is not stopped: {present}")
            with Signals(f"delete {container_id}") as signals:
                recovery.undo(directory, state, signals).finish()
    except NoContainerError:
        if not force:
            raise


def break_lock(directory: Directory) -> None:
    """Take the lock from a verb that hangs.

    After a second what the verb waits for is killed, so that it fails and takes itself back: the hook, or the
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
