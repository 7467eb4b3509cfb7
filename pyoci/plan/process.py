"""The process of config.md#process: limits, labels, user, capabilities, program."""

from errno import EINVAL, ENOENT, EPERM

from pyoci import operations as ops
from pyoci.config.model import Process
from pyoci.config.tables import (
    CAPABILITIES,
    IO_PRIORITY_CLASSES,
    PERSONALITIES,
    RLIMITS,
    SCHEDULER_FLAGS,
    SCHEDULER_POLICIES,
)
from pyoci.linux import BARRIER_READY
from pyoci.plan.builder import Builder
from pyoci.plan.rootfs import try_working_directory, working_directory
from pyoci.stage.inputs import Fifo, Memfd

GATE, REPORTS, HOOK_STATE = "gate", "status", "hook state"
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
IOPRIO_CLASS_SHIFT = 13  # ioprio_set(2)


def take_identity(builder: Builder, process: Process, *, gate: bool) -> None:
    """Apply limits, labels, user, capabilities and the seccomp filter, in the order that the needed rights allow.

    *gate* is true for a new container, false for exec, which creates no working directory.
    Loading a filter without noNewPrivileges needs CAP_SYS_ADMIN, so it comes before the capabilities are dropped; with
    noNewPrivileges it comes as late as possible, so that the filter need not allow what pyoci still has to do.
    """
    _limits(builder, process)
    _scheduling(builder, process)
    builder.add(ops.Stdio(owner=process.user.uid), "handing over standard input and output")
    _labels(builder, process)
    # Before the identity changes and after: either may be the one that is allowed to.
    try_working_directory(builder, process, create=gate)
    close = ops.Close(preserved=builder.request.preserveFds, keep=_kept_for_start(builder) if gate else ())
    builder.add(close, "closing all other descriptors")
    late = bool(process.noNewPrivileges)
    _user(builder, process)
    working_directory(builder, process)
    if (umask := process.user.umask) is not None:
        builder.add(ops.Umask(mask=umask), f"setting the umask to {umask:04o}", "/process/user/umask")
    if not late:
        _seccomp(builder, gate=gate)
    _capabilities(builder, process)
    builder.add(
        ops.ResolveExec(candidates=candidates(process)),
        f"finding the program {process.args[0]}",
        "/process/args/0",
        subject=process.args[0],
    )
    if late:
        builder.add(ops.NoNewPrivs(), "setting no_new_privs", "/process/noNewPrivileges")
        _seccomp(builder, gate=gate)


def _kept_for_start(builder: Builder) -> list[str]:
    """Request the descriptors that the gate and the hooks behind it need; return their slots."""
    builder.give(Fifo(slot=GATE, name="gate"))
    builder.give(Fifo(slot=REPORTS, name="status"))
    hooks = [_hook_state(builder)] if builder.config.hooks.startContainer else []
    return [GATE, REPORTS, *hooks]


def _limits(builder: Builder, process: Process) -> None:
    for index, limit in enumerate(process.rlimits):
        builder.add(
            ops.Rlimit(resource=RLIMITS[limit.type], soft=limit.soft, hard=limit.hard),
            f"setting {limit.type} to {limit.soft}:{limit.hard}",
            f"/process/rlimits/{index}",
            hints={EPERM: "raising a hard limit needs CAP_SYS_RESOURCE"},
        )
    if builder.config.linux.personality:
        domain = builder.config.linux.personality.domain
        personality = ops.Personality(persona=PERSONALITIES[domain])
        builder.add(personality, f"setting the personality {domain}", "/linux/personality")


def _labels(builder: Builder, process: Process) -> None:
    if process.apparmorProfile:
        builder.add(
            ops.Apparmor(profile=process.apparmorProfile),
            f"applying the AppArmor profile {process.apparmorProfile}",
            "/process/apparmorProfile",
            hints={ENOENT: "is AppArmor enabled, and the profile loaded?", EINVAL: "is AppArmor enabled?"},
        )
    if process.selinuxLabel:
        builder.add(
            ops.Selinux(label=process.selinuxLabel),
            f"applying the SELinux label {process.selinuxLabel}",
            "/process/selinuxLabel",
            hints={EINVAL: "is SELinux enabled?"},
        )


def _scheduling(builder: Builder, process: Process) -> None:
    """Set the scheduling policy and the I/O priority; sched_setattr(2), ioprio_set(2)."""
    wish = process.scheduler
    if wish:
        builder.add(
            ops.Scheduler(
                policy=SCHEDULER_POLICIES[wish.policy],
                flags=sum(SCHEDULER_FLAGS[name] for name in wish.flags),
                nice=wish.nice,
                priority=wish.priority,
                runtime=wish.runtime,
                deadline=wish.deadline,
                period=wish.period,
            ),
            f"setting the scheduling policy {wish.policy}",
            "/process/scheduler",
            hints={EPERM: "realtime policies need CAP_SYS_NICE"},
        )
    if process.ioPriority:
        kind = IO_PRIORITY_CLASSES[process.ioPriority.class_]
        value = kind << IOPRIO_CLASS_SHIFT | (process.ioPriority.priority or 0)
        what = f"setting the I/O priority {process.ioPriority.class_}"
        builder.add(ops.IoPriority(priority=value), what, "/process/ioPriority")


def _user(builder: Builder, process: Process) -> None:
    """Set the bounding set, groups and ids, each while the process still has the right to; capabilities are kept."""
    user = process.user
    sets = process.capabilities
    bounding = mask(sets.bounding if sets else ())
    builder.add(ops.Bounding(keep=bounding), "limiting the bounding set", "/process/capabilities/bounding")
    builder.add(
        ops.Groups(groups=user.additionalGids, keep=builder.keeps_groups()),
        f"setting the additional groups {list(user.additionalGids)}",
        "/process/user/additionalGids",
    )
    builder.add(
        ops.Ids(uid=user.uid, gid=user.gid),
        f"becoming uid {user.uid}, gid {user.gid}",
        "/process/user",
        hints={EINVAL: "the id is not mapped in the container's user namespace"},
    )


def _capabilities(builder: Builder, process: Process) -> None:
    sets = process.capabilities
    capabilities = ops.Capabilities(
        permitted=mask(sets.permitted if sets else ()),
        effective=mask(sets.effective if sets else ()),
        inheritable=mask(sets.inheritable if sets else ()),
        ambient=mask(sets.ambient if sets else ()),
    )
    builder.add(capabilities, "setting the capabilities", "/process/capabilities")


def mask(names: list[str] | tuple[str, ...]) -> int:
    """Return capabilities as a bit mask, without unknown names, of which create and exec warn."""
    return sum({1 << CAPABILITIES[name] for name in names if name in CAPABILITIES})


def candidates(process: Process) -> list[str]:
    """Return the files that execvp(3) would try for args[0]: itself if it has a slash, else one an entry of PATH."""
    name = process.args[0]
    if not name:
        return []
    if "/" in name:
        return [name]
    path = DEFAULT_PATH
    for entry in process.env:
        if entry.startswith("PATH="):
            path = entry[5:]
    return [f"{part or '.'}/{name}" for part in path.split(":")]


def _seccomp(builder: Builder, *, gate: bool) -> None:
    """Load the seccomp filter, if there is one.

    Raises:
        ValueError: the request has no compiled filter.
    """
    compiled = builder.request.filter
    if builder.config.linux.seccomp is None:
        return
    if compiled is None:
        raise ValueError("the seccomp filter is not compiled")
    builder.add(
        ops.Seccomp(
            filter=compiled.program, flags=compiled.flags, by_readv=compiled.by_readv, handle_signals=gate
        ),
        "loading the seccomp filter",
        "/linux/seccomp",
        hints={EINVAL: "the kernel does not support a flag or an action of the filter"},
    )


def execute(builder: Builder, process: Process, *, gate: bool) -> None:
    """Report that the process is ready, wait at the gate if there is one, and run the program."""
    filtered = builder.config.linux.seccomp is not None
    _ready(builder, filtered=filtered, gate=gate)
    if gate:
        _wait(builder, filtered=filtered)
    builder.add(
        ops.Exec(args=list(process.args), environment=environment(builder), report=gate),
        f"running {process.args[0]}",
        "/process/args",
        subject=process.args[0],
    )


def _ready(builder: Builder, *, filtered: bool, gate: bool) -> None:
    # Loading a filter has cleared the parent-death signal already, because the filter may forbid prctl(2).
    barrier = ops.Barrier(point=BARRIER_READY, outlive=not filtered, hang_up=gate)
    builder.add(barrier, "waiting for pyoci to record the container")


def environment(builder: Builder) -> list[str]:
    """Return the environment of the container's program."""
    process = builder.config.process
    return once_each([*process.env, *builder.request.extraEnv]) if process else []


def once_each(entries: list[str]) -> list[str]:
    """Return one entry for each name: the last value, at the place of the first entry.

    The names are sorted, not put into a dict: the configuration chooses them, and could choose colliding hashes.
    """
    names = sorted([(entry.partition("=")[0], index) for index, entry in enumerate(entries)])
    kept = list(entries)
    last, first = "", 0
    for name, index in names:
        if name == last:
            kept[first], kept[index] = entries[index], ""
        else:
            last, first = name, index
    return [entry for entry in kept if entry]


def _wait(builder: Builder, *, filtered: bool) -> None:
    """Wait for ``start``, then run the startContainer hooks."""
    builder.add(ops.Gate(opener=GATE, reports=REPORTS, filtered=filtered), "waiting for start")
    hooks(builder, "startContainer")


def idle(builder: Builder) -> None:
    """Wait at the gate without a program: such a container can be created and deleted, but not started.

    runtime.md#create.  The waiting process has no capabilities and no open descriptors.
    """
    builder.add(ops.Close(keep=_kept_for_start(builder)), "closing all other descriptors")
    builder.add(ops.Bounding(), "emptying the bounding set")
    builder.add(ops.Capabilities(), "dropping all capabilities")
    builder.add(ops.NoNewPrivs(), "setting no_new_privs")
    _ready(builder, filtered=False, gate=True)
    _wait(builder, filtered=False)


def hooks(builder: Builder, name: str) -> None:
    """Run the createContainer or startContainer hooks; config.md#posix-platform-hooks."""
    listed = getattr(builder.config.hooks, name)
    for index, hook in enumerate(listed):
        env = list(hook.env or ())
        if hook.env is None and name == "startContainer":
            env = environment(builder)
        run = ops.Hook(
            program=hook.path,
            args=list(hook.args or [hook.path]),
            environment=env,
            timeout=hook.timeout or 0,
            state=_hook_state(builder),
        )
        builder.add(run, f"the {name} hook {hook.path}", f"/hooks/{name}/{index}")


def _hook_state(builder: Builder) -> str:
    """Request the memfd with the state that hooks read; return its slot."""
    return HOOK_STATE if HOOK_STATE in builder.given else builder.give(Memfd(slot=HOOK_STATE))
