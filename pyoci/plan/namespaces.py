"""How the process comes into its namespaces, and what is set up in them: config-linux.md#namespaces."""

from pyoci.config.check import sysctl_path
from pyoci.config.tables import NAMESPACES
from pyoci.plan.builder import Builder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyoci.config.model import Linux

# These cannot be made by the first clone: a cgroup namespace is rooted at the cgroup one is in, and the
# offsets of a time namespace must be written before anybody is in it.
MADE_LATER = ("cgroup", "time")

# The first process of a PID namespace is born there, and a user namespace decides the rights to all others.
MADE_BY_CLONE = NAMESPACES["pid"] | NAMESPACES["user"]

EPERM, EINVAL, ENOSPC, EUSERS = 1, 22, 28, 87
LIMIT_HINT = "the limit in /proc/sys/user may have been reached"


def birth(linux: "Linux") -> "tuple[int, int]":
    """Give the CLONE_NEW* flags that the stage is born with, and those that it unshares ahead of its plan.

    Both are 0 where it takes a second process, see enter().
    """
    new = {namespace.type for namespace in linux.namespaces if not namespace.path}
    joined = {namespace.type for namespace in linux.namespaces if namespace.path}
    if takes_two_processes(new, joined):
        return 0, 0
    flags = flags_of(new)
    return flags & MADE_BY_CLONE, flags & ~MADE_BY_CLONE


def takes_two_processes(new: "set[str]", joined: "set[str]") -> bool:
    """Tell whether OP_FORK is needed, see enter()."""
    return "user" in new or bool({"pid", "user"} & joined)


def flags_of(new: "set[str]") -> int:
    """Give the CLONE_NEW* flags of the namespaces that are made first."""
    return sum(NAMESPACES[kind] for kind in new if kind not in MADE_LATER)


def enter(builder: Builder) -> None:
    """Join and make the namespaces.

    The simple way is one process: it is born in a new PID namespace, makes the other new ones while pyoci still
    plans, and then joins those with a path by setns(2).
    A second process is needed where setns works for children only (pid), where the user namespace
    decides the rights to the others, and for a new user namespace: the stage must not be executed in it,
    because execve(2) by a user that is not mapped yet drops all capabilities.  Then the joining comes
    first and OP_FORK makes the rest.
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
    hints = {ENOSPC: LIMIT_HINT, EUSERS: LIMIT_HINT}
    if ahead:
        kinds = [kind for kind in NAMESPACES if ahead & NAMESPACES[kind]]
        what = f"making the namespaces {', '.join(kinds)}"
        builder.add("OP_UNSHARE", what, "/linux/namespaces", numbers={"n": ahead}, hints=hints)
    if paths:
        _join(builder, paths)
    if takes_two_processes(builder.new, builder.joined):
        builder.add(
            "OP_FORK",
            "entering the new namespaces",
            "/linux/namespaces",
            numbers={"n": flags_of(builder.new)},
            hints=hints,
        )
        if "user" in builder.new:
            builder.add("OP_BARRIER", "waiting for the id mappings", numbers={"a": 0})
    if "user" in builder.new | builder.joined:
        builder.add("OP_BECOME_ROOT", "becoming root of the user namespace", "/linux/uidMappings")


def _join(builder: Builder, paths: "dict[str, tuple[int, str]]") -> None:
    """Open each namespace on the host side, then join them in one step."""
    slots = []
    for kind, (index, path) in paths.items():
        slot = builder.give(
            f"namespace {kind}", "namespace", path=path, detail=kind, origin=f"/linux/namespaces/{index}/path"
        )
        slots.append(slot)
    builder.add(
        "OP_JOIN",
        f"joining the namespaces {', '.join(paths)}",
        "/linux/namespaces",
        slot=slots[0],
        numbers={"a": len(slots)},
    )


def guard(builder: Builder) -> None:
    """From here on nobody may look into the process: before anything of the container can see it."""
    process = builder.config.process
    if process and process.oomScoreAdj is not None:
        builder.add(
            "OP_OOM_SCORE",
            f"setting oom_score_adj to {process.oomScoreAdj}",
            "/process/oomScoreAdj",
            strings={"a": str(process.oomScoreAdj)},
            hints={13: "lowering it needs CAP_SYS_RESOURCE", EPERM: "lowering it needs CAP_SYS_RESOURCE"},
        )
    builder.add("OP_DUMPABLE", "hiding the process from ptrace", numbers={"n": 0})


def set_up(builder: Builder) -> None:
    """Make the late namespaces, and put into the new ones what the configuration names."""
    config = builder.config
    linux = config.linux
    if "cgroup" in builder.new:
        builder.add(
            "OP_UNSHARE",
            "making the cgroup namespace",
            "/linux/namespaces",
            numbers={"n": NAMESPACES["cgroup"]},
        )
    if "time" in builder.new:
        _time(builder)
    builder.add("OP_SETSID", "starting a new session")
    if "network" in builder.new:
        builder.add("OP_LOOPBACK_UP", "bringing the loopback interface up", "/linux/namespaces")
    if config.hostname:
        builder.add(
            "OP_HOSTNAME",
            f"setting the host name to {config.hostname}",
            "/hostname",
            strings={"a": config.hostname},
        )
    if config.domainname:
        builder.add(
            "OP_DOMAINNAME",
            f"setting the domain name to {config.domainname}",
            "/domainname",
            strings={"a": config.domainname},
        )
    for key, value in linux.sysctl.items():
        builder.add(
            "OP_SYSCTL",
            f"setting the kernel parameter {key} to {value}",
            "/linux/sysctl/" + key.replace("~", "~0").replace("/", "~1"),
            strings={"a": sysctl_path(key), "b": value},
        )


def _time(builder: Builder) -> None:
    linux = builder.config.linux
    offsets = linux.timeOffsets
    builder.add(
        "OP_UNSHARE", "making the time namespace", "/linux/namespaces", numbers={"n": NAMESPACES["time"]}
    )
    text = "".join(f"{clock} {offset.secs} {offset.nanosecs}\n" for clock, offset in offsets.items())
    builder.add(
        "OP_TIME_OFFSETS",
        "setting the offsets of the clocks",
        "/linux/timeOffsets" if text else "",
        strings={"a": text},
    )


def keyring(builder: Builder) -> None:
    """Give the container a session keyring of its own, so that it cannot read the caller's; session-keyring(7)."""
    if builder.request.noNewKeyring:
        return
    process = builder.config.process
    label = process.selinuxLabel if process else ""
    builder.add(
        "OP_KEYRING",
        "joining a session keyring of its own",
        strings={"a": f"_ses.{builder.request.id}", "b": label},
        hints={122: "the quota of keys in /proc/sys/kernel/keys may have been reached"},
    )
