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

from pyoci import codec, native
from pyoci.cgroups import oom
from pyoci.cgroups.cgroup import Cgroup, from_state
from pyoci.config.model import Config
from pyoci.config.resources import Resources
from pyoci.config.source import Source
from pyoci.errors import Error, HookError, NoContainerError, StateError, wrap
from pyoci.kernel import require_procfs, require_version
from pyoci.lifecycle.create import Creation
from pyoci.lifecycle.directory import Directory
from pyoci.lifecycle.recovery import break_lock, half_made
from pyoci.lifecycle.state import State, public_state, require
from pyoci.log import log
from pyoci.options import CreateOptions, ExecOptions, check_id
from pyoci.process import is_alive, open_pidfd
from pyoci.signals import Signals
from pyoci.stage.conversation import tell_step
from pyoci.stage.failure import failure
from pyoci.stage.protocol import read_report
from pyoci.undo import Undo

lib = native.lib
WRITE_FIFO = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
READ_FIFO = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW


class Container:
    """One container: its directory below the state root, and what is recorded of it.

    An object holds the directory open, and nothing else: the lock is held while a method runs that changes
    something, and while signals are held back there (create, run, execute, the hooks) they are as before afterwards.
    """

    def __init__(self, directory: Directory, state: State) -> None:
        """Wrap an open directory."""
        self.directory = directory
        self.state = state
        self._text = b""

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
        return cls(directory, directory.load() or half_made(directory, container_id))

    def close(self) -> None:
        """Let go of the directory; the container stays as it is."""
        self.directory.close()

    def cgroup(self) -> Cgroup:
        """Give the container's cgroup."""
        return from_state(self.state.cgroup)

    def config(self) -> Config:
        """Read the configuration as it was at create."""
        from pyoci.config.parse import parse_config  # most verbs need no configuration

        return parse_config(codec.loads(self._config_text(), self.state.document))

    def source(self) -> Source:
        """Return where the settings come from: the configuration as it was at create."""
        from pyoci.config.source import Source

        return Source(self.state.document, self._config_text)

    def _config_text(self) -> bytes:
        """Read the recorded configuration, once: it is gone when an error of the removal is told."""
        if not self._text:
            self._text = self.directory.read("config.json")
        return self._text

    def status(self) -> str:
        """Look what the container does: creating, created, running, paused or stopped."""
        if not is_alive(self.state.pid, self.state.startTime):
            making = self.state.version == 0 and self.directory.is_locked()
            return "creating" if making else "stopped"
        if self.state.version == 0:
            return "creating"
        if self.cgroup().frozen():
            return "paused"  # at the gate, too: a stage that stands still cannot be started
        return "created" if self._waits_at_gate() else "running"

    def _waits_at_gate(self) -> bool:
        """Tell whether the stage still has the gate open for reading; only then can it be opened for writing."""
        try:
            os.close(os.open("gate", WRITE_FIFO, dir_fd=self.directory.fd))
        except OSError as error:
            if error.errno in (errno.ENXIO, errno.ENOENT):
                return False
            raise wrap("looking at the start gate", error) from error
        return True

    def describe(self) -> dict[str, Any]:
        """Give the state as ``pyoci state`` prints it: runtime.md#state, and what the callers read besides."""
        state, status = self.state, self.status()
        shown: dict[str, Any] = {
            "ociVersion": state.ociVersion,
            "id": state.id,
            "pid": 0 if status == "stopped" else state.pid,
            "status": status,
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
        # Only create, run and exec need the plan and all behind it: half of the time that state or kill takes.
        from pyoci.lifecycle.create import Creation, admit

        bundle = admit(container_id, options, detach=True)
        with Signals(f"create {container_id}") as signals:
            creation = Creation(Directory.claim(root, container_id), bundle, options, container_id, signals)
            with bundle.source():
                state = creation.run()
            creation.let_go()
        creation.directory.unlock()
        return cls(creation.directory, state)

    @classmethod
    def run(cls, root: str, container_id: str, options: CreateOptions) -> int:
        """Create and start a container; in the foreground wait for its end and delete it.

        Gives the exit status of the program, 128 + n when signal n killed it; 0 when detached.

        Raises:
            Error: it did not start; nothing is left behind.
        """
        from pyoci.lifecycle.create import Creation, admit

        bundle = admit(container_id, options, detach=options.detach)
        with Signals(f"run {container_id}", everything=not options.detach) as signals:
            creation = Creation(Directory.claim(root, container_id), bundle, options, container_id, signals)
            with bundle.source():
                container = cls(creation.directory, creation.run())
            try:
                return container._run(creation, options, signals)
            finally:
                creation.let_go()
                container.close()

    def _run(self, creation: Creation, options: CreateOptions, signals: Signals) -> int:
        """Start a container that has just been created, and see it to its end; its lock is held when this begins."""
        from pyoci.lifecycle.pidfile import remove_pid_file
        from pyoci.lifecycle.terminal import Foreground

        assert creation.talk is not None
        stage, master = creation.talk.stage, creation.talk.console
        foreground: Foreground | None = None
        try:
            if not options.detach:
                foreground = Foreground()
                foreground.begin(master)
            self._start(signals)
            self.directory.unlock()
            if foreground is None:
                return 0
            status = foreground.wait(stage.pidfd, master)
        except BaseException as error:
            undo = Undo()
            if foreground is not None:
                foreground.end()
            undo.attempt("deleting the container", lambda: self._remove_if_there(signals))
            undo.tell(error)
            if options.pid_file:
                remove_pid_file(options.pid_file, self.state.pid)
            raise
        if not options.keep:
            self._remove_if_there(signals)
        return status

    def _remove_if_there(self, signals: Signals) -> None:
        """Delete the container after its end, unless somebody else was quicker."""
        try:
            with self.directory:
                if self.directory.is_current():
                    self.destroy(signals)
        except NoContainerError:
            return

    def start(self) -> None:
        """Open the gate and wait until the program runs; then run the poststart hooks.

        Raises:
            StateError: the container is not waiting to be started.
            Error: the program could not be run, or a hook failed; the container is stopped then.
        """
        with self.directory, Signals(f"start {self.state.id}") as signals:
            self._start(signals)

    def _start(self, signals: Signals) -> None:
        require("start", self.status())
        if not self.state.hasProcess:
            refusal = StateError("cannot start a container that has no process", "/process")
            refusal.locate(self.source())
            raise refusal
        directory = self.directory
        killed_before = 0 if self.cgroup().is_own else oom.kills(self.cgroup().paths())
        try:
            reports = os.open("status", READ_FIFO, dir_fd=directory.fd)
            gate = os.open("gate", WRITE_FIFO, dir_fd=directory.fd)
            os.write(gate, bytes([lib.GATE_TRACED if log.wants("debug") else lib.GATE_OPEN]))
            os.close(gate)
        except OSError as error:
            raise wrap("opening the start gate", error) from error
        try:
            with self.source():
                self._await_program(reports, signals, killed_before)
        except HookError:
            self.destroy(signals)
            raise
        for name in ("gate", "status"):
            os.unlink(name, dir_fd=directory.fd)
        if "poststart" in self.state.hooks:
            self._poststart(signals)

    def _await_program(self, reports: int, signals: Signals, killed_before: int) -> None:
        """Read what the stage says between the gate and the program: nothing but success or one failure."""
        executing = False
        try:
            while True:
                signals.wait((reports,))
                report = read_report(reports)
                if report is None:
                    break
                if report.kind == lib.REPORT_FAILED:
                    raise failure(report, self.directory.step(report.step))
                if report.kind == lib.REPORT_STEP:
                    tell_step(report, self.directory.step(report.step))
                executing = executing or report.kind == lib.REPORT_EXECUTING
        finally:
            os.close(reports)
        if not executing:
            why = " for lack of memory" if oom.kills(self.cgroup().paths()) > killed_before else ""
            raise Error(f"the container's init process was killed{why} before its program was run")

    def _poststart(self, signals: Signals) -> None:
        from pyoci.lifecycle import hooks

        state = self.hook_state("running", self.state.pid)
        try:
            with self.source():
                hooks.run(self.config(), "poststart", state, signals, self._note_hook)
        except Error as error:
            undo = Undo()
            undo.attempt("deleting the container", lambda: self.destroy(signals))
            undo.tell(error)
            raise

    def _note_hook(self, pid: int) -> None:
        self.directory.note_process("hook", pid)

    def hook_state(self, status: str, pid: int) -> dict[str, Any]:
        """Give the state as hooks read it."""
        state = self.state
        return public_state(state.ociVersion, state.id, status, pid, state.bundle, state.annotations)

    # ---- signals and time ----

    def open_process(self) -> int:
        """Open the init process; -1 when it has gone or its pid belongs to somebody else by now."""
        # A create that was cut off early has no pid.
        pidfd = open_pidfd(self.state.pid) if self.state.pid else -1
        if pidfd < 0:
            return -1
        if is_alive(self.state.pid, self.state.startTime):
            return pidfd
        os.close(pidfd)
        return -1

    def kill(self, signal: int, *, everyone: bool = False) -> None:
        """Send a signal to the init process, or to every process in the container's cgroup, if it has one.

        SIGKILL reaches them all when the container has no PID namespace of its own, also when init has gone before
        them, and thaws what is paused.

        Raises:
            StateError: the container is not running, or not made yet; with everyone that is no error.
        """
        if self.state.version == 0 and not everyone:
            require("kill", self.status())
        if everyone and self.state.cgroup.get("paths"):
            self.cgroup().kill(signal)
            return
        pidfd = self.open_process()
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
            require("pause", self.status())
            self.cgroup().freeze()

    def resume(self) -> None:
        """Let a paused container run on."""
        with self.directory:
            require("resume", self.status())
            self.cgroup().thaw()

    def update(self, resources: Resources) -> None:
        """Change the limits; what *resources* does not name stays as it is, and so do the device rules."""
        from pyoci.config.versions import as_meant  # for this verb only

        with self.directory:
            require("update", self.status())
            self.cgroup().apply(as_meant(resources, self.state.ociVersion), update=True)

    def pids(self) -> list[int]:
        """List the processes of the container by their pids on the host, also those that init has left behind."""
        pids = self.cgroup().pids()
        if not pids or self.status() != "stopped":
            require("ps", self.status())
        return pids or [self.state.pid]

    def execute(self, options: ExecOptions) -> int:
        """Run one more process in the container; gives its exit status, 0 when detached."""
        from pyoci.lifecycle.exec import Execution  # the plan and all it needs, for this verb only

        require_version()
        if not options.ignore_paused or self.status() != "paused":
            require("exec", self.status())
        return Execution(self, options).run()

    # ---- the end ----

    @classmethod
    def delete(cls, root: str, container_id: str, *, force: bool = False) -> None:
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
                container = cls(directory, directory.load() or half_made(directory, container_id))
                if not force:
                    status = container.status()
                    if status not in ("created", "stopped"):
                        raise StateError(f"cannot delete container {container_id} that is not stopped: {status}")
                container.destroy()
        except NoContainerError:
            if not force:
                raise

    def destroy(self, signals: Signals | None = None) -> None:
        """Kill what still runs, remove all that create has made (or a prefix of it), run the poststop hooks.

        Every step is tried; what cannot be undone leaves the directory, so that it can be tried again.

        Raises:
            Error: what could not be done, the first such thing and a note of the others.
        """
        from pyoci.lifecycle.delete import remove  # for the verbs that end a container

        if signals is not None:
            remove(self, signals)
            return
        with Signals(f"delete {self.state.id}") as own:
            remove(self, own)
