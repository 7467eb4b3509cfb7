"""create: what the host side does around the stage, in order.

The journal has an entry before each side effect: pyoci.lifecycle.recovery takes back from it what a create has made
that fails or is killed.
"""

import dataclasses
import os
from typing import Any

from pyoci import codec
from pyoci.cgroups import entry, oom
from pyoci.cgroups.cgroup import Cgroup
from pyoci.cgroups.layout import cgroup_owner, detect, plan_cgroup
from pyoci.cgroups.unfit import UNFIT
from pyoci.config.check import is_new, namespace_of
from pyoci.config.resources import Resources
from pyoci.config.versions import as_meant
from pyoci.errors import Error, KernelError, wrap
from pyoci.kernel import require_procfs, require_selinux, require_version
from pyoci.lifecycle import hooks, recovery, seccomp_agent, terminal
from pyoci.lifecycle.bundle import Bundle, load, open_rootfs
from pyoci.lifecycle.directory import Directory
from pyoci.lifecycle.facts import gather
from pyoci.lifecycle.passwd import user_name
from pyoci.lifecycle.pidfile import remove_pid_file, write_pid_file
from pyoci.lifecycle.request import listen_fds, make_request
from pyoci.lifecycle.rights import require_rights, warn_of_kept_groups, warn_of_unknown_capabilities
from pyoci.lifecycle.state import State, now, public_state
from pyoci.linux import BARRIER_HOOKS, BARRIER_MAPS, BARRIER_READY
from pyoci.operations import Gate
from pyoci.options import CreateOptions, check_id
from pyoci.plan import build
from pyoci.plan.builder import Facts
from pyoci.plan.host import limits_come_first
from pyoci.plan.namespaces import host_offsets, stage_namespaces
from pyoci.process import inner_pid, stat_fields
from pyoci.signals import Signals
from pyoci.stage import idmap
from pyoci.stage.conversation import Stage, step_words
from pyoci.stage.inputs import Inputs
from pyoci.stage.procfile import write_file
from pyoci.stage.protocol import spawn
from pyoci.steps import Plan
from pyoci.undo import Undo


def create(root: str, container_id: str, options: CreateOptions) -> tuple[Directory, State]:
    """Create a container, whose program then waits for start.

    Raises:
        Error: nothing is left behind.
    """
    bundle = checked_bundle(container_id, options, detach=True)
    with Signals(f"create {container_id}") as signals:
        making = Create(Directory.claim(root, container_id), bundle, options, container_id, signals)
        with bundle.source():
            state, stage = making.run()
        stage.close()
    making.directory.unlock()
    return making.directory, state


class Create:
    """One create, from the claimed directory to the container that waits at its gate."""

    def __init__(
        self,
        directory: Directory,
        bundle: Bundle,
        options: CreateOptions,
        container_id: str,
        signals: Signals,
    ) -> None:
        """Prepare; nothing happens yet."""
        self.signals = signals
        self.directory = directory
        self.bundle = bundle
        self.options = options
        self.id = container_id
        self.inputs = Inputs(f"/proc/self/fd/{directory.fd}")
        self.cgroup: Cgroup | None = None
        self.stage: Stage | None = None
        self.cgroup_directories: list[str] = []
        self.killed_before = 0
        self.resources = as_meant(bundle.config.linux.resources, bundle.config.ociVersion)

    def run(self) -> tuple[State, Stage]:
        """Create the container; return its record, and the stage that waits at the gate.

        The caller closes the stage, which has the terminal's master when that was sent to nobody else.

        Raises:
            Error: nothing is left then, but for the poststop hooks that have run, or what is left is noted with it.
        """
        try:
            return self._run()
        except (Error, OSError) as error:
            cause = self.stage.explain(error) if self.stage is not None else None
            self._blame_cgroup(cause or error)
            self._undo(cause or error)
            if cause is None:
                raise
            raise cause from error
        except BaseException as error:
            self._undo(error)
            raise

    def _run(self) -> tuple[State, Stage]:
        directory, bundle = self.directory, self.bundle
        self._record_config()
        warn_of_unknown_capabilities(bundle.config.process, bundle.source())
        warn_of_kept_groups(bundle.config, bundle.source())
        layout = detect()
        self._make_cgroup(layout)
        self.signals.check()
        early = limits_come_first(bundle.config, layout)
        if early:
            self._limit()
        stage = self._spawn()
        plan = self._plan(gather(layout))
        given = self.inputs.open(plan)
        self._fill_hook_state(stage, "creating")
        stage.send(plan, given)
        if not early:
            self._limit()  # while the stage makes its mounts
        gate = next(index for index, step in enumerate(plan.steps) if isinstance(step.operation, Gate))
        directory.save_steps([[index, *step_words(plan, index)] for index in range(gate, len(plan.steps))])
        prepared = self._prepare_state()
        self._through_barriers(stage)
        self._limit_tasks()
        state = with_process(prepared, stage)
        terminal.send_descriptors(self.options, stage)
        directory.save(state)
        if self.options.pid_file:  # the last: who waits for it may ask for the state at once
            write_pid_file(self.options.pid_file, stage.pid)
        stage.resume()
        self.inputs.close()
        if self.options.expendable:
            directory.note_process("owner", 0)
        directory.end_journal()
        return state, stage

    def _blame_cgroup(self, error: Error | OSError) -> None:
        """Say that a failure comes from the cgroup, if that is so."""
        if self.cgroup is not None and isinstance(error, KernelError):
            entry.tell_reached_limit(error, self.cgroup.paths())
            if error.number in UNFIT and error.more and self.bundle.config.linux.cgroupsPath:
                error.origin = error.origin or "/linux/cgroupsPath"

    # ---- before the stage ----

    def _record_config(self) -> None:
        """Keep the configuration as it is now: later edits must not touch the container (runtime.md#lifecycle)."""
        directory = self.directory
        poststop = ["poststop"] if self.bundle.config.hooks.poststop else []
        directory.note(bundle=self.bundle.path, document=self.bundle.document, hooks=poststop)
        if self.options.expendable:
            directory.note_process("owner", os.getpid())
        try:
            directory.write("config.json", self.bundle.text)
            os.mkfifo("gate", 0o600, dir_fd=directory.fd)
            os.mkfifo("status", 0o600, dir_fd=directory.fd)
        except OSError as error:
            raise wrap(f"writing the state directory {directory.path}", error) from error

    def _make_cgroup(self, layout: Any) -> None:
        config = self.bundle.config
        self.cgroup = plan_cgroup(config.linux.cgroupsPath, self.id, layout, self.options.cgroup_manager)
        try:
            self.cgroup.create(self._note_cgroup, self.resources)
        except Error as error:
            if config.linux.cgroupsPath:
                error.origin = error.origin or "/linux/cgroupsPath"
            raise
        self.directory.note(members=self.cgroup.saved())
        if self.cgroup.main not in self.cgroup_directories:
            self.killed_before = oom.kills(self.cgroup.paths())

    def _limit(self) -> None:
        """Put the limits into force: before anything runs that the configuration names."""
        assert self.cgroup is not None
        resources = self.resources
        # A limit of tasks counts the stage and the hooks, too: it comes into force when they have done their work.
        self.cgroup.apply(dataclasses.replace(resources, pids=None) if resources and resources.pids else resources)
        if (owner := cgroup_owner(self.bundle.config)) is not None:
            self.cgroup.delegate(owner)

    def _limit_tasks(self) -> None:
        resources = self.resources
        if resources and resources.pids:
            assert self.cgroup is not None
            self.cgroup.apply(Resources(pids=resources.pids), update=True)

    def _note_cgroup(self, path: str) -> None:
        self.directory.note(cgroup=path)
        self.cgroup_directories.append(path)

    def _plan(self, facts: Facts) -> Plan:
        assert self.cgroup is not None
        request = make_request(self.bundle, self.options, self.id, self.cgroup.paths())
        return build.create(self.bundle.config, request, facts)

    # ---- the stage is alive ----

    def _spawn(self) -> Stage:
        """Start the stage in the root file system's directory and in its cgroup; it waits for its plan."""
        assert self.cgroup is not None
        flags, ahead = stage_namespaces(self.bundle.config.linux)
        preserve = self.options.preserve_fds + listen_fds()
        rootfs = open_rootfs(self.bundle.rootfs)
        back = os.open(".", os.O_PATH | os.O_CLOEXEC)
        try:
            os.fchdir(rootfs)
            process, entered = entry.start(self.cgroup, lambda cgroup: spawn(flags, cgroup, preserve, ahead))
        finally:
            os.fchdir(back)
            for fd in (rootfs, back):
                os.close(fd)
        self.stage = stage = Stage(process, self.signals, "the container's init process", self.bundle.source())
        stage.lacked_memory = self._lacked_memory
        stage.on_child = self._note_process
        stage.on_listener = self._send_listener
        self._note_process(stage.pid)
        self.cgroup.add(stage.pid, entered)
        stage.use_every_cpu()
        return stage

    def _note_process(self, pid: int) -> None:
        self.directory.note_process("pid", pid)
        if self.stage is not None and self.inputs.fds:
            self._fill_hook_state(self.stage, "creating")

    def _write_files(self, pid: int) -> None:
        """Write what the stage may not, once it is hidden and has another user namespace."""
        linux = self.bundle.config.linux
        if is_new(linux.namespaces, "user"):
            idmap.write_maps(pid, linux.uidMappings, linux.gidMappings)
        if offsets := host_offsets(linux):
            write_file(pid, offsets)

    def _through_barriers(self, stage: Stage) -> None:
        while (barrier := stage.barrier()) != BARRIER_READY:
            if barrier == BARRIER_MAPS:
                self._write_files(stage.pid)
            elif barrier == BARRIER_HOOKS:
                self._run_hooks(stage)
            else:
                raise stage.post_mortem()
            self._fill_hook_state(stage, "creating")
            stage.resume()
        self._fill_hook_state(stage, "created")

    def _run_hooks(self, stage: Stage) -> None:
        state = self._hook_state("creating", stage.pid)
        for name in ("prestart", "createRuntime"):
            hooks.run(self.bundle.config, name, state, self.signals, self.directory.note_hook)

    def _hook_state(self, status: str, pid: int) -> dict[str, Any]:
        config = self.bundle.config
        return public_state(config.ociVersion, self.id, status, pid, self.bundle.path, config.annotations)

    def _fill_hook_state(self, stage: Stage, status: str) -> None:
        """Write the state that the hooks inside the container read; the pid is the one they would see."""
        memfd = self.inputs.fds.get("hook state")
        if memfd is not None:
            text = codec.dumps(self._hook_state(status, inner_pid(stage.pid))).encode()
            os.ftruncate(memfd, 0)
            os.pwrite(memfd, text, 0)

    def _send_listener(self, number: int) -> None:
        """Hand the seccomp listener to the agent that the configuration names."""
        assert self.stage is not None
        seccomp_agent.send(
            self.bundle.config, self._hook_state("creating", self.stage.pid), self.stage, number
        )

    def _prepare_state(self) -> State:
        """Return the state of the container, without its process."""
        assert self.cgroup is not None
        config = self.bundle.config
        return State(
            id=self.id,
            ociVersion=config.ociVersion,
            document=self.bundle.document,
            bundle=self.bundle.path,
            rootfs=self.bundle.rootfs,
            created=now(),
            owner=user_name(os.getuid()),
            annotations=config.annotations,
            cgroup=self.cgroup.saved(),
            hasProcess=config.process is not None,
            hooks=[name for name in ("poststart", "poststop") if getattr(config.hooks, name)],
            privatePid=is_new(config.linux.namespaces, "pid"),
        )

    # ---- failure ----

    def _undo(self, error: BaseException) -> None:
        """Take everything back, as far as it came, and add to *error* what could not be."""
        recovery.undo_create(self.directory, self.id, self.signals, self._end).tell(error)
        if self.stage is not None and self.options.pid_file:
            remove_pid_file(self.options.pid_file, self.stage.pid)
        self.directory.close()

    def _end(self) -> None:
        """Close the inputs and end the stage."""
        undo = Undo()
        undo.attempt("closing the inputs", self.inputs.close)
        if self.stage is not None:
            undo.attempt("ending the container's init process", self.stage.kill)
        undo.finish()

    def _lacked_memory(self) -> tuple[str, str]:
        """Say for what limit somebody in the cgroup was killed, and which setting that is; "" when nobody was."""
        assert self.cgroup is not None
        if oom.kills(self.cgroup.paths()) <= self.killed_before:
            return "", ""
        memory = self.resources and self.resources.memory
        if memory and memory.limit is not None and memory.limit >= 0:
            return f"by its memory limit of {memory.limit} bytes", "/linux/resources/memory/limit"
        return "for lack of memory, because of a limit above its cgroup or of the host", ""


def checked_bundle(container_id: str, options: CreateOptions, *, detach: bool) -> Bundle:
    """Read the bundle of a container that is to be made, once it is clear that it can be.

    Raises:
        Error: the id, the host, the configuration or the console does not allow it.
    """
    check_id(container_id)
    require_version()
    require_procfs()
    bundle = load(options.bundle, options.config)
    process = bundle.config.process
    with bundle.source():
        terminal.check(bool(process and process.terminal), options.console_socket, detach)
        require_selinux(process.selinuxLabel if process else "", "/process/selinuxLabel")
        require_rights(bundle.config)
        if namespace_of(bundle.config.linux, "mount"):  # else the plan refuses a label of mounts
            require_selinux(bundle.config.linux.mountLabel, "/linux/mountLabel")
    return bundle


def with_process(state: State, stage: Stage) -> State:
    """Return the state with its process.

    Raises:
        Error: it has ended.
    """
    found = stat_fields(stage.pid)
    if found is None:
        raise stage.post_mortem()
    return dataclasses.replace(state, pid=stage.pid, startTime=found[1])
