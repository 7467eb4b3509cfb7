"""The status of a container, which is looked up each time and never stored, and the verbs that it allows.

A container lives while its init process does, which is a pid with its start time.  The stage holds the gate open for
reading until it runs the program.
"""

import errno
import os

from pyoci.errors import StateError, wrap
from pyoci.lifecycle.directory import Directory
from pyoci.lifecycle.state import State
from pyoci.process import is_alive

CREATING, CREATED, RUNNING, PAUSED, STOPPED = "creating", "created", "running", "paused", "stopped"
# A create that was killed, or whose undo failed.  The specification has no such status: it is shown as stopped.
UNFINISHED = "unfinished"

# The rules of runtime.md#operations, as Docker, Podman and containerd know them from runc.
# "delete" of a created container kills it first, which the callers depend on.
ALLOWED = {
    "start": (CREATED,),
    "kill": (CREATED, RUNNING, PAUSED),
    "delete": (CREATED, STOPPED, UNFINISHED),
    "pause": (CREATED, RUNNING),
    "resume": (PAUSED,),
    "exec": (CREATED, RUNNING),
    "update": (CREATED, RUNNING, PAUSED),
    "ps": (CREATED, RUNNING, PAUSED),
}

# The words that callers look for.
REFUSALS = {
    ("start", RUNNING): "cannot start an already running container",
    ("start", STOPPED): "cannot start a container that has stopped",
    ("kill", STOPPED): "container not running",
    ("exec", STOPPED): "cannot exec in a stopped container",
    ("exec", PAUSED): "cannot exec in a paused container (use --ignore-paused)",
    ("resume", STOPPED): "container not running",
    ("pause", STOPPED): "container not running",
    ("update", STOPPED): "container not running",
    ("ps", STOPPED): "container not running",
}
OPEN_GATE = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW


def require(verb: str, status: str) -> None:
    """Refuse *verb* for a container in *status*.

    Raises:
        StateError: with the words that callers look for.
    """
    if status not in ALLOWED[verb]:
        status = shown(status)
        raise StateError(REFUSALS.get((verb, status), f"cannot {verb} a container that is {status}"))


def shown(status: str) -> str:
    """Return a status as users and callers see it."""
    return STOPPED if status == UNFINISHED else status


def status_of(directory: Directory, state: State) -> str:
    """Return what a container does at the moment."""
    alive = is_alive(state.pid, state.startTime)
    if not state.finished:
        return CREATING if alive or directory.is_locked() else UNFINISHED
    if not alive:
        return STOPPED
    if state.control_group().frozen():
        return PAUSED  # before start, too: a frozen stage cannot be started
    return CREATED if waits_at_gate(directory) else RUNNING


def waits_at_gate(directory: Directory) -> bool:
    """Return whether the stage still has the gate open for reading: only then can it be opened for writing."""
    try:
        os.close(os.open("gate", OPEN_GATE, dir_fd=directory.fd))
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENOENT):
            return False
        raise wrap("looking at the start gate", error) from error
    return True
