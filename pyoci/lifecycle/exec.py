"""exec: one more process in a running container."""

import os
from collections.abc import Callable
from dataclasses import replace

from pyoci import codec
from pyoci.cgroups import entry, oom
from pyoci.cgroups.cgroup import Cgroup
from pyoci.cgroups.layout import Layout, present_cgroup
from pyoci.config.check_parts import number_list
from pyoci.config.model import Capabilities, Config, ExecCPUAffinity, Process, User
from pyoci.config.parse import parse_process
from pyoci.config.readers import did_you_mean
from pyoci.config.source import Option, Parts, Source
from pyoci.config.tables import CAPABILITIES
from pyoci.errors import Error, KernelError, StateError, UsageError, wrap
from pyoci.files import read_given
from pyoci.kernel import require_selinux, require_version
from pyoci.lifecycle import seccomp_agent, terminal
from pyoci.lifecycle.directory import Directory
from pyoci.lifecycle.facts import gather
from pyoci.lifecycle.passwd import home_directory
from pyoci.lifecycle.pidfile import write_pid_file
from pyoci.lifecycle.rights import warn_of_unknown_capabilities
from pyoci.lifecycle.state import State
from pyoci.lifecycle.status import PAUSED, require, status_of
from pyoci.linux import BARRIER_READY
from pyoci.options import ExecOptions, parse_user
from pyoci.plan import build
from pyoci.plan.builder import Request
from pyoci.signals import Signals
from pyoci.stage.conversation import Stage
from pyoci.stage.inputs import Inputs, differing_namespaces
from pyoci.stage.protocol import spawn
from pyoci.stage.seccomp import filter_of
from pyoci.steps import Plan
from pyoci.undo import Undo


def execute(directory: Directory, state: State, options: ExecOptions) -> int:
    """Run one more process in a container; return its exit status, 0 when detached.

    Raises:
        StateError: the container is not running.
        Error: the process could not be run.
    """
    require_version()
    status = status_of(directory, state)
    if not options.ignore_paused or status != PAUSED:
        require("exec", status)
    return Exec(directory, state, options).run()


class Exec:
    """One exec, from the options to the end of the process (or to its start, when detached)."""

    def __init__(self, directory: Directory, state: State, options: ExecOptions) -> None:
        """Prepare; nothing happens yet."""
        self.directory = directory
        self.state = state
        self.options = options
        self.inputs = Inputs(f"/proc/self/fd/{directory.fd}")
        self.process_text = b""
        self.source = source_of(options, directory.source(state.document), lambda: self.process_text)

    def run(self) -> int:
        """Run the process; return its exit status, 128 + n for signal n, or 0 when detached.

        Raises:
            Error: it could not be run.
        """
        with self.source:
            return self._run()

    def _run(self) -> int:
        options, state = self.options, self.state
        config = self._config()
        assert config.process is not None
        terminal.check(config.process.terminal, options.console_socket, options.detach)
        require_selinux(config.process.selinuxLabel, "/process/selinuxLabel")
        with Signals(f"exec {state.id}", everything=not options.detach) as signals:
            foreground = None if options.detach else terminal.Foreground()
            try:
                stage = self._lead(config, signals, foreground)
            except BaseException:
                if foreground is not None:
                    foreground.end()
                raise
            try:
                return 0 if foreground is None else foreground.wait(stage.pidfd, stage.console)
            finally:
                stage.close()

    def _lead(
        self, config: Config, signals: Signals, foreground: terminal.Foreground | None
    ) -> Stage:
        """Plan, and lead a stage to its program."""
        options, state = self.options, self.state
        assert config.process is not None
        pidfd = self._init()
        try:
            self.inputs.given["container"] = pidfd
            kinds = differing_namespaces(state.pid)
            request = Request(
                id=state.id,
                bundle=state.bundle,
                rootfs=state.rootfs,
                preserveFds=options.preserve_fds,
                extraEnv=home_directory(config.process, f"/proc/{state.pid}/root"),
                filter=filter_of(config),
            )
            plan = build.execute(config, request, gather(Layout()), kinds)
            stage = self._spawn(config.process.execCPUAffinity or ExecCPUAffinity(), signals)
            self._start(stage, plan, foreground)
            return stage
        finally:
            os.close(pidfd)
            self.inputs.close()

    def _init(self) -> int:
        """Open the container's init process.

        Raises:
            StateError: it has gone.
        """
        pidfd = self.state.open_init()
        if pidfd < 0:
            raise StateError("cannot exec in a stopped container")
        return pidfd

    def _cgroup(self) -> Cgroup:
        """Return the container's cgroup, or the one below it that the options name.

        Raises:
            StateError: a process would stand still in it.
        """
        cgroup, given = self.state.control_group(), self.options.cgroup
        for controllers, path in cgroup_options(given):
            cgroup = cgroup.sub(path, controllers)
        if not self.options.ignore_paused:
            cgroup.require_thawed()
        elif cgroup.frozen():  # clone3(2) into a frozen cgroup blocks the parent, whatever signal comes
            return cgroup.existing()
        return cgroup

    def _spawn(self, affinity: ExecCPUAffinity, signals: Signals) -> Stage:
        """Start the stage inside the container's cgroup.

        On v2 init may have moved to a cgroup below, for the children of which it has enabled controllers: then the
        container's own cannot have processes any more, and the new one joins init.
        """
        cgroup = self._cgroup()
        try:
            return self._spawn_in(cgroup, affinity, signals)
        except KernelError as error:
            entry.tell_reached_limit(error, cgroup.paths())
            if error.number not in entry.LEFT or self.options.cgroup or "" not in cgroup.paths():
                raise
            present = present_cgroup(cgroup, self.state.pid)
            if present.paths() == cgroup.paths():
                raise
            return self._spawn_in(present, affinity, signals)

    def _spawn_in(self, cgroup: Cgroup, affinity: ExecCPUAffinity, signals: Signals) -> Stage:
        """Start the stage inside this cgroup, on the CPUs that exec asks for (config.md#linux-process).

        pyoci itself moves to the initial CPUs while it starts the stage, which inherits them.  Without any, the stage
        may use every CPU of its cpuset, and not only those of pyoci's caller.
        """
        ours = os.sched_getaffinity(0) if affinity.initial else set()
        try:
            pin(0, affinity.initial, "initial")
            process, entered = entry.start(cgroup, lambda fd: spawn(0, fd, self.options.preserve_fds))
        finally:
            if ours:
                os.sched_setaffinity(0, ours)
        stage = Stage(process, signals, "the process", self.source)
        try:
            cgroup.add(stage.pid, entered)
            if not affinity.initial and not affinity.final:
                stage.use_every_cpu()
            pin(stage.pid, affinity.final, "final")
        except BaseException:
            stage.kill()
            raise
        return stage

    def _start(self, stage: Stage, plan: Plan, foreground: terminal.Foreground | None) -> None:
        """Lead the stage to its program.

        Raises:
            Error: a step failed; the process has gone then.
        """
        options, killed_before = self.options, oom.kills(self.state.control_group().paths())
        stage.lacked_memory = lambda: self._lacked_memory(killed_before)
        stage.on_listener = lambda number: self._send_listener(stage, number)
        try:
            stage.send(plan, self.inputs.open(plan))
            stage.expect(BARRIER_READY)
            terminal.send_descriptors(options, stage)
            if foreground is not None:
                foreground.begin(stage.console)
            stage.resume()
            if stage.barrier() is not None:
                raise Error("the stage waits where it should run the program")
            if options.pid_file:
                write_pid_file(options.pid_file, stage.pid)
        except BaseException as error:
            cause = stage.explain(error) if isinstance(error, (Error, OSError)) else None
            entry.tell_reached_limit(cause or error, self.state.control_group().paths())
            undo = Undo()
            undo.attempt("ending the process", stage.kill)
            undo.tell(cause or error)
            if cause is None:
                raise
            raise cause from error

    def _send_listener(self, stage: Stage, number: int) -> None:
        """Hand the listener of this process to the agent: its filter is another than that of the container's init."""
        config = self.directory.config(self.state.document)
        seccomp_agent.send(config, self.state.public("running"), stage, number)

    def _lacked_memory(self, killed_before: int) -> tuple[str, str]:
        killed = oom.kills(self.state.control_group().paths()) > killed_before
        return "for lack of memory, because of the container's limit or one above it" if killed else "", ""

    # ---- what is run ----

    def _config(self) -> Config:
        """Return the container's configuration, with the process to run in place of its own."""
        config = self.directory.config(self.state.document)
        if self.options.process:
            process = self._read_process()
        elif config.process is None:
            raise UsageError("the container has no process to take the defaults from; use --process")
        else:
            process = self._from_options(config.process)
        if self.options.tty:
            process = replace(process, terminal=True)
        return replace(config, process=process)

    def _read_process(self) -> Process:
        file = self.options.process
        try:
            self.process_text = text = read_given(file)
        except OSError as error:
            with Option("--process"):
                raise wrap(f"reading {file}", error) from error
        process = parse_process(codec.loads(text, file))
        warn_of_unknown_capabilities(process, self.source)
        return process

    def _from_options(self, base: Process) -> Process:
        """Change the container's own process by the options; the words of the command line become args."""
        options = self.options
        if not options.argv or not options.argv[0]:
            raise UsageError("exec needs a command, or --process")
        self._check_options()
        return replace(
            base,
            args=tuple(options.argv),
            terminal=False,
            cwd=options.cwd or base.cwd,
            env=(*base.env, *options.env),
            user=self._user(base.user),
            capabilities=self._capabilities(base.capabilities),
            noNewPrivileges=base.noNewPrivileges or options.no_new_privs,
            apparmorProfile=options.apparmor or base.apparmorProfile,
            selinuxLabel=options.process_label or base.selinuxLabel,
        )

    def _check_options(self) -> None:
        """Check the options by the rules for the members of a process object.

        Raises:
            UsageError: a relative directory, an entry of the environment without a name, an unknown capability.
        """
        options = self.options
        if options.cwd and not options.cwd.startswith("/"):
            raise UsageError(f"--cwd needs an absolute path, not {ascii(options.cwd)}")
        for variable in options.env:
            if variable.find("=") <= 0:
                raise UsageError(f"--env needs NAME=value, not {ascii(variable)}")
        for name in options.capabilities:
            if name not in CAPABILITIES:
                raise UsageError(f"--cap: unknown capability {ascii(name)}{did_you_mean(name, CAPABILITIES)}")

    def _user(self, base: User) -> User:
        options = self.options
        uid, gid = parse_user(options.user) if options.user else (base.uid, base.gid)
        gids = tuple(options.additional_gids) or (() if options.user else base.additionalGids)
        return User(uid=uid, gid=base.gid if gid is None else gid, umask=base.umask, additionalGids=gids)

    def _capabilities(self, base: Capabilities | None) -> Capabilities | None:
        """Add capabilities to the sets that let the process use them, never to the inheritable one (CVE-2022-29162).

        To the ambient set go those that the process has inheritable already: the kernel raises no others there.
        """
        added = tuple(self.options.capabilities)
        if not added:
            return base
        base = base or Capabilities()
        return replace(
            base,
            ambient=base.ambient + tuple(name for name in added if name in base.inheritable),
            bounding=base.bounding + added,
            effective=base.effective + added,
            permitted=base.permitted + added,
        )


def source_of(options: ExecOptions, config: Source, process_text: Callable[[], bytes]) -> Source:
    """Return where the settings of the process come from: a file, or options and else the container's configuration."""
    given = (
        ("/process/terminal", options.tty and "--tty"),
        ("/process/args", f"exec {options.argv[0]}" if options.argv else ""),
        ("/process/cwd", options.cwd and "--cwd"),
        ("/process/user/additionalGids", options.additional_gids and "--additional-gids"),
        ("/process/user", options.user and "--user"),
        ("/process/capabilities", options.capabilities and "--cap"),
        ("/process/noNewPrivileges", options.no_new_privs and "--no-new-privs"),
        ("/process/apparmorProfile", options.apparmor and "--apparmor"),
        ("/process/selinuxLabel", options.process_label and "--process-label"),
    )
    parts: list[tuple[str, Source]] = [(top, Option(name)) for top, name in given if name]
    if options.process:
        parts = [*parts[: int(options.tty)], ("/process", Source(options.process, process_text, "/process"))]
    return Parts(parts, config)


def cgroup_options(given: list[str]) -> list[tuple[list[str], str]]:
    """Read ``[CONTROLLER[,CONTROLLER]:]PATH`` into controllers, none for all, and the path.

    Raises:
        UsageError: a hierarchy is given twice, or some only beside all.
    """
    found: list[tuple[list[str], str]] = []
    for text in given:
        names, colon, path = text.partition(":")
        if not colon and len(given) > 1:
            raise UsageError(f"--cgroup {ascii(text)} names no controller, and is not the only one")
        found.append((names.split(",") if colon else [], path if colon else text))
    listed = sorted([name for names, _ in found for name in names])
    for name, following in zip(listed, listed[1:], strict=False):
        if name == following:
            raise UsageError(f"--cgroup: the controller {ascii(name)} is given twice")
    return found


def pin(pid: int, cpus: str, field: str) -> None:
    """Keep a process to a list of CPUs; an empty list leaves it where it is.

    Raises:
        KernelError: none of them may be used.
    """
    wanted = [cpu for each in number_list(cpus) or () for cpu in each]
    if not wanted:
        return
    try:
        os.sched_setaffinity(pid, wanted)
    except OSError as error:
        raise wrap(f"keeping the process to the CPUs {cpus}", error, f"/process/execCPUAffinity/{field}") from error
