"""Creating a container: what the host side does around the stage, in order, and how it is undone.

The journal is written before each side effect, so that ``delete --force`` can do what undo() does here
for a create that was killed.
"""

import os
from dataclasses import fields, replace
from signal import SIGKILL
from typing import Any

from pyoci import codec
from pyoci.cgroups import entry, oom
from pyoci.cgroups.cgroup import Cgroup
from pyoci.cgroups.files import undo as undo_cgroups
from pyoci.cgroups.layout import detect, ownership_wanted, plan_cgroup
from pyoci.config.check import is_new, namespace_of
from pyoci.config.model import Process
from pyoci.config.readers import did_you_mean, some_of
from pyoci.config.resources import Resources
from pyoci.config.source import Source, warn
from pyoci.config.tables import CAPABILITIES
from pyoci.config.versions import as_meant
from pyoci.errors import Error, KernelError, wrap
from pyoci.kernel import require_procfs, require_selinux, require_version
from pyoci.lifecycle import hooks, terminal
from pyoci.lifecycle.bundle import Bundle, load, open_rootfs
from pyoci.lifecycle.directory import Directory
from pyoci.lifecycle.facts import gather
from pyoci.lifecycle.passwd import user_name
from pyoci.lifecycle.pidfile import remove_pid_file, write_pid_file
from pyoci.lifecycle.request import listen_fds, make_request
from pyoci.lifecycle.rights import require_rights, warn_of_kept_groups
from pyoci.lifecycle.state import State, now, public_state
from pyoci.linux import BARRIER_HOOKS, BARRIER_MAPS, BARRIER_READY
from pyoci.operations import Gate
from pyoci.options import CreateOptions, check_id
from pyoci.plan.builder import Facts
from pyoci.plan.host import limits_come_first
from pyoci.plan.namespaces import birth, host_offsets
from pyoci.plan.steps import Plan
from pyoci.process import inner_pid, stat_fields
from pyoci.signals import Signals
from pyoci.stage import idmap
from pyoci.stage.conversation import Conversation, step_words
from pyoci.stage.inputs import Inputs
from pyoci.stage.procfile import write_file
from pyoci.stage.protocol import Stage
from pyoci.undo import Undo


class Creation:
    """One create, from the claimed directory to the container that waits at its gate.

    After run() the attributes state, talk (whose stage is let go by the caller) and console (the terminal's
    master when nobody else took it, else -1) are set.
    """

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
        self.talk: Conversation | None = None
        self.state: State | None = None
        self.cgroup_directories: list[str] = []
        self.killed_before = 0
        self.resources = as_meant(bundle.config.linux.resources, bundle.config.ociVersion)

    def run(self) -> State:
        """Create the container.

        Raises:
            Error: nothing is left then, but for the poststop hooks that have run, or what is left is noted with it.
        """
        try:
            return self._run()
        except (Error, OSError) as error:
            cause = self.talk.explain(error) if self.talk is not None else None
            self._blame_cgroup(cause or error)
            self.undo(cause or error)
            if cause is None:
                raise
            raise cause from error
        except BaseException as error:
            self.undo(error)
            raise

    def _run(self) -> State:
        directory, bundle = self.directory, self.bundle
        self._record_config()
        warn_of_unknown_capabilities(bundle.config.process, bundle.source())
        warn_of_kept_groups(bundle.config, bundle.source())
        layout = detect()
        self._make_cgroup(layout)
        self.signals.check()
        # The device list of v1 is written rule by rule, and denies too much meanwhile.
        early = layout.mode != "v2" or limits_come_first(bundle.config)
        if early:
            self._limit()
        talk = self._spawn()
        plan = self._plan(gather(layout))
        given = self.inputs.open(plan)
        self._fill_hook_state(talk, "creating")
        talk.send(plan, given)
        if not early:
            self._limit()  # while the stage makes its mounts
        gate = next(index for index, step in enumerate(plan.steps) if isinstance(step.operation, Gate))
        directory.save_steps([[index, *step_words(plan, index)] for index in range(gate, len(plan.steps))])
        prepared = self._prepare_state()
        self._through_barriers(talk)
        self._limit_tasks()
        self.state = identified(prepared, talk)
        self._hand_over(talk)
        directory.save(self.state)
        if self.options.pid_file:  # the last: who waits for it may ask for the state at once
            write_pid_file(self.options.pid_file, talk.stage.pid)
        talk.stage.go()
        self.inputs.close()
        if self.options.expendable:
            directory.note_process("owner", 0)
        directory.end_journal()
        return self.state

    def _blame_cgroup(self, error: Error | OSError) -> None:
        """Say that a failure comes from the cgroup, if that is so."""
        if self.cgroup is not None and isinstance(error, KernelError):
            entry.tell_reached_limit(error, self.cgroup.paths())
            if error.number in entry.UNFIT and error.more and self.bundle.config.linux.cgroupsPath:
                error.origin = error.origin or "/linux/cgroupsPath"

    def let_go(self) -> None:
        """Close what belongs to the talk; the stage goes its way."""
        assert self.talk is not None
        self.talk.close()

    # ---- before the stage ----

    def _record_config(self) -> None:
        """Keep the configuration as it is now: later edits must not touch the container (runtime.md#lifecycle)."""
        directory = self.directory
        directory.note(bundle=self.bundle.path)
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
        if self.cgroup.main not in self.cgroup_directories:
            self.killed_before = oom.kills(self.cgroup.paths())

    def _limit(self) -> None:
        """Put the limits into force: before anything runs that the configuration names."""
        assert self.cgroup is not None
        linux = self.bundle.config.linux
        resources = self.resources
        # A limit of tasks counts the stage and the hooks, too: it comes into force when they have done their work.
        self.cgroup.apply(replace(resources, pids=None) if resources and resources.pids else resources)
        mapped = [m.hostID for m in linux.uidMappings if m.containerID == 0]
        if mapped and ownership_wanted(linux.namespaces, self.bundle.config.mounts):
            self.cgroup.hand_over(mapped[0])

    def _limit_tasks(self) -> None:
        resources = self.resources
        if resources and resources.pids:
            assert self.cgroup is not None
            self.cgroup.apply(Resources(pids=resources.pids), update=True)

    def _note_cgroup(self, path: str) -> None:
        self.directory.note(cgroup=path)
        self.cgroup_directories.append(path)

    def _plan(self, facts: Facts) -> Plan:
        from pyoci.plan import build  # while the stage makes its namespaces

        assert self.cgroup is not None
        request = make_request(self.bundle, self.options, self.id, self.cgroup.paths())
        return build.create(self.bundle.config, request, facts)

    # ---- the stage is alive ----

    def _spawn(self) -> Conversation:
        """Start the stage in the root file system's directory and in its cgroup; it waits for its plan."""
        assert self.cgroup is not None
        flags, ahead = birth(self.bundle.config.linux)
        preserve = self.options.preserve_fds + listen_fds()
        rootfs = open_rootfs(self.bundle.rootfs)
        back = os.open(".", os.O_PATH | os.O_CLOEXEC)
        try:
            os.fchdir(rootfs)
            stage, entered = entry.start(
                self.cgroup, lambda cgroup: Stage.spawn(flags, cgroup, preserve, ahead)
            )
        finally:
            os.fchdir(back)
            for fd in (rootfs, back):
                os.close(fd)
        self.talk = talk = Conversation(stage, self.signals, "the container's init process")
        talk.source = self.bundle.source()
        talk.lacked_memory = self._lacked_memory
        talk.on_child = self._note_process
        talk.on_listener = self._send_listener
        self._note_process(stage.pid)
        self.cgroup.add(stage.pid, entered)
        stage.use_every_cpu()
        return talk

    def _note_process(self, pid: int) -> None:
        self.directory.note_process("pid", pid)
        if self.talk is not None and self.inputs.fds:
            self._fill_hook_state(self.talk, "creating")

    def _write_files(self, pid: int) -> None:
        """Write what the stage may not, once it is hidden and has another user namespace."""
        linux = self.bundle.config.linux
        if is_new(linux.namespaces, "user"):
            idmap.write_maps(pid, linux.uidMappings, linux.gidMappings)
        if offsets := host_offsets(linux):
            write_file(pid, offsets)

    def _through_barriers(self, talk: Conversation) -> None:
        while (barrier := talk.barrier()) != BARRIER_READY:
            if barrier == BARRIER_MAPS:
                self._write_files(talk.stage.pid)
            elif barrier == BARRIER_HOOKS:
                self._run_hooks(talk)
            else:
                raise talk.post_mortem()
            self._fill_hook_state(talk, "creating")
            talk.stage.go()
        self._fill_hook_state(talk, "created")

    def _run_hooks(self, talk: Conversation) -> None:
        state = self._hook_state("creating", talk.stage.pid)
        for name in ("prestart", "createRuntime"):
            hooks.run(self.bundle.config, name, state, self.signals, self._note_hook)

    def _note_hook(self, pid: int) -> None:
        self.directory.note_process("hook", pid)

    def _hook_state(self, status: str, pid: int) -> dict[str, Any]:
        config = self.bundle.config
        return public_state(config.ociVersion, self.id, status, pid, self.bundle.path, config.annotations)

    def _fill_hook_state(self, talk: Conversation, status: str) -> None:
        """Write the state that the hooks inside the container read; the pid is the one they would see."""
        memfd = self.inputs.fds.get("hook state")
        if memfd is not None:
            text = codec.dumps(self._hook_state(status, inner_pid(talk.stage.pid))).encode()
            os.ftruncate(memfd, 0)
            os.pwrite(memfd, text, 0)

    def _send_listener(self, number: int) -> None:
        """Hand the seccomp listener to the agent that the configuration names."""
        from pyoci.lifecycle import seccomp_agent  # only filters with SCMP_ACT_NOTIFY need it

        assert self.talk is not None
        seccomp_agent.send(
            self.bundle.config, self._hook_state("creating", self.talk.stage.pid), self.talk.stage, number
        )

    def _prepare_state(self) -> State:
        """Give the state, but for the process that it is of."""
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

    def _hand_over(self, talk: Conversation) -> None:
        """Give the caller what it waits for: the terminal, the pidfd."""
        options = self.options
        if options.console_socket and talk.console >= 0:
            terminal.send_fd("--console-socket", options.console_socket, talk.console, b"/dev/ptmx")
            os.close(talk.console)
            talk.console = -1
        if options.pidfd_socket:
            terminal.send_fd("--pidfd-socket", options.pidfd_socket, talk.stage.pidfd, b"pidfd")

    # ---- failure ----

    def undo(self, error: BaseException) -> None:
        """Take everything back, as far as it came, after *error*, which learns of what could not be.

        What is left has a directory and a journal then: ``list`` shows it, and ``delete`` tries again.
        """
        undo = Undo()
        undo.attempt("closing the inputs", self.inputs.close)
        pid = 0
        if (killed := self.cgroup) is not None:
            undo.attempt("killing what is in the cgroup", lambda: killed.kill(SIGKILL))
        if self.talk is not None:
            pid = self.talk.stage.pid
            undo.attempt("ending the container's init process", self.talk.kill)
        undo.attempt("removing the cgroup", lambda: undo_cgroups(self.cgroup_directories))
        if not undo.failures:
            undo.attempt("removing the state directory", self.directory.remove)
        if pid and self.options.pid_file:
            remove_pid_file(self.options.pid_file, pid)
        if pid and not undo.failures:
            undo.attempt("running the poststop hooks", self._poststop)
        undo.tell(error)
        self.directory.close()

    def _poststop(self) -> None:
        state = self._hook_state("stopped", 0)
        for failure in hooks.failures(self.bundle.config, "poststop", state, self.signals):
            warn(failure, self.bundle.source())

    def _lacked_memory(self) -> tuple[str, str]:
        """Say for what limit somebody in the cgroup was killed, and which setting that is; "" when nobody was."""
        assert self.cgroup is not None
        if oom.kills(self.cgroup.paths()) <= self.killed_before:
            return "", ""
        memory = self.resources and self.resources.memory
        if memory and memory.limit is not None and memory.limit >= 0:
            return f"by its memory limit of {memory.limit} bytes", "/linux/resources/memory/limit"
        return "for lack of memory, because of a limit above its cgroup or of the host", ""


def admit(container_id: str, options: CreateOptions, *, detach: bool) -> Bundle:
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


def identified(state: State, talk: Conversation) -> State:
    """Give the state with the process in it.

    Raises:
        Error: it has ended.
    """
    found = stat_fields(talk.stage.pid)
    if found is None:
        raise talk.post_mortem()
    return replace(state, pid=talk.stage.pid, startTime=found[1])


def warn_of_unknown_capabilities(process: Process | None, source: Source) -> None:
    """Note the capabilities that nobody knows: they are left out, which is no error (config.md#linux-process)."""
    sets = process.capabilities if process else None
    for name in (field.name for field in fields(sets)) if sets else ():
        unknown = [cap for cap in getattr(sets, name) if cap not in CAPABILITIES]
        if unknown:
            kind = "capability" if len(unknown) == 1 else "capabilities"
            message = f"ignoring the unknown {kind} {some_of(unknown)}{did_you_mean(unknown[0], CAPABILITIES)}"
            warn(Error(message, f"/process/capabilities/{name}"), source)
