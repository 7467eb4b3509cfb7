"""What is remembered of a container between two calls, which verb is allowed when, and who a process is.

The status is never stored but looked at: a process is a pid with its start time, and a stage that still waits has the
gate open for reading.
"""

import time
from dataclasses import dataclass, field
from typing import Any

from pyoci.errors import StateError
from pyoci.log import utc
from pyoci.members import Members

STATE_VERSION = 1
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


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
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
    cgroup: dict[str, Any] = field(default_factory=dict)
    hooks: list[str] = field(default_factory=list)
    document: str = "config.json"
    hasProcess: bool = True
    privatePid: bool = True
    version: int = STATE_VERSION


def public_state(
    version: str, container_id: str, status: str, pid: int, bundle: str, annotations: Any
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


