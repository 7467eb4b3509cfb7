"""The cgroup hierarchies of the host, and the place of a container's cgroup in them; cgroups(7).

v2       one cgroup2 file system, on /sys/fs/cgroup
v1       a cgroup file system for each controller, or for several joined ones
hybrid   both; systemd mounts cgroup2 on /sys/fs/cgroup/unified then
"""

import errno
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pyoci.cgroups.cgroup import Cgroup
from pyoci.cgroups.files import read
from pyoci.config.check import is_new
from pyoci.config.forms import normal_path
from pyoci.config.model import Config, Mount, Namespace
from pyoci.errors import ConfigError, Error, KernelError, Problem, UsageError, wrap

V2_MOUNT = "/sys/fs/cgroup"
# Options of a v1 mount that are not controllers; kernel, admin-guide/cgroup-v1/cgroups.rst.
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
OCTAL_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The hierarchies of the host as this process sees them.

    mounts maps each v1 controller (``cpu``, ``name=systemd``) to its mount point, and "" to that of v2.  own maps the
    same keys to the cgroup of this process, as a path below the mount point ("" for the mount point itself).
    """

    mounts: Mapping[str, str] = field(default_factory=dict)
    own: Mapping[str, str] = field(default_factory=dict)

    @property
    def mode(self) -> str:
        """``v2``, ``v1``, ``hybrid`` or ``none``."""
        controllers = any(key and not key.startswith("name=") for key in self.mounts)
        if "" in self.mounts:
            return "hybrid" if controllers else "v2"
        return "v1" if self.mounts else "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class CgroupMount:
    """A cgroup mount in /proc/self/mountinfo: keys are its controllers ("" for v2), root the cgroup that it shows."""

    keys: tuple[str, ...]
    root: str
    point: str


# The hierarchies that systemd mounts for v1; a hierarchy can have several controllers.
V1_HIERARCHIES = (
    *("cpuset", "cpu,cpuacct", "blkio", "memory", "devices", "freezer", "net_cls,net_prio", "perf_event", "hugetlb"),
    *("pids", "rdma", "misc"),
)


def usual(mode: str) -> Layout:
    """Return the layout that a host with v1, v2 or hybrid usually has, for a process in the root of each hierarchy."""
    mounts = {"": V2_MOUNT} if mode == "v2" else {}
    if mode != "v2":
        mounts = {key: f"{V2_MOUNT}/{names}" for names in V1_HIERARCHIES for key in names.split(",")}
        mounts[SYSTEMD] = f"{V2_MOUNT}/systemd"
    if mode == "hybrid":
        mounts[""] = f"{V2_MOUNT}/unified"
    return Layout(mounts=mounts, own=dict.fromkeys(mounts, ""))


def parse_mounts(mountinfo: str) -> list[CgroupMount]:
    """Return the cgroup file systems in the text of /proc/self/mountinfo; proc_pid_mountinfo(5).

    Mounts that are hidden by a later mount are left out.
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
    return word == SYSTEMD or ("=" not in word and word not in V1_OPTIONS)


def _lies_in(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def _unescape(field: str) -> str:
    return OCTAL_ESCAPE.sub(lambda match: chr(int(match[1], 8)), field) if "\\" in field else field


def parse_membership(text: str) -> dict[str, str]:
    """Return the cgroup of each controller ("" for v2) in the text of /proc/PID/cgroup; cgroups(7)."""
    membership = {}
    for line in text.split("\n"):
        _, _, rest = line.partition(":")
        keys, separator, path = rest.partition(":")
        if separator:
            for key in keys.split(","):
                membership[key] = path.removesuffix(" (deleted)")
    return membership


def present_cgroup(cgroup: Cgroup, pid: int) -> Cgroup:
    """Return a container's cgroup, but in v2 the one that its process *pid* is in at present.

    Raises:
        KernelError: the process does not exist.
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
    """Return the layout for the texts of /proc/self/mountinfo and /proc/self/cgroup.

    A mount may show only a part of its hierarchy, for example in a container.  Its root is then removed from the path.
    """
    paths = parse_membership(membership)
    mounts: dict[str, str] = {}
    own: dict[str, str] = {}
    # A bind mount elsewhere only counts if the hierarchy is not mounted in the usual place.
    for mount in sorted(parse_mounts(mountinfo), key=lambda mount: not _lies_in(mount.point, V2_MOUNT)):
        for key in mount.keys:
            if key in paths and key not in mounts:
                mounts[key] = mount.point
                own[key] = _below(paths[key], mount.root)
    return Layout(mounts=mounts, own=own)


def _below(path: str, root: str) -> str:
    """Return *path* relative to *root*, or unchanged if it is not below it."""
    if root != "/" and _lies_in(path, root):
        path = path[len(root) :]
    return path.rstrip("/")


def detect() -> Layout:
    """Return the layout of this host.

    On a pure v2 host this does not read the mount table, which can be long.

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
    """Return whether *path* is a directory of cgroup2; only those have cgroup.controllers."""
    try:
        os.stat(f"{path}/cgroup.controllers")
    except OSError:
        return False
    return True


def plan_cgroup(cgroups_path: str | None, container_id: str, layout: Layout, manager: str) -> Cgroup:
    """Return the cgroup of a new container, without creating it.

    An absolute cgroupsPath is relative to the mount points.  A relative one is, as in runc, relative to the runtime's
    own cgroup in v1 and to the parent of that in v2, where a cgroup with processes cannot have children with limits.
    Without a cgroupsPath the container's id is the relative path.

    Raises:
        ConfigError: the path leaves its hierarchy or is the hierarchy's root.
        KernelError: no cgroup file system is mounted.
        UsageError: the manager is unknown, or not supported yet.
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
    """Return the cgroup that a relative cgroupsPath is relative to."""
    if ".." in own.split("/"):
        raise Error(
            "the runtime's own cgroup is outside of its cgroup namespace, so a relative cgroupsPath"
            " cannot be used; give an absolute one"
        )
    return own if key else own.rpartition("/")[0]


def cgroup_owner(config: Config) -> int | None:
    """Return the host's uid that the container's cgroup should belong to, None if it keeps its owner."""
    linux = config.linux
    roots = [mapping.hostID for mapping in linux.uidMappings if mapping.containerID == 0]
    return roots[0] if roots and ownership_wanted(linux.namespaces, config.mounts) else None


def ownership_wanted(namespaces: Iterable[Namespace], mounts: Iterable[Mount]) -> bool:
    """Return whether the cgroup should belong to the container's user: config-linux.md#cgroup-ownership.

    It should if the container has a new cgroup namespace and a writable cgroup mount on /sys/fs/cgroup.
    """
    if not is_new(namespaces, "cgroup"):
        return False
    return any(
        mount.source == "cgroup"
        and normal_path(mount.destination) == V2_MOUNT
        and not {"ro", "rro"} & set(mount.options)
        for mount in mounts
    )
