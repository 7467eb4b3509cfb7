"""Which cgroup hierarchies the host has, and where a container's cgroup lies in them.

v2       one cgroup2 file system, on /sys/fs/cgroup
v1       one file system for each controller, or for a few joined ones
hybrid   both: controllers of v1, and a cgroup2 for the rest, on /sys/fs/cgroup/unified with systemd
"""

import errno
import posix
from dataclasses import dataclass, field

from pyoci.cgroups.cgroup import Cgroup
from pyoci.cgroups.files import read
from pyoci.config.check import is_new
from pyoci.config.forms import normal_path
from pyoci.errors import ConfigError, Error, KernelError, Problem, UsageError, wrap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pyoci.config.model import Mount, Namespace

V2_MOUNT = "/sys/fs/cgroup"
# Options of a v1 mount that are no controllers; kernel, admin-guide/cgroup-v1/cgroups.rst.
V1_OPTIONS = (
    "ro",
    "rw",
    "noprefix",
    "clone_children",
    "xattr",
    "favordynmods",
    "nofavordynmods",
    "cpuset_v2_mode",
    "seclabel",
)
SYSTEMD = "name=systemd"
NO_SYSTEMD = (
    "systemd as the cgroup manager (--systemd-cgroup) is not supported yet; let the caller choose cgroupfs:"
    " SystemdCgroup = false of containerd, cgroup_manager of Podman and CRI-O, native.cgroupdriver of Docker"
)
# What mountinfo escapes; the backslash comes last, so that no escape is undone twice.
ESCAPES = (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\043", "#"), ("\\134", "\\"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The hierarchies of the host as this process sees them.

    mounts maps a v1 controller (``cpu``, ``name=systemd``) to its mount point, and "" to that of v2; own maps
    the same keys to this process's own cgroup, as a path below the mount point ("" for the mount point).
    """

    mounts: "Mapping[str, str]" = field(default_factory=dict)
    own: "Mapping[str, str]" = field(default_factory=dict)

    @property
    def mode(self) -> str:
        """Tell ``v2``, ``v1``, ``hybrid`` or ``none``."""
        controllers = any(key and not key.startswith("name=") for key in self.mounts)
        if "" in self.mounts:
            return "hybrid" if controllers else "v2"
        return "v1" if self.mounts else "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class CgroupMount:
    """A line of /proc/self/mountinfo: keys are the controllers, "" for v2; root is the cgroup it shows."""

    keys: "tuple[str, ...]"
    root: str
    point: str


# How systems with v1 mount its controllers, those that share a hierarchy together.
V1_HIERARCHIES = (
    *("cpuset", "cpu,cpuacct", "blkio", "memory", "devices", "freezer", "net_cls,net_prio", "perf_event", "hugetlb"),
    *("pids", "rdma", "misc"),
)


def usual(mode: str) -> Layout:
    """Return the layout that hosts of a mode (v1, v2, hybrid) usually have, seen from the root of each hierarchy."""
    mounts = {"": V2_MOUNT} if mode == "v2" else {}
    if mode != "v2":
        mounts = {key: f"{V2_MOUNT}/{names}" for names in V1_HIERARCHIES for key in names.split(",")}
        mounts[SYSTEMD] = f"{V2_MOUNT}/systemd"
    if mode == "hybrid":
        mounts[""] = f"{V2_MOUNT}/unified"
    return Layout(mounts=mounts, own=dict.fromkeys(mounts, ""))


def parse_mounts(mountinfo: str) -> "list[CgroupMount]":
    """Find the cgroup file systems in the text of /proc/self/mountinfo; proc_pid_mountinfo(5).

    A mount that lies under a later one cannot be reached and is left out.
    """
    found: list[CgroupMount] = []
    for line in mountinfo.split("\n"):
        head, separator, tail = line.partition(" - ")
        fields, described = head.split(" "), tail.split(" ")
        if not separator or len(fields) < 6 or len(described) < 3:
            continue
        root, point = _unescape(fields[3]), _unescape(fields[4])
        found = [mount for mount in found if not _lies_in(mount.point, point)]
        if described[0] == "cgroup2":
            found.append(CgroupMount(keys=("",), root=root, point=point))
        elif described[0] == "cgroup":
            keys = tuple(word for word in described[2].split(",") if _is_controller(word))
            found.append(CgroupMount(keys=keys, root=root, point=point))
    return found


def _is_controller(word: str) -> bool:
    """Tell a controller, or systemd's own hierarchy, from a mount option."""
    return word == SYSTEMD or ("=" not in word and word not in V1_OPTIONS)


def _lies_in(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def _unescape(field: str) -> str:
    """Undo the kernel's octal escapes for space, tab, newline and backslash."""
    for escape, character in ESCAPES:
        field = field.replace(escape, character)
    return field


def parse_membership(text: str) -> "dict[str, str]":
    """Read the text of /proc/PID/cgroup: controller ("" for v2) to path; cgroups(7)."""
    membership = {}
    for line in text.split("\n"):
        _, _, rest = line.partition(":")
        keys, separator, path = rest.partition(":")
        if separator:
            for key in keys.split(","):
                membership[key] = path.removesuffix(" (deleted)")
    return membership


def present_cgroup(cgroup: Cgroup, pid: int) -> Cgroup:
    """Return a container's cgroup with that of v2 in which a process of it is now.

    Raises:
        KernelError: the process has gone.
    """
    try:
        path = parse_membership(read(f"/proc/{pid}/cgroup")).get("", "")
        mounts = parse_mounts(read("/proc/self/mountinfo"))
    except OSError as error:
        raise wrap(f"looking for the cgroup of process {pid}", error) from error
    paths = cgroup.paths()
    for mount in mounts:
        if "" in mount.keys and _lies_in(paths[""], mount.point) and ".." not in path.split("/"):
            return Cgroup({**paths, "": f"{mount.point.rstrip('/')}{_below(path, mount.root)}"})
    return cgroup


def make_layout(mountinfo: str, membership: str) -> Layout:
    """Combine the texts of /proc/self/mountinfo and /proc/self/cgroup.

    A mount may show only a part of its hierarchy (inside of a container): its root is taken off the path.
    """
    paths = parse_membership(membership)
    mounts: dict[str, str] = {}
    own: dict[str, str] = {}
    # The usual places come first, bind mounts elsewhere only count where nothing else is.
    for mount in sorted(parse_mounts(mountinfo), key=lambda mount: not _lies_in(mount.point, V2_MOUNT)):
        for key in mount.keys:
            if key in paths and key not in mounts:
                mounts[key] = mount.point
                own[key] = _below(paths[key], mount.root)
    return Layout(mounts=mounts, own=own)


def _below(path: str, root: str) -> str:
    """Give *path* as seen from *root*; unchanged when it does not lie there."""
    if root != "/" and _lies_in(path, root):
        path = path[len(root) :]
    return path.rstrip("/")


def detect() -> Layout:
    """Find the hierarchies of this host.

    On a pure v2 host the answer needs no look at the mount table, which can be long.

    Raises:
        KernelError: /proc cannot be read.
    """
    try:
        membership = read("/proc/self/cgroup")
        paths = parse_membership(membership)
        if list(paths) == [""]:
            own = paths[""].rstrip("/")
            if ".." not in own and _is_cgroup(f"{V2_MOUNT}{own}"):
                return Layout(mounts={"": V2_MOUNT}, own={"": own})
        return make_layout(read("/proc/self/mountinfo"), membership)
    except OSError as error:
        raise wrap("looking for the cgroup file systems", error) from error


def _is_cgroup(path: str) -> bool:
    """Tell whether *path* is a directory of cgroup2: v1 has no such file."""
    try:
        posix.stat(f"{path}/cgroup.controllers")
    except OSError:
        return False
    return True


def plan_cgroup(cgroups_path: str | None, container_id: str, layout: Layout, manager: str) -> Cgroup:
    """Choose the cgroup of a new container; nothing is made yet.

    An absolute cgroupsPath starts at the mount points.  A relative one starts, as with runc, at the runtime's
    own cgroup with v1 and at the parent of that with v2, where a cgroup with processes can have no limited
    children.  Without one the container's id is the relative path.

    Raises:
        ConfigError: the path leaves its hierarchy or is the hierarchy's root.
        KernelError: no cgroup file system is mounted.
        UsageError: the manager is unknown, or not there yet.
    """
    if manager == "disabled":
        return Cgroup({})
    if manager != "cgroupfs":
        raise UsageError(NO_SYSTEMD if manager == "systemd" else f"unknown cgroup manager {manager!r}")
    if not layout.mounts:
        raise KernelError(
            "looking for the cgroup file systems",
            errno.ENOENT,
            hint="none is mounted; --cgroup-manager=disabled runs containers without cgroups",
        )
    wanted = cgroups_path or container_id
    absolute = wanted.startswith("/")
    parts = [part for part in wanted.split("/") if part not in ("", ".")]
    if not parts or ".." in parts:
        problem = Problem(
            pointer="/linux/cgroupsPath", message=f"{wanted!r} does not name a cgroup below a root"
        )
        raise ConfigError("config.json", [problem])
    paths = {}
    for key, mount in layout.mounts.items():
        base = "" if absolute else _base(key, layout.own[key])
        paths[key] = f"{mount}{base}/{'/'.join(parts)}"
    return Cgroup(paths, roots=dict(layout.mounts), explicit=bool(cgroups_path))


def _base(key: str, own: str) -> str:
    """Give the cgroup that a relative path starts at."""
    if ".." in own.split("/"):
        raise Error(
            "the runtime's own cgroup lies outside of its cgroup namespace, where no relative cgroupsPath"
            " can start; give an absolute one"
        )
    return own if key else own.rpartition("/")[0]


def ownership_wanted(namespaces: "Iterable[Namespace]", mounts: "Iterable[Mount]") -> bool:
    """Tell whether the cgroup should belong to the container's user: config-linux.md#cgroup-ownership.

    That is so when the container gets a new cgroup namespace and a writable cgroup mount on /sys/fs/cgroup.
    """
    if not is_new(namespaces, "cgroup"):
        return False
    return any(
        mount.source == "cgroup"
        and normal_path(mount.destination) == V2_MOUNT
        and not {"ro", "rro"} & set(mount.options)
        for mount in mounts
    )
