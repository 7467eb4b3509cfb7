"""Mounts of type ``cgroup``: the container sees its cgroups in the layout of the host.

With v2 that is a cgroup2 file system; with v1 (and hybrid, whose controllers are v1) a tmpfs with one directory for
each hierarchy.  In a cgroup namespace the container's own cgroup is the root of what is mounted.  Without one, the
container's directories of v1 are bound; a hierarchy in which it has no cgroup is left out.  A user namespace that may
not mount the host's v2 hierarchy gets the host's directory bound.
"""

from pyoci import operations as ops
from pyoci.linux import MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY
from pyoci.plan import cover
from pyoci.plan.builder import Builder
from pyoci.plan.options import Options
from pyoci.plan.readonly import later
from pyoci.plan.sources import open_source

NOSUID_NODEV_NOEXEC = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC


def _hierarchies(builder: Builder) -> dict[str, list[str]]:
    """Return the v1 controllers that the container will see, by the mount point of their hierarchy."""
    points: dict[str, list[str]] = {}
    for key, point in builder.facts.layout.mounts.items():
        if key and ("cgroup" in builder.new or key in builder.request.cgroupPaths):
            points.setdefault(point, []).append(key)
    return points


def _is_v1(builder: Builder) -> bool:
    return builder.facts.layout.mode in ("v1", "hybrid")


def open_sources(builder: Builder, index: int) -> None:
    """Open the directories that will be bound, if any."""
    origin = f"/mounts/{index}"
    if _is_v1(builder):
        if "cgroup" not in builder.new:
            for point, keys in _hierarchies(builder).items():
                source = builder.request.cgroupPaths[keys[0]]
                open_source(builder, f"mount {index} {point}", source, origin)
    elif _binds_v2(builder):
        open_source(
            builder,
            cover.slot_of(index),
            builder.facts.layout.mounts.get("", "/sys/fs/cgroup"),
            origin,
            recursive=True,
        )


def takes_data(builder: Builder) -> bool:
    """Return whether the mount may have file system options: only a new cgroup2 file system takes them."""
    return not _is_v1(builder) and not _binds_v2(builder)


def _binds_v2(builder: Builder) -> bool:
    return not builder.owns("cgroup")


def mount(builder: Builder, index: int, target: str, options: Options) -> None:
    """Plan the mount of the hierarchies on *target*."""
    if _is_v1(builder):
        _mount_v1(builder, index, target, options)
    else:
        _mount_v2(builder, index, target, options)


def _mount_v2(builder: Builder, index: int, target: str, options: Options) -> None:
    slot, origin = cover.slot_of(index), f"/mounts/{index}"
    attributes = options.set | options.recursive_set
    if _binds_v2(builder):
        set_attributes = ops.SetAttributes(mount=slot, set=attributes, recursive=True)
        builder.add(set_attributes, f"setting the mount flags of {target}", origin)
    else:
        fsmount = ops.Fsmount(
            mount=slot, type="cgroup2", options=list(options.data), source="cgroup", attributes=attributes
        )
        builder.add(fsmount, f"mounting cgroup2 on {target}", origin)
    builder.add(ops.Attach(mount=slot, target=target), f"attaching cgroup2 to {target}", origin)


def _mount_v1(builder: Builder, index: int, target: str, options: Options) -> None:
    origin, readonly = f"/mounts/{index}", (options.set | options.recursive_set) & MOUNT_ATTR_RDONLY
    slot, what = cover.slot_of(index), f"mounting a tmpfs for the cgroups on {target}"
    tmpfs = ops.Fsmount(
        mount=slot, type="tmpfs", options=["mode=755"], source="tmpfs", attributes=NOSUID_NODEV_NOEXEC
    )
    builder.add(tmpfs, what, origin)
    builder.add(ops.Attach(mount=slot, target=target), f"attaching the tmpfs for the cgroups to {target}", origin)
    for point, keys in _hierarchies(builder).items():
        _mount_hierarchy(builder, index, target, point, keys, NOSUID_NODEV_NOEXEC | readonly)
    if readonly:
        later(builder, index, index)


def _mount_hierarchy(
    builder: Builder, index: int, target: str, point: str, keys: list[str], attributes: int
) -> None:
    """Mount one v1 hierarchy in a directory of its own, with a link for each controller that shares it."""
    origin, slot, name = f"/mounts/{index}", f"mount {index} {point}", point.rpartition("/")[2]
    place = f"{target}/{name}"
    what = f"mounting the cgroup hierarchy {name} on {place}"
    if "cgroup" in builder.new:
        words = ["none", *keys] if keys[0].startswith("name=") else keys
        fsmount = ops.Fsmount(mount=slot, type="cgroup", options=words, source="cgroup", attributes=attributes)
        builder.add(fsmount, what, origin)
    else:
        builder.add(ops.SetAttributes(mount=slot, set=attributes), what, origin)
    builder.add(ops.Attach(mount=slot, target=place), f"attaching the cgroup hierarchy {name} to {place}", origin)
    for key in keys:
        if key != name and not key.startswith("name="):
            builder.add(ops.Symlink(text=name, path=f"{target}/{key}"), f"linking {key} to {name}", origin)
