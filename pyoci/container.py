"""A container and the verbs of its lifecycle; also what a Python program uses.

create ──> created ──start──> running ──(exit)──> stopped ──delete──> gone
                              │    ▲
                           pause  resume
                              ▼    │
                              paused
"""

import errno
import posix
import select

from pyoci import codec, native
from pyoci.cgroups import from_state
from pyoci.errors import Error, HookError, StateError, wrap
from pyoci.kernel import require_procfs, require_version
from pyoci.options import check_id
from pyoci.remains import break_lock, half_made, is_locked
from pyoci.state import Directory, State, is_alive, public_state, read_file, require

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyoci.cgroups import Cgroup
    from pyoci.config.model import Config, Resources
    from pyoci.config.source import Source
    from pyoci.options import CreateOptions, ExecOptions

lib = native.lib
SIGKILL = 9
END_SECONDS = 10.0


class Container:
    """One container: its directory below the state root, and what is recorded of it."""

    def __init__(self, directory: Directory, state: State) -> None:
        """Wrap an open directory."""
        self.directory = directory
        self.state = state
        self._text = b""

    # ---- finding ----

    @classmethod
    def load(cls, root: str, container_id: str, *, lock: bool = True) -> "Container":
        """Find a container.

        Raises:
            StateError: there is none.
        """
        check_id(container_id)
        directory = Directory.open(root, container_id, lock=lock)
        require_procfs()
        state = directory.load()
        if state is None:
            state = half_made(directory, container_id)
        return cls(directory, state)

    def cgroup(self) -> "Cgroup":
        """Give the container's cgroup."""
        return from_state(self.state.cgroup)

    def config(self) -> "Config":
        """Read the configuration as it was at create."""
        from pyoci.config.parse import parse_config  # most verbs need no configuration

        return parse_config(codec.loads(self._config_text(), "config.json"))

    def source(self) -> "Source":
        """Give where the settings come from: the configuration as it was at create."""
        from pyoci.config.source import Source

        return Source("config.json", self._config_text)

    def _config_text(self) -> bytes:
        """Read the recorded configuration, once: it is gone when an error of the removal is told."""
        if not self._text:
            self._text = read_file(f"{self.directory.path}/config.json")
        return self._text

    def status(self) -> str:
        """Look what the container does: creating, created, running, paused or stopped."""
        if not is_alive(self.state.pid, self.state.startTime):
            making = self.state.version == 0 and not self.directory.locked and is_locked(self.directory)
            return "creating" if making else "stopped"
        if self.state.version == 0:
            return "creating"
        if self.cgroup().frozen():
            return "paused"  # at the gate, too: a stage that stands still cannot be started
        return "created" if self._waits_at_gate() else "running"

    def _waits_at_gate(self) -> bool:
        """Tell whether the stage still has the gate open for reading; only then can it be opened for writing."""
        try:
            posix.close(
                posix.open(f"{self.directory.path}/gate", posix.O_WRONLY | posix.O_NONBLOCK | posix.O_CLOEXEC)
            )
        except OSError as error:
            if error.errno in (errno.ENXIO, errno.ENOENT):
                return False
            raise wrap("looking at the start gate", error) from error
        return True

    def describe(self) -> "dict[str, Any]":
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
    def create(cls, root: str, container_id: str, options: "CreateOptions") -> "Container":
        """Create a container, whose program then waits for start().

        Raises:
            Error: nothing is left behind.
        """
        # Only create, run and exec need the plan and all behind it: half of the time that state or kill takes.
        from pyoci.creation import Creation, admit

        bundle = admit(container_id, options, detach=True)
        creation = Creation(Directory.claim(root, container_id), bundle, options, container_id)
        with bundle.source():
            state = creation.run()
        assert creation.talk is not None
        creation.talk.stage.close()
        return cls(creation.directory, state)

    @classmethod
    def run(cls, root: str, container_id: str, options: "CreateOptions") -> int:
        """Create and start a container; in the foreground wait for its end and delete it.

        Gives the exit status of the program, 128 + n when signal n killed it; 0 when detached.

        Raises:
            Error: it did not start; nothing is left behind.
        """
        from pyoci.creation import Creation, admit, remove_pid_file
        from pyoci.host.console import Foreground

        bundle = admit(container_id, options, detach=options.detach)
        foreground = None if options.detach else Foreground()
        creation = Creation(Directory.claim(root, container_id), bundle, options, container_id)
        with bundle.source():
            container = cls(creation.directory, creation.run())
        assert creation.talk is not None
        stage, master = creation.talk.stage, creation.talk.console
        try:
            if foreground is not None:
                foreground.begin(master)
            container.start()
            if foreground is None:
                return 0
            container.directory.unlock()
            status = foreground.wait(stage.pidfd, master)
            container.directory.lock()
        except BaseException:
            if foreground is not None:
                foreground.end()
            container.directory.lock()
            if container.directory.is_current():
                container.destroy()
            if options.pid_file:
                remove_pid_file(options.pid_file, container.state.pid)
            raise
        if not options.keep and container.directory.is_current():
            container.destroy()
        return status

    def start(self) -> None:
        """Open the gate and wait until the program runs; then run the poststart hooks.

        Raises:
            StateError: the container is not waiting to be started.
            Error: the program could not be run, or a hook failed; the container is stopped then.
        """
        require("start", self.status())
        if not self.state.hasProcess:
            refusal = StateError("cannot start a container that has no process", "/process")
            refusal.locate(self.source())
            raise refusal
        path = self.directory.path
        try:
            reports = posix.open(f"{path}/status", posix.O_RDONLY | posix.O_NONBLOCK | posix.O_CLOEXEC)
            gate = posix.open(f"{path}/gate", posix.O_WRONLY | posix.O_NONBLOCK | posix.O_CLOEXEC)
            posix.write(gate, b"\n")
            posix.close(gate)
        except OSError as error:
            raise wrap("opening the start gate", error) from error
        try:
            with self.source():
                self._await_program(reports)
        except HookError:
            self.destroy()
            raise
        for name in ("gate", "status"):
            posix.unlink(name, dir_fd=self.directory.fd)
        if "poststart" in self.state.hooks:
            self._poststart()

    def _await_program(self, reports: int) -> None:
        """Read what the stage says between the gate and the program: nothing but success or one failure."""
        executing = False
        poll = select.poll()
        poll.register(reports, select.POLLIN)
        try:
            while True:
                poll.poll()
                report = native.read_report(reports)
                if report is None:
                    break
                if report.kind == lib.REPORT_FAILED:
                    raise native.failure(report, self.directory.step(report.step))
                executing = executing or report.kind == lib.REPORT_EXECUTING
        finally:
            posix.close(reports)
        if not executing:
            raise Error("the container's process ended before its program was run")

    def _poststart(self) -> None:
        from pyoci.host import hooks

        state = self._hook_state("running", self.state.pid)
        try:
            with self.source():
                hooks.run(self.config(), "poststart", state)
        except Error:
            self.destroy()
            raise

    def _hook_state(self, status: str, pid: int) -> "dict[str, Any]":
        state = self.state
        return public_state(state.ociVersion, state.id, status, pid, state.bundle, state.annotations)

    # ---- signals and time ----

    def open_process(self) -> int:
        """Open the init process; -1 when it has gone or its pid belongs to somebody else by now."""
        if not self.state.pid:  # a create that was cut off before it had one
            return -1
        try:
            pidfd = posix.pidfd_open(self.state.pid, 0)
        except ProcessLookupError:
            return -1
        except OSError as error:
            raise wrap(f"opening process {self.state.pid}", error) from error
        if is_alive(self.state.pid, self.state.startTime):
            return pidfd
        posix.close(pidfd)
        return -1

    def kill(self, signal: int, *, everyone: bool = False) -> None:
        """Send a signal to the init process, or to every process in the container's cgroup, if it has one.

        SIGKILL reaches them all when the container has no PID namespace of its own, and thaws what is paused.

        Raises:
            StateError: the container is not running, or not made yet; with everyone that is no error.
        """
        if self.state.version == 0 and not everyone:
            require("kill", self.status())
        if everyone and self.state.cgroup.get("paths"):
            self.cgroup().kill(signal)
            return
        pidfd = self.open_process()
        if pidfd < 0:
            if everyone:
                return
            raise StateError("container not running")
        try:
            if signal == SIGKILL and not self.state.privatePid and self.state.cgroup.get("paths"):
                self.cgroup().kill(signal)
            result = lib.pyoci_pidfd_send_signal(pidfd, signal)
        finally:
            posix.close(pidfd)
        if result == -errno.ESRCH:
            raise StateError("container not running")
        native.check(result, f"sending signal {signal}")
        if signal == SIGKILL and "freezer" in self.cgroup().paths():
            self.cgroup().thaw()

    def pause(self) -> None:
        """Freeze every process of the container."""
        require("pause", self.status())
        self.cgroup().freeze()

    def resume(self) -> None:
        """Let a paused container run on."""
        require("resume", self.status())
        self.cgroup().thaw()

    def update(self, resources: "Resources") -> None:
        """Change the limits; what *resources* does not name stays as it is, and so do the device rules."""
        require("update", self.status())
        from pyoci.config.versions import as_meant  # for this verb only

        self.cgroup().apply(as_meant(resources, self.state.ociVersion), update=True)

    def pids(self) -> "list[int]":
        """List the processes of the container by their pids on the host."""
        require("ps", self.status())
        return self.cgroup().pids() or [self.state.pid]

    def execute(self, options: "ExecOptions") -> int:
        """Run one more process in the container; gives its exit status, 0 when detached."""
        from pyoci.execution import Execution  # the plan and all it needs, for this verb only

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
            directory = Directory.open(root, container_id, lock=False)
        except StateError:
            if force:
                return
            raise
        require_procfs()
        if force:
            break_lock(directory)
        directory.lock()
        if not directory.is_current():
            if force:
                return
            raise StateError(f"container does not exist: {container_id} in {root}")
        container = cls(directory, directory.load() or half_made(directory, container_id))
        if not force:
            status = container.status()
            if status not in ("created", "stopped"):
                raise StateError(f"cannot delete container {container_id} that is not stopped: {status}")
        container.destroy()

    def destroy(self) -> None:
        """Kill what still runs, remove all that create has made (or a prefix of it), run the poststop hooks."""
        config = self.config() if "poststop" in self.state.hooks else None
        self._end_process()
        if self.state.cgroup:
            cgroup = self.cgroup()
            if cgroup.pids():
                cgroup.kill(SIGKILL)
            cgroup.delete()
        else:
            self._undo_cgroups()
        self.directory.remove()
        if config is not None:
            from pyoci.config.source import warn
            from pyoci.host import hooks

            for failure in hooks.failures(config, "poststop", self._hook_state("stopped", 0)):
                warn(failure, self.source())

    def _end_process(self) -> None:
        """Kill the init process and wait until it has gone.

        Raises:
            Error: it did not end within 10 seconds.
        """
        pidfd = self.open_process()
        if pidfd < 0:
            return
        try:
            lib.pyoci_pidfd_send_signal(pidfd, SIGKILL)
            if self.state.cgroup and "freezer" in self.cgroup().paths():
                self.cgroup().thaw()
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            if not poll.poll(END_SECONDS * 1000):
                raise Error(f"process {self.state.pid} did not end within {END_SECONDS:.0f} s of SIGKILL")
        finally:
            posix.close(pidfd)

    def _undo_cgroups(self) -> None:
        """Remove the cgroups of a create that was cut off, and what still runs in them."""
        from pyoci.cgroups import Cgroup
        from pyoci.cgroups.files import undo

        paths = [entry["cgroup"] for entry in self.directory.journal() if "cgroup" in entry]
        for path in paths:
            if not any(other.startswith(path + "/") for other in paths):
                leaf = Cgroup({"": path} if "/freezer/" not in path else {"freezer": path}, explicit=True)
                leaf.kill(SIGKILL)
        undo(paths)
