"""The record of one container: what is remembered of it between two calls of pyoci."""

import os
import time
from dataclasses import dataclass, field, fields
from typing import Any

from pyoci.cgroups.cgroup import Cgroup, from_state
from pyoci.log import utc
from pyoci.members import Members
from pyoci.process import is_alive, open_pidfd

STATE_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The record of one container, as state.json holds it.

    pid and startTime (clock ticks since boot, /proc/PID/stat) identify the init process; cgroup is what
    the cgroup manager needs to find its directories; hooks names the lists of hooks that later verbs must run.
    finished is False for what the journal says of a create that has not ended, or was killed; it is not written.
    """

    id: str
    ociVersion: str
    bundle: str
    rootfs: str
    created: str
    owner: str
    annotations: Members = field(default_factory=Members)
    pid: int = 0
    startTime: int = 0
    cgroup: dict[str, Any] = field(default_factory=dict)
    hooks: list[str] = field(default_factory=list)
    document: str = "config.json"
    hasProcess: bool = True
    privatePid: bool = True
    version: int = STATE_VERSION
    finished: bool = True

    def control_group(self) -> Cgroup:
        """Return the container's cgroup."""
        return from_state(self.cgroup)

    def open_init(self) -> int:
        """Open the init process; return -1 when it has gone, or its pid belongs to another process by now."""
        pidfd = open_pidfd(self.pid) if self.pid else -1
        if pidfd < 0:
            return -1
        if is_alive(self.pid, self.startTime):
            return pidfd
        os.close(pidfd)
        return -1

    def public(self, status: str) -> dict[str, Any]:
        """Return the state object of runtime.md#state, as hooks and the seccomp agent get it."""
        return public_state(self.ociVersion, self.id, status, self.pid, self.bundle, self.annotations)


SAVED = tuple(each.name for each in fields(State) if each.name != "finished")


def public_state(
    version: str, container_id: str, status: str, pid: int, bundle: str, annotations: Members
) -> dict[str, Any]:
    """Return the state object of runtime.md#state; a stopped container has no pid."""
    state: dict[str, Any] = {"ociVersion": version, "id": container_id, "status": status}
    if status != "stopped":
        state["pid"] = pid
    state["bundle"] = bundle
    if annotations:
        state["annotations"] = annotations
    return state


def now() -> str:
    """Return the time as RFC 3339 with nanoseconds, UTC."""
    nanoseconds = time.time_ns()
    seconds = utc(nanoseconds // 10**9)
    return f"{seconds}.{nanoseconds % 10**9:09d}Z"
