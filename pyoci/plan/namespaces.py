"""Enter the container's namespaces, and configure the new ones: config-linux.md#namespaces."""

from errno import EACCES, EDQUOT, ENOSPC, EUSERS

from pyoci import operations as ops
from pyoci.config.check import is_new, namespace_of, sysctl_namespace, sysctl_path
from pyoci.config.model import Config, Linux
from pyoci.config.readers import escaped
from pyoci.config.tables import NAMESPACES
from pyoci.errors import ConfigError, Problem
from pyoci.linux import BARRIER_MAPS
from pyoci.plan.builder import Builder
from pyoci.stage.inputs import NamespaceFile
from pyoci.steps import Write

# These cannot be made by the first clone: the root of a cgroup namespace is the cgroup that its maker is in, and the
# offsets of a time namespace must be written before a process enters it.
MADE_LATER = ("cgroup", "time")

# A PID namespace takes effect for children only, and a user namespace has to exist before those that it owns.
MADE_BY_CLONE = NAMESPACES["pid"] | NAMESPACES["user"]

LIMIT_HINT = "the limit in /proc/sys/user may have been reached"
LIMIT_HINTS = {ENOSPC: LIMIT_HINT, EUSERS: LIMIT_HINT}
OFFSETS = "setting the offsets of the clocks"


def stage_namespaces(linux: Linux) -> tuple[int, int]:
    """Return the CLONE_NEW* flags of clone3(2), and those that the stage unshares before it has received its plan.

    Both are 0 if the stage has to fork, see enter().
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
    """Make the new namespaces, and join those with a path.

    One process is enough in the simple case: clone3(2) makes the PID namespace, the stage unshares the others while
    pyoci is still planning, and then joins those with a path by setns(2).
    The stage has to fork if it joins a PID namespace, because setns(2) works for children only; if it joins a user
    namespace, which decides about the rights to the others; and for a new user namespace.  It must not be executed
    in that one: execve(2) by a user that is not mapped yet drops all capabilities, and the owner of a user namespace
    may trace every process that was executed in it.

    The owner of a user namespace, and every process of a shared PID namespace, could read the host's files through
    /proc/PID/root of the stage.  So the stage becomes undumpable before it enters anything.  An ordinary user cannot
    write the id mappings of an undumpable process; there the stage becomes undumpable afterwards, and until then only
    processes of the same user could look.

    If there are mounts to make in another user namespace, a helper stays outside to open their sources: the process
    from before the fork for a new namespace, a process forked for this purpose for one that is joined.
    """
    listed = builder.config.linux.namespaces
    paths = {}
    for index, namespace in enumerate(listed):
        if namespace.path:
            builder.joined.add(namespace.type)
            paths[namespace.type] = (index, namespace.path)
        else:
            builder.new.add(namespace.type)
    builder.clone_flags, ahead = stage_namespaces(builder.config.linux)
    builder.helper = builder.facts.privileged and builder.is_foreign() and "mount" in builder.new | builder.joined
    hidden = builder.facts.euid == 0 or "user" not in builder.new
    if hidden:
        hide(builder)
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
            hide(builder)
        become_root = ops.BecomeRoot(keep_groups=builder.keeps_groups())
        builder.add(become_root, "becoming root of the user namespace", "/linux/uidMappings")


def _unshare(builder: Builder, flags: int, *, ahead: bool = False) -> None:
    kinds = [kind for kind in NAMESPACES if flags & NAMESPACES[kind]]
    what = f"making the namespace{'s' * (len(kinds) > 1)} {', '.join(kinds)}"
    builder.add(ops.Unshare(namespaces=flags, ahead=ahead), what, "/linux/namespaces", hints=LIMIT_HINTS)


def _fork(builder: Builder) -> None:
    """Continue in a child, which is in the new namespaces and in the joined ones that take effect for children only.

    Raises:
        ConfigError: another process could trace the child.
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
    """Wait until the host side has written the files in /proc that an undumpable process may not write itself."""
    wanted = ["the id mappings"] if "user" in builder.new else []
    if "time" in builder.new:
        _unshare(builder, NAMESPACES["time"])
        if builder.config.linux.timeOffsets:
            wanted.append("the offsets of the clocks")
    if wanted:
        builder.add(ops.Barrier(point=BARRIER_MAPS), f"waiting for {' and '.join(wanted)}")


def host_offsets(linux: Linux) -> Write | None:
    """Return the time namespace's offsets if the host side has to write them, see _wait_for_files(), else None."""
    if not is_new(linux.namespaces, "time") or namespace_of(linux, "user") is None or not linux.timeOffsets:
        return None
    return Write(file="timens_offsets", text=_offsets(linux), what=OFFSETS, origin="/linux/timeOffsets")


def namespace_slot(kind: str) -> str:
    """Return the slot of a namespace that is joined."""
    return f"namespace {kind}"


def _join(builder: Builder, paths: dict[str, tuple[int, str]]) -> None:
    """Have the host side open each namespace, and join them in one step."""
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
    """Return the name of a setting that would change this namespace for all of its processes; "" for none."""
    settings = ["root"] if kind == "mount" else []
    if kind == "uts":
        settings += [name for name in ("hostname", "domainname") if getattr(config, name)]
    settings += [name for name in config.linux.sysctl if sysctl_namespace(sysctl_path(name)) == kind]
    return settings[0] if settings else ""


def hide(builder: Builder) -> None:
    """Make the process undumpable: no process may trace it from here on, and its files in /proc belong to root."""
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
    """Make the namespaces that come late, and apply the settings of namespaces: host name, sysctls, loopback."""
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
    """Join a new session keyring, so that the container cannot use the caller's; session-keyring(7)."""
    if builder.request.noNewKeyring:
        return
    process = builder.config.process
    builder.add(
        ops.Keyring(name=f"_ses.{builder.request.id}", label=process.selinuxLabel if process else ""),
        "joining a session keyring of its own",
        hints={EDQUOT: "the quota of keys in /proc/sys/kernel/keys may have been reached"},
    )
