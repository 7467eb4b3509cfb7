"""Creating a container: what the host side does around the stage, in order, and how it is undone.

The journal is written before each side effect, so that ``delete --force`` can do what undo() does here
for a create that was killed.
"""

import posix

from pyoci import codec, native
from pyoci.bundle import load, open_rootfs
from pyoci.cgroups.files import undo as undo_cgroups
from pyoci.cgroups.layout import detect, ownership_wanted, plan_cgroup
from pyoci.config.model import Resources
from pyoci.config.readers import did_you_mean, some_of
from pyoci.config.source import Source, warn
from pyoci.config.tables import CAPABILITIES
from pyoci.config.versions import as_meant
from pyoci.errors import Error, wrap
from pyoci.host import console, hooks, idmap
from pyoci.host.conversation import (
    BARRIER_HOOKS,
    BARRIER_MAPS,
    BARRIER_READY,
    Conversation,
    inner_pid,
    step_words,
)
from pyoci.host.inputs import Inputs
from pyoci.host.passwd import home_directory
from pyoci.kernel import require_procfs, require_version
from pyoci.options import check_id
from pyoci.plan.builder import Facts, Request
from pyoci.plan.namespaces import birth
from pyoci.record import replace
from pyoci.state import Directory, State, now, public_state, stat_fields, user_name, write_all, write_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyoci.bundle import Bundle
    from pyoci.cgroups import Cgroup
    from pyoci.config.model import Config, Process
    from pyoci.options import CreateOptions
    from pyoci.plan.steps import Plan

CAP_SYS_ADMIN = 21


def is_privileged() -> bool:
    """Tell whether this process has CAP_SYS_ADMIN in its user namespace."""
    return bool(native.lib.pyoci_capabilities() >> CAP_SYS_ADMIN & 1)


class Creation:
    """One create, from the claimed directory to the container that waits at its gate.

    After run() the attributes state, talk (whose stage is let go by the caller) and console (the terminal's
    master when nobody else took it, else -1) are set.
    """

    def __init__(
        self, directory: Directory, bundle: "Bundle", options: "CreateOptions", container_id: str
    ) -> None:
        """Prepare; nothing happens yet."""
        self.directory = directory
        self.bundle = bundle
        self.options = options
        self.id = container_id
        self.inputs = Inputs(directory.path)
        self.cgroup: Cgroup | None = None
        self.talk: Conversation | None = None
        self.state: State | None = None
        self.cgroup_directories: list[str] = []
        self.resources = as_meant(bundle.config.linux.resources, bundle.config.ociVersion)

    def run(self) -> State:
        """Create the container.

        Raises:
            Error: and then nothing is left, but for the poststop hooks that have run.
        """
        try:
            return self._run()
        except BaseException:
            self.undo()
            raise

    def _run(self) -> State:
        directory, bundle = self.directory, self.bundle
        self._record_config()
        warn_of_unknown_capabilities(bundle.config.process, bundle.source())
        layout = detect()
        self._make_cgroup(layout)
        # The device list of v1 is written rule by rule, and denies too much meanwhile.
        early = layout.mode != "v2" or limits_come_first(bundle.config)
        if early:
            self._limit()
        talk = self._spawn()
        plan = self._plan(Facts(privileged=is_privileged(), euid=posix.geteuid(), layout=layout))
        given = self.inputs.open(plan)
        self._fill_hook_state(talk, "creating")
        talk.send(plan, given)
        if not early:
            self._limit()  # while the stage makes its mounts
        gate = next(index for index, step in enumerate(plan.steps) if step.op == "OP_GATE")
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
        return self.state

    # ---- before the stage ----

    def _record_config(self) -> None:
        """Keep the configuration as it is now: later edits must not touch the container (runtime.md#lifecycle)."""
        path = self.directory.path
        owner = stat_fields(posix.getpid())
        self.directory.note(
            bundle=self.bundle.path, owner=posix.getpid(), ownerStartTime=owner[1] if owner else 0
        )
        try:
            fd = posix.open(
                f"{path}/config.json", posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o600
            )
            try:
                write_all(fd, self.bundle.text)
            finally:
                posix.close(fd)
            posix.mkfifo(f"{path}/gate", 0o600)
            posix.mkfifo(f"{path}/status", 0o600)
        except OSError as error:
            raise wrap(f"writing the state directory {path}", error) from error

    def _make_cgroup(self, layout: "Any") -> None:
        config = self.bundle.config
        self.cgroup = plan_cgroup(config.linux.cgroupsPath, self.id, layout, self.options.cgroup_manager)
        self.cgroup.create(self._note_cgroup, self.resources)

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

    def _plan(self, facts: Facts) -> "Plan":
        from pyoci.plan import build  # while the stage makes its namespaces

        assert self.cgroup is not None
        request = make_request(self.bundle, self.options, self.id, self.cgroup.paths())
        return build.create(self.bundle.config, request, facts)

    # ---- the stage is alive ----

    def _spawn(self) -> Conversation:
        """Start the stage in the root file system's directory and in its cgroup; it waits for its plan."""
        assert self.cgroup is not None
        rootfs = open_rootfs(self.bundle.rootfs)
        cgroup = self.cgroup.descriptor()
        back = posix.open(".", posix.O_PATH | posix.O_CLOEXEC)
        try:
            posix.fchdir(rootfs)
            flags, ahead = birth(self.bundle.config.linux)
            stage = native.Stage.spawn(flags, cgroup, self.options.preserve_fds + listen_fds(), ahead)
        finally:
            posix.fchdir(back)
            for fd in (rootfs, back, *([cgroup] if cgroup is not None else [])):
                posix.close(fd)
        self.talk = talk = Conversation(stage)
        talk.source = self.bundle.source()
        talk.on_child = self._note_process
        talk.on_listener = self._send_listener
        self._note_process(stage.pid)
        self.cgroup.add(stage.pid, entered=cgroup is not None)
        return talk

    def _note_process(self, pid: int) -> None:
        found = stat_fields(pid)
        self.directory.note(pid=pid, startTime=found[1] if found else 0)
        if self.talk is not None and self.inputs.fds:
            self._fill_hook_state(self.talk, "creating")

    def _write_maps(self, pid: int) -> None:
        linux = self.bundle.config.linux
        idmap.write_maps(pid, linux.uidMappings, linux.gidMappings)

    def _through_barriers(self, talk: Conversation) -> None:
        while (barrier := talk.barrier()) != BARRIER_READY:
            if barrier == BARRIER_MAPS:
                self._write_maps(talk.stage.pid)
            elif barrier == BARRIER_HOOKS:
                self._run_hooks(talk)
            else:
                raise Error(talk.post_mortem())
            self._fill_hook_state(talk, "creating")
            talk.stage.go()
        self._fill_hook_state(talk, "created")

    def _run_hooks(self, talk: Conversation) -> None:
        state = self._hook_state("creating", talk.stage.pid)
        for name in ("prestart", "createRuntime"):
            hooks.run(self.bundle.config, name, state)

    def _hook_state(self, status: str, pid: int) -> "dict[str, Any]":
        config = self.bundle.config
        return public_state(config.ociVersion, self.id, status, pid, self.bundle.path, config.annotations)

    def _fill_hook_state(self, talk: Conversation, status: str) -> None:
        """Write the state that the hooks inside the container read; the pid is the one they would see."""
        memfd = self.inputs.fds.get("hook state")
        if memfd is not None:
            text = codec.dumps(self._hook_state(status, inner_pid(talk.stage.pid))).encode()
            posix.ftruncate(memfd, 0)
            posix.pwrite(memfd, text, 0)

    def _send_listener(self, number: int) -> None:
        """Hand the seccomp listener to the agent that the configuration names."""
        from pyoci.host import seccomp_agent  # only filters with SCMP_ACT_NOTIFY need it

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
            bundle=self.bundle.path,
            rootfs=self.bundle.rootfs,
            created=now(),
            owner=user_name(posix.getuid()),
            annotations=config.annotations,
            cgroup=self.cgroup.saved(),
            hasProcess=config.process is not None,
            hooks=[name for name in ("poststart", "poststop") if getattr(config.hooks, name)],
            privatePid=any(ns.type == "pid" and not ns.path for ns in config.linux.namespaces),
        )

    def _hand_over(self, talk: Conversation) -> None:
        """Give the caller what it waits for: the terminal, the pidfd."""
        options = self.options
        if options.console_socket and talk.console >= 0:
            console.send_fd(options.console_socket, talk.console, b"/dev/ptmx")
            posix.close(talk.console)
            talk.console = -1
        if options.pidfd_socket:
            console.send_fd(options.pidfd_socket, talk.stage.pidfd, b"pidfd")

    # ---- failure ----

    def undo(self) -> None:
        """Take everything back, as far as it came."""
        self.inputs.close()
        pid = 0
        if self.talk is not None:
            pid = self.talk.stage.pid
            self.talk.kill()
        if self.cgroup is not None:
            self.cgroup.kill(9)
            undo_cgroups(self.cgroup_directories)
        self.directory.remove()
        if pid:
            for failure in hooks.failures(self.bundle.config, "poststop", self._hook_state("stopped", 0)):
                warn(failure, self.bundle.source())
        if pid and self.options.pid_file:
            remove_pid_file(self.options.pid_file, pid)


def admit(container_id: str, options: "CreateOptions", *, detach: bool) -> "Bundle":
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
        console.check(bool(process and process.terminal), options.console_socket, detach)
    return bundle


def identified(state: State, talk: Conversation) -> State:
    """Give the state with the process in it.

    Raises:
        Error: it has ended.
    """
    found = stat_fields(talk.stage.pid)
    if found is None:
        raise Error(talk.post_mortem())
    return replace(state, pid=talk.stage.pid, startTime=found[1])


def limits_come_first(config: "Config") -> bool:
    """Tell whether the stage does something on its way that the limits must be in force for.

    That is to run hooks inside the cgroup, or to take on a realtime policy, which needs the runtime of its cgroup.
    """
    return bool(config.hooks.createContainer or config.process and config.process.scheduler)


def warn_of_unknown_capabilities(process: "Process | None", source: Source) -> None:
    """Note the capabilities that nobody knows: they are left out, which is no error (config.md#linux-process)."""
    sets = process.capabilities if process else None
    for name in sets._fields if sets else ():
        unknown = [cap for cap in getattr(sets, name) if cap not in CAPABILITIES]
        if unknown:
            kind = "capability" if len(unknown) == 1 else "capabilities"
            message = f"ignoring the unknown {kind} {some_of(unknown)}{did_you_mean(unknown[0], CAPABILITIES)}"
            warn(Error(message, f"/process/capabilities/{name}"), source)


def make_request(
    bundle: "Bundle", options: "CreateOptions", container_id: str, paths: "dict[str, str]"
) -> Request:
    """Collect what the plan needs to know of the command line, and of sockets that the caller passes on.

    LISTEN_FDS counts only when LISTEN_PID says that it is meant for this process; sd_listen_fds(3).
    """
    passed = listen_fds()
    environment = home_directory(bundle.config.process, bundle.rootfs) if bundle.config.process else []
    if passed:
        names = posix.environ.get(b"LISTEN_FDNAMES", b"").decode("utf-8", "surrogateescape")
        environment += [
            f"LISTEN_FDS={passed}",
            "LISTEN_PID=1",
            *([f"LISTEN_FDNAMES={names}"] if names else []),
        ]
    return Request(
        id=container_id,
        bundle=bundle.path,
        rootfs=bundle.rootfs,
        noPivot=options.no_pivot,
        noNewKeyring=options.no_new_keyring,
        preserveFds=options.preserve_fds + passed,
        extraEnv=environment,
        cgroupPaths=paths,
    )


def listen_fds() -> int:
    """Give the number of sockets that service managers have put behind descriptor 2 for this process."""
    count, pid = posix.environ.get(b"LISTEN_FDS", b""), posix.environ.get(b"LISTEN_PID", b"")
    return int(count) if count.isdigit() and len(count) < 5 and pid == b"%d" % posix.getpid() else 0


def write_pid_file(path: str, pid: int) -> None:
    """Write a pid file that is never seen half written: digits only, renamed into place."""
    try:
        write_file(path if "/" in path else f"./{path}", str(pid).encode(), 0o644)
    except OSError as error:
        raise wrap(f"writing the pid file {path}", error) from error


def remove_pid_file(path: str, pid: int) -> None:
    """Remove the pid file of a process that never came to be, if it is that one's."""
    from pyoci.state import read_file

    try:
        if read_file(path) == str(pid).encode():
            posix.unlink(path)
    except OSError:
        return
