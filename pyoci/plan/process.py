"""Who the process is and what it runs: config.md#process, applied in the order that rights allow."""

from pyoci.config.tables import (
    CAPABILITIES,
    IO_PRIORITY_CLASSES,
    PERSONALITIES,
    RLIMITS,
    SCHEDULER_FLAGS,
    SCHEDULER_POLICIES,
)
from pyoci.plan.builder import Builder
from pyoci.plan.rootfs import CHDIR_CREATE, CHDIR_RETRY, working_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.config.model import Process

BARRIER_READY = 2
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
EPERM = 1
SCHED_ATTR_SIZE = 48


def become(builder: Builder, process: "Process", *, make_cwd: int = CHDIR_CREATE) -> None:
    """Take on limits, labels, user and capabilities; seccomp early or late.

    make_cwd is CHDIR_CREATE for a new container, 0 for exec: that is no occasion to make directories.
    Without noNewPrivileges loading a filter needs CAP_SYS_ADMIN, so it goes before the capabilities
    are dropped; with it, as late as can be.  So the filter need not allow what pyoci itself does before.
    """
    _limits(builder, process)
    _scheduling(builder, process)
    builder.add("OP_STDIO", "handing over standard input and output", numbers={"a": process.user.uid})
    _labels(builder, process)
    # Before the identity changes and after: either may be the one that is allowed to.
    working_directory(builder, process, make_cwd | CHDIR_RETRY)
    builder.add("OP_CLOSE", "closing all other descriptors", numbers={"n": builder.request.preserveFds})
    late = bool(process.noNewPrivileges)
    _user(builder, process)
    working_directory(builder, process, 0)
    if process.user.umask is not None:
        builder.add(
            "OP_UMASK",
            f"setting the umask to {process.user.umask:04o}",
            "/process/user/umask",
            numbers={"n": process.user.umask},
        )
    if not late:
        _seccomp(builder, late=False)
    _capabilities(builder, process)
    builder.add(
        "OP_RESOLVE_EXEC",
        f"finding the program {process.args[0]}",
        "/process/args/0",
        subject=process.args[0],
        strings={"a": candidates(process)},
    )
    if late:
        builder.add("OP_NO_NEW_PRIVS", "setting no_new_privs", "/process/noNewPrivileges")
        _seccomp(builder, late=True)


def _limits(builder: Builder, process: "Process") -> None:
    for index, limit in enumerate(process.rlimits):
        builder.add(
            "OP_RLIMIT",
            f"setting {limit.type} to {limit.soft}:{limit.hard}",
            f"/process/rlimits/{index}",
            numbers={"a": RLIMITS[limit.type], "n": limit.soft, "m": limit.hard},
            hints={EPERM: "raising a hard limit needs CAP_SYS_RESOURCE"},
        )
    if builder.config.linux.personality:
        domain = builder.config.linux.personality.domain
        builder.add(
            "OP_PERSONALITY",
            f"setting the personality {domain}",
            "/linux/personality",
            numbers={"n": PERSONALITIES[domain]},
        )


def _labels(builder: Builder, process: "Process") -> None:
    if process.apparmorProfile:
        builder.add(
            "OP_APPARMOR",
            f"applying the AppArmor profile {process.apparmorProfile}",
            "/process/apparmorProfile",
            strings={"a": process.apparmorProfile},
            hints={2: "is AppArmor enabled, and the profile loaded?", 22: "is AppArmor enabled?"},
        )
    if process.selinuxLabel:
        builder.add(
            "OP_SELINUX",
            f"applying the SELinux label {process.selinuxLabel}",
            "/process/selinuxLabel",
            strings={"a": process.selinuxLabel},
            hints={22: "is SELinux enabled?"},
        )


def _scheduling(builder: Builder, process: "Process") -> None:
    """Set the scheduling policy and the I/O priority; sched_setattr(2), ioprio_set(2)."""
    wish = process.scheduler
    if wish:
        flags = sum(SCHEDULER_FLAGS[name] for name in wish.flags)
        attributes = b"".join(
            number.to_bytes(size, "little", signed=number < 0)
            for number, size in (
                (SCHED_ATTR_SIZE, 4),
                (SCHEDULER_POLICIES[wish.policy], 4),
                (flags, 8),
                (wish.nice, 4),
                (wish.priority, 4),
                (wish.runtime, 8),
                (wish.deadline, 8),
                (wish.period, 8),
            )
        )
        builder.add(
            "OP_SCHEDULER",
            f"setting the scheduling policy {wish.policy}",
            "/process/scheduler",
            strings={"b": attributes},
            blob_item=1,
            hints={EPERM: "realtime policies need CAP_SYS_NICE"},
        )
    if process.ioPriority:
        kind = IO_PRIORITY_CLASSES[process.ioPriority.class_]
        builder.add(
            "OP_IO_PRIORITY",
            f"setting the I/O priority {process.ioPriority.class_}",
            "/process/ioPriority",
            numbers={"n": kind << 13 | (process.ioPriority.priority or 0)},
        )


def _user(builder: Builder, process: "Process") -> None:
    """Bounding set, groups and ids, in the order that the rights to change them last; capabilities are kept."""
    user = process.user
    sets = process.capabilities
    bounding = mask(sets.bounding if sets else ())
    builder.add(
        "OP_BOUNDING", "limiting the bounding set", "/process/capabilities/bounding", numbers={"n": bounding}
    )
    gids = b"".join(gid.to_bytes(4, "little") for gid in user.additionalGids)
    builder.add(
        "OP_GROUPS",
        f"setting the additional groups {list(user.additionalGids)}",
        "/process/user/additionalGids",
        flags=builder.groups_kept(),
        strings={"a": gids},
    )
    builder.add(
        "OP_IDS",
        f"becoming uid {user.uid}, gid {user.gid}",
        "/process/user",
        numbers={"a": user.uid, "b": user.gid},
        hints={22: "the id is not mapped in the container's user namespace"},
    )


def _capabilities(builder: Builder, process: "Process") -> None:
    sets = process.capabilities
    inheritable, ambient = mask(sets.inheritable if sets else ()), mask(sets.ambient if sets else ())
    builder.add(
        "OP_CAPABILITIES",
        "setting the capabilities",
        "/process/capabilities",
        numbers={
            "n": mask(sets.permitted if sets else ()),
            "m": mask(sets.effective if sets else ()),
            "a": inheritable & 0xFFFFFFFF,
            "b": inheritable >> 32,
            "c": ambient & 0xFFFFFFFF,
            "d": ambient >> 32,
        },
    )


def mask(names: "list[str] | tuple[str, ...]") -> int:
    """Give the bit mask of capability names; unknown ones count for nothing (they are warned of elsewhere)."""
    return sum({1 << CAPABILITIES[name] for name in names if name in CAPABILITIES})


def candidates(process: "Process") -> "list[str]":
    """List the files that execvp(3) would try for args[0]: with a slash only itself, else one for each part of PATH."""
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


def _seccomp(builder: Builder, *, late: bool) -> None:
    linux = builder.config.linux
    if linux.seccomp:
        from pyoci.plan import (
            seccomp,  # loaded only where a filter is asked for: it costs libseccomp's work too
        )

        seccomp.load(builder, linux.seccomp, late=late)


def execute(builder: Builder, process: "Process", *, gate: bool) -> None:
    """Say that all is ready, wait at the gate if there is one, run the last hooks and the program."""
    builder.add("OP_BARRIER", "waiting for pyoci to record the container", numbers={"a": BARRIER_READY})
    if gate:
        wait(builder)
    builder.add(
        "OP_EXEC",
        f"running {process.args[0]}",
        "/process/args",
        subject=process.args[0],
        strings={"a": list(process.args), "c": environment(builder)},
    )


def environment(builder: Builder) -> "list[str]":
    """Return what the container's program finds in its environment."""
    process = builder.config.process
    return once_each([*process.env, *builder.request.extraEnv]) if process else []


def once_each(entries: "list[str]") -> "list[str]":
    """Return NAME=value once for each name, the last one said, where the first one stood: programs would see that.

    Sorted, not by a dict: the configuration chooses the names.
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


def wait(builder: Builder) -> None:
    """Wait for ``start``, then run the startContainer hooks."""
    builder.give("gate", "fifo", path="gate")
    builder.give("status", "fifo", path="status")
    builder.add("OP_GATE", "waiting for start", slot="gate", slots={"a": "status"})
    hooks(builder, "startContainer")


def idle(builder: Builder) -> None:
    """Keep a container without a program: it can be created and deleted, never started (runtime.md#create).

    What waits there has no capabilities and no open descriptors.
    """
    builder.add("OP_CLOSE", "closing all other descriptors", numbers={"n": 0})
    builder.add("OP_BOUNDING", "emptying the bounding set", numbers={"n": 0})
    builder.add("OP_CAPABILITIES", "dropping all capabilities")
    builder.add("OP_NO_NEW_PRIVS", "setting no_new_privs")
    builder.add("OP_BARRIER", "waiting for pyoci to record the container", numbers={"a": BARRIER_READY})
    wait(builder)


def hooks(builder: Builder, name: str) -> None:
    """Run the hooks of one list that belong inside the container's namespaces; config.md#posix-platform-hooks."""
    listed = getattr(builder.config.hooks, name)
    for index, hook in enumerate(listed):
        if "hook state" not in builder.kinds:
            builder.give("hook state", "memfd")
        env = list(hook.env or ())
        if hook.env is None and name == "startContainer":
            env = environment(builder)
        builder.add(
            "OP_HOOK",
            f"the {name} hook {hook.path}",
            f"/hooks/{name}/{index}",
            slot="hook state",
            strings={"a": hook.path, "b": list(hook.args or [hook.path]), "d": env},
            numbers={"n": (hook.timeout or 0) << 32 | len(env)},
        )
