"""How the process comes into its namespaces, and what is set up in them: config-linux.md#namespaces."""

from errno import EACCES, EDQUOT, ENOSPC, EUSERS

from pyoci import operations as ops
from pyoci.config.check import is_new, namespace_of, sysctl_namespace, sysctl_path
from pyoci.config.model import Config, Linux
from pyoci.config.readers import escaped
from pyoci.config.tables import NAMESPACES
from pyoci.errors import ConfigError, Problem
from pyoci.linux import BARRIER_MAPS
from pyoci.plan.builder import Builder
from pyoci.plan.steps import Write
from pyoci.stage.inputs import NamespaceFile

# These cannot be made by the first clone: a cgroup namespace is rooted at the cgroup one is in, and the
# offsets of a time namespace must be written before anybody is in it.
MADE_LATER = ("cgroup", "time")

# The first process of a PID namespace is born there, and a user namespace decides the rights to all others.
MADE_BY_CLONE = NAMESPACES["pid"] | NAMESPACES["user"]

LIMIT_HINT = "the limit in /proc/sys/user may have been reached"
LIMIT_HINTS = {ENOSPC: LIMIT_HINT, EUSERS: LIMIT_HINT}
OFFSETS = "setting the offsets of the clocks"


def birth(linux: Linux) -> tuple[int, int]:
    """Return the CLONE_NEW* flags that the stage is born with, and those that it unshares ahead of its plan.

    Both are 0 where it takes a second process, see enter().
    """
    new = {namespace.type for namespace in linux.namespaces if not namespace.path}
    joined = {namespace.type for namespace in linux.namespaces if namespace.path}
    if takes_two_processes(new, joined):
        return 0, 0
    flags = flags_of(new)
    return flags & MADE_BY_CLONE, flags & ~MADE_BY_CLONE


def takes_two_processes(new: set[str], joined: set[str]) -> bool:
    """Return whether the stage has to fork, see enter()."""
    return "user" in new or bool({"pid", "user"} & joined)


def flags_of(new: set[str]) -> int:
    """Return the CLONE_NEW* flags of the namespaces that are made first."""
    return sum(NAMESPACES[kind] for kind in new if kind not in MADE_LATER)


def enter(builder: Builder) -> None:
    """Join and make the namespaces.

    The simple way is one process: it is born in a new PID namespace, makes the other new ones while pyoci still
    plans, and then joins those with a path by setns(2).
    A second process is needed where setns works for children only (pid), where the user namespace
    decides the rights to the others, and for a new user namespace: the stage must not be executed in it,
    because execve(2) by a user that is not mapped yet drops all capabilities, and because whoever owns a user
    namespace may look into all that is executed in it.

    Whoever owns a user namespace, or shares a PID namespace with what enters one, must find nothing to look into:
    the process hides itself before.  It cannot where an ordinary user writes its id mappings, whose own
    processes are the only ones that could.

    Where there are mounts to make for another user namespace, a process stays outside as the helper, to open their
    sources: of a new one the process from before, of one that is joined a process of its own.
    """
    listed = builder.config.linux.namespaces
    paths = {}
    for index, namespace in enumerate(listed):
        if namespace.path:
            builder.joined.add(namespace.type)
            paths[namespace.type] = (index, namespace.path)
        else:
            builder.new.add(namespace.type)
    builder.clone_flags, ahead = birth(builder.config.linux)
    builder.helper = builder.facts.privileged and builder.is_foreign() and "mount" in builder.new | builder.joined
    hidden = builder.facts.euid == 0 or "user" not in builder.new
    if hidden:
        guard(builder)
    if ahead:
        _unshare(builder, ahead, ahead=True)
    if builder.helper and "user" in builder.joined:
        builder.add(ops.Fork(helper=True), "leaving a process outside the user namespace")
    if paths:
        _join(builder, paths)
    if takes_two_processes(builder.new, builder.joined):
        _fork(builder)
    if builder.is_foreign():
        _wait_for_files(builder)
        if not hidden:
            guard(builder)
        become_root = ops.BecomeRoot(keep_groups=builder.keeps_groups())
        builder.add(become_root, "becoming root of the user namespace", "/linux/uidMappings")


def _unshare(builder: Builder, flags: int, *, ahead: bool = False) -> None:
    kinds = [kind for kind in NAMESPACES if flags & NAMESPACES[kind]]
    what = f"making the namespace{'s' * (len(kinds) > 1)} {', '.join(kinds)}"
    builder.add(ops.Unshare(namespaces=flags, ahead=ahead), what, "/linux/namespaces", hints=LIMIT_HINTS)


def _fork(builder: Builder) -> None:
    """Go on in a process of the new namespaces, and of the joined ones that hold for children only.

    Raises:
        ConfigError: somebody else could look into it.
    """
    if builder.facts.euid != 0 and "user" in builder.new and "pid" in builder.joined:
        message = "only root can make a user namespace in a PID namespace that is joined"
        raise ConfigError("config.json", [Problem(pointer="/linux/namespaces", message=message)])
    builder.add(
        ops.Fork(namespaces=flags_of(builder.new), helper=builder.helper and "user" in builder.new),
        "entering the new namespaces",
        "/linux/namespaces",
        hints=LIMIT_HINTS,
    )


def _wait_for_files(builder: Builder) -> None:
    """Have the host side write what belongs to its root in /proc of a hidden process, see host_offsets()."""
    wanted = ["the id mappings"] if "user" in builder.new else []
    if "time" in builder.new:
        _unshare(builder, NAMESPACES["time"])
        if builder.config.linux.timeOffsets:
            wanted.append("the offsets of the clocks")
    if wanted:
        builder.add(ops.Barrier(point=BARRIER_MAPS), f"waiting for {' and '.join(wanted)}")


def host_offsets(linux: Linux) -> Write | None:
    """Return what the host side writes at that barrier for a container with another user namespace, if anything."""
    if not is_new(linux.namespaces, "time") or namespace_of(linux, "user") is None or not linux.timeOffsets:
        return None
    return Write(file="timens_offsets", text=_offsets(linux), what=OFFSETS, origin="/linux/timeOffsets")


def namespace_slot(kind: str) -> str:
    """Return the slot of a namespace that is joined."""
    return f"namespace {kind}"


def _join(builder: Builder, paths: dict[str, tuple[int, str]]) -> None:
    """Open each namespace on the host side, then join them in one step."""
    slots = []
    for kind, (index, path) in paths.items():
        wanted = NamespaceFile(
            slot=namespace_slot(kind),
            path=path,
            kind=kind,
            changes=_changes(builder.config, kind),
            origin=f"/linux/namespaces/{index}/path",
        )
        slots.append(builder.give(wanted))
    builder.add(ops.Join(namespaces=slots), f"joining the namespaces {', '.join(paths)}", "/linux/namespaces")


def _changes(config: Config, kind: str) -> str:
    """Return the name of a setting that changes a namespace of that kind for all who are in it; "" for none."""
    settings = ["root"] if kind == "mount" else []
    if kind == "uts":
        settings += [name for name in ("hostname", "domainname") if getattr(config, name)]
    settings += [name for name in config.linux.sysctl if sysctl_namespace(sysctl_path(name)) == kind]
    return settings[0] if settings else ""


def guard(builder: Builder) -> None:
    """Hide the process: from here on nobody may look into it, and its files in /proc belong to the host's root."""
    process = builder.config.process
    if process and process.oomScoreAdj is not None:
        builder.writes.append(
            Write(
                file="oom_score_adj",
                text=str(process.oomScoreAdj),
                what=f"setting oom_score_adj to {process.oomScoreAdj}",
                origin="/process/oomScoreAdj",
                hints={EACCES: "lowering it needs CAP_SYS_RESOURCE"},
                required=builder.facts.is_host_root(),
            )
        )
    builder.add(ops.Undumpable(), "hiding the process from ptrace")


def set_up(builder: Builder) -> None:
    """Make the late namespaces, and put into the new ones what the configuration names."""
    config = builder.config
    linux = config.linux
    if "cgroup" in builder.new:
        _unshare(builder, NAMESPACES["cgroup"])
    if "time" in builder.new:
        _time(builder)
    builder.add(ops.Setsid(), "starting a new session")
    if "network" in builder.new:
        builder.add(ops.LoopbackUp(), "bringing the loopback interface up", "/linux/namespaces")
    if name := config.hostname:
        builder.add(ops.Hostname(name=name), f"setting the host name to {name}", "/hostname")
    if name := config.domainname:
        builder.add(ops.Domainname(name=name), f"setting the domain name to {name}", "/domainname")
    for key, value in linux.sysctl.items():
        builder.add(
            ops.Sysctl(name=sysctl_path(key), value=value),
            f"setting the kernel parameter {key} to {value}",
            "/linux/sysctl/" + escaped(key),
        )


def _time(builder: Builder) -> None:
    linux = builder.config.linux
    text = ""
    if not builder.is_foreign():  # else it was made with the others, and its offsets are written
        _unshare(builder, NAMESPACES["time"])
        text = _offsets(linux)
    what = OFFSETS if text else "entering the time namespace"
    builder.add(ops.TimeNamespace(offsets=text), what, "/linux/timeOffsets" if linux.timeOffsets else "")


def _offsets(linux: Linux) -> str:
    return "".join(f"{clock} {offset.secs} {offset.nanosecs}\n" for clock, offset in linux.timeOffsets.items())


def keyring(builder: Builder) -> None:
    """Give the container a session keyring of its own, so that it cannot read the caller's; session-keyring(7)."""
    if builder.request.noNewKeyring:
        return
    process = builder.config.process
    builder.add(
        ops.Keyring(name=f"_ses.{builder.request.id}", label=process.selinuxLabel if process else ""),
        "joining a session keyring of its own",
        hints={EDQUOT: "the quota of keys in /proc/sys/kernel/keys may have been reached"},
    )
