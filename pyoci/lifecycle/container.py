"""A container and the verbs of its lifecycle; also what a Python program uses.

create ──> created ──start──> running ──(exit)──> stopped ──delete──> gone
                              │    ▲
                           pause  resume
                              ▼    │
                              paused
"""

import errno
import os
from signal import SIGKILL
from typing import Any, Self

from pyoci import native
from pyoci.cgroups.cgroup import Cgroup
from pyoci.config.model import Config
from pyoci.config.resources import Resources
from pyoci.config.source import Source
from pyoci.config.versions import as_meant
from pyoci.errors import StateError
from pyoci.kernel import require_procfs
from pyoci.lifecycle import recovery, status
from pyoci.lifecycle.create import create
from pyoci.lifecycle.delete import delete
from pyoci.lifecycle.directory import Directory
from pyoci.lifecycle.exec import execute
from pyoci.lifecycle.run import run
from pyoci.lifecycle.start import start
from pyoci.lifecycle.state import State
from pyoci.options import CreateOptions, ExecOptions, check_id
from pyoci.signals import Signals

lib = native.lib


class Container:
    """One container: its directory below the state root, and what is recorded of it.

    An object holds nothing but an open directory.  A method that changes something holds the lock while it runs.
    Methods that block signals meanwhile (create, run, execute, those that run hooks) leave the mask as it was.
    """

    def __init__(self, directory: Directory, state: State) -> None:
        """Wrap an open directory."""
        self.directory = directory
        self.state = state

    # ---- finding ----

    @classmethod
    def load(cls, root: str, container_id: str) -> Self:
        """Find a container.

        Raises:
            StateError: there is none.
            Error: somebody else has made it, or could write to it.
        """
        check_id(container_id)
        directory = Directory.open(root, container_id)
        require_procfs()
        return cls(directory, recovery.read_state(directory, container_id))

    def close(self) -> None:
        """Close the directory; the container stays as it is."""
        self.directory.close()

    def cgroup(self) -> Cgroup:
        """Return the container's cgroup."""
        return self.state.control_group()

    def config(self) -> Config:
        """Return the configuration as it was at create."""
        return self.directory.config(self.state.document)

    def source(self) -> Source:
        """Return where the settings come from: the configuration as it was at create."""
        return self.directory.source(self.state.document)

    def status(self) -> str:
        """Return what the container does: creating, created, running, paused or stopped."""
        return status.shown(status.status_of(self.directory, self.state))

    def describe(self) -> dict[str, Any]:
        """Return the state as ``pyoci state`` prints it: runtime.md#state, and members that callers read besides."""
        state, present = self.state, self.status()
        shown: dict[str, Any] = {
            "ociVersion": state.ociVersion,
            "id": state.id,
            "pid": 0 if present == status.STOPPED else state.pid,
            "status": present,
            "bundle": state.bundle,
            "rootfs": state.rootfs,
            "created": state.created,
        }
        if state.annotations:
            shown["annotations"] = state.annotations
        shown["owner"] = state.owner
        return shown

    # ---- create and start ----

    @classmethod
    def create(cls, root: str, container_id: str, options: CreateOptions) -> Self:
        """Create a container, whose program then waits for start().

        Raises:
            Error: nothing is left behind.
        """
        return cls(*create(root, container_id, options))

    @classmethod
    def run(cls, root: str, container_id: str, options: CreateOptions) -> int:
        """Create and start a container; in the foreground wait for its end and delete it.

        Return the exit status of the program, 128 + n when signal n killed it; 0 when detached.

        Raises:
            Error: it did not start; nothing is left behind.
        """
        return run(root, container_id, options)

    def start(self) -> None:
        """Open the gate and wait until the program runs; then run the poststart hooks.

        Raises:
            StateError: the container is not waiting to be started.
            Error: the program could not be run, or a hook failed; the container is stopped or gone then.
        """
        with self.directory, Signals(f"start {self.state.id}") as signals:
            start(self.directory, self.state, signals)

    # ---- signals and time ----

    def kill(self, signal: int, *, everyone: bool = False) -> None:
        """Send a signal to the init process, or to every process in the container's cgroup, if it has one.

        SIGKILL reaches them all when the container has no PID namespace of its own, also when init has gone before
        them, and thaws what is paused.

        Raises:
            StateError: the container is not running, or not made yet; with everyone that is no error.
        """
        if not self.state.finished and not everyone:
            status.require("kill", self.status())
        if everyone and self.state.cgroup.get("paths"):
            self.cgroup().kill(signal)
            return
        pidfd = self.state.open_init()
        try:
            left = signal == SIGKILL and not self.state.privatePid and self.cgroup().pids()
            if left:
                self.cgroup().kill(signal)
            result = lib.pyoci_pidfd_send_signal(pidfd, signal) if pidfd >= 0 else -errno.ESRCH
        finally:
            if pidfd >= 0:
                os.close(pidfd)
        if result == -errno.ESRCH:
            if everyone or left:
                return
            raise StateError("container not running")
        native.check(result, f"sending signal {signal}")
        if signal == SIGKILL:
            self.cgroup().thaw_killed()

    def pause(self) -> None:
        """Freeze every process of the container."""
        with self.directory:
            status.require("pause", self.status())
            self.cgroup().freeze()

    def resume(self) -> None:
        """Resume a paused container."""
        with self.directory:
            status.require("resume", self.status())
            self.cgroup().thaw()

    def update(self, resources: Resources) -> None:
        """Change the limits; what *resources* does not name stays as it is, and so do the device rules."""
        with self.directory:
            status.require("update", self.status())
            self.cgroup().apply(as_meant(resources, self.state.ociVersion), update=True)

    def pids(self) -> list[int]:
        """List the processes of the container by their pids on the host, also those that init has left behind."""
        pids = self.cgroup().pids()
        if not pids or self.status() != "stopped":
            status.require("ps", self.status())
        return pids or [self.state.pid]

    def execute(self, options: ExecOptions) -> int:
        """Run one more process in the container; return its exit status, 0 when detached."""
        return execute(self.directory, self.state, options)

    # ---- the end ----

    @classmethod
    def delete(cls, root: str, container_id: str, *, force: bool = False) -> None:
        """Delete a stopped container, or with force any: silently also one that is not there.

        Raises:
            StateError: it is still running, or there is none (without force).
        """
        delete(root, container_id, force=force)

    def destroy(self) -> None:
        """Kill what still runs, remove all that create has made (or a part of it), run the poststop hooks.

        Every step is tried; what cannot be undone leaves the directory, so that it can be tried again.

        Raises:
            Error: what could not be done, the first such thing and a note of the others.
        """
        with Signals(f"delete {self.state.id}") as signals:
            recovery.undo(self.directory, self.state, signals).finish()
