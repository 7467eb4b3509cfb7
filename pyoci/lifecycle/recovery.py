"""The one undo: what a create has made, or the part of it that it came to, is taken back.

A create that fails, one that was killed, a start that fails, the end of a run and ``delete`` all come here.  What there
is to undo is read from the directory: from the journal, which has an entry before each side effect, until the create
has finished, and from state.json afterwards.  Every step is tried, whatever fails, and nothing is touched that pyoci
has not made: a process is known by its start time, a cgroup by its entry.

When something could not be undone the directory stays: ``list`` shows it, and ``delete`` tries again.
"""

import os
from collections.abc import Callable
from signal import SIGKILL
from typing import Any

from pyoci import process
from pyoci.cgroups import files as cgroup_files
from pyoci.cgroups.cgroup import Cgroup
from pyoci.config.model import Config
from pyoci.config.source import warn
from pyoci.errors import Error, StateError
from pyoci.lifecycle import hooks
from pyoci.lifecycle.directory import Directory
from pyoci.lifecycle.state import State, public_state
from pyoci.log import warning
from pyoci.signals import Signals
from pyoci.undo import Undo

NEVER = "1970-01-01T00:00:00Z"


def read_state(directory: Directory, container_id: str) -> State:
    """Return the record of a container, or what the journal says of one whose create has not finished.

    Raises:
        StateError: the directory belongs to another runtime, with which callers let us share the state root.
    """
    return directory.load() or _unfinished(directory, container_id)


def _unfinished(directory: Directory, container_id: str) -> State:
    names = os.listdir(directory.fd)
    if names and "journal" not in names:
        raise StateError(f"{directory.path} was not made by pyoci")
    known: dict[str, Any] = {}
    for entry in directory.journal():
        known.update(entry)
    return State(
        id=container_id,
        ociVersion="1.0.0",
        bundle=known.get("bundle", ""),
        rootfs="",
        created=NEVER,
        owner="",
        pid=known.get("pid", 0),
        startTime=known.get("pidStart", 0),
        cgroup=known.get("members", {}),
        hooks=known.get("hooks", []),
        document=known.get("document", "config.json"),
        finished=False,
    )


def undo(
    directory: Directory,
    state: State,
    signals: Signals,
    *,
    end: Callable[[], object] | None = None,
) -> Undo:
    """Kill what runs in a container, remove what its create has made, then run its poststop hooks.

    end ends the init process where that is a child of this one, which has to be waited for.  Whoever calls this raises
    the failures, or adds them to the error that came first.
    """
    failures = Undo()
    config = _with_poststop_hooks(directory, state)
    cgroup = state.control_group()
    # First the cgroup: what stands still in a frozen one ends only when that is thawed.
    failures.attempt("killing what is in the container's cgroup", lambda: _kill(cgroup))
    failures.attempt("ending the container's init process", end or (lambda: _end_init(state)))
    failures.attempt("removing the container's cgroup", lambda: cgroup_files.undo(_cgroups_made(directory, state)))
    if not failures.failures:
        failures.attempt("removing the state directory", directory.remove)
    if config is not None and not failures.failures:
        failures.attempt("running the poststop hooks", lambda: _run_poststop(directory, state, config, signals))
    return failures


def undo_create(
    directory: Directory, container_id: str, signals: Signals, end: Callable[[], object]
) -> Undo:
    """Take back a create that has failed in this process, as far as it came; see undo()."""
    found: list[State] = []
    failures = Undo()
    failures.attempt("reading the journal", lambda: found.append(_unfinished(directory, container_id)))
    if found:
        return undo(directory, found[0], signals, end=end)
    failures.attempt("ending the container's init process", end)
    return failures


def _cgroups_made(directory: Directory, state: State) -> list[str]:
    """Return the cgroups to remove: of an unfinished create those above the container's own, too."""
    if state.finished:
        return list(state.cgroup.get("made", ()))
    return [entry["cgroup"] for entry in directory.journal() if "cgroup" in entry]


def _kill(cgroup: Cgroup) -> None:
    if cgroup.pids():
        cgroup.kill(SIGKILL)


def _end_init(state: State) -> None:
    pidfd = state.open_init()
    if pidfd < 0:
        return
    try:
        process.end(pidfd, state.pid)
    finally:
        os.close(pidfd)


def _with_poststop_hooks(directory: Directory, state: State) -> Config | None:
    """Return the configuration when it has poststop hooks; that it cannot be read keeps nobody from deleting."""
    if "poststop" not in state.hooks or not state.pid:
        return None
    try:
        return directory.config(state.document)
    except (Error, OSError) as error:
        warning(f"the poststop hooks are not run: {error}")
        return None


def _run_poststop(directory: Directory, state: State, config: Config, signals: Signals) -> None:
    """Run the poststop hooks; one that fails is only warned of (runtime.md#lifecycle, step 13)."""
    public = public_state(config.ociVersion, state.id, "stopped", 0, state.bundle, config.annotations)
    for failure in hooks.failures(config, "poststop", public, signals):
        warn(failure, directory.source(state.document))
