"""The mounts of config.md#mounts: all sources are opened first, then each mount is made detached and attached."""

from errno import EINVAL, ENODEV, EPERM

from pyoci import operations as ops
from pyoci.config.check import is_bind
from pyoci.config.forms import normal_path
from pyoci.config.model import Mount
from pyoci.config.tables import MOUNT_OPTIONS, PROPAGATION
from pyoci.errors import ConfigError, Problem
from pyoci.linux import MS_REC
from pyoci.plan import cgroupfs, cover, readonly
from pyoci.plan.builder import Builder
from pyoci.plan.namespaces import namespace_slot
from pyoci.plan.options import Options
from pyoci.plan.sources import open_source, path_in_root
from pyoci.stage.inputs import UserNamespace

# Containers may share a superblock of these (those of one network namespace share a sysfs), and a tmpfs has to be
# filled before it becomes read-only: there "ro" is an attribute of the mount, not of the file system.
SHARED_SUPERBLOCK = ("proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2")

# Mounts below /proc are allowed only on these files, which lxcfs and the like provide (CVE-2019-16884).
PROC_ALLOWED = frozenset(
    (
        "cpuinfo",
        "diskstats",
        "meminfo",
        "stat",
        "swaps",
        "uptime",
        "loadavg",
        "slabinfo",
        "sys/kernel/ns_last_pid",
        "sys/crypto/fips_enabled",
    )
)

HINTS = {
    EPERM: "the user namespace must own the namespace that this file system belongs to"
    " (pid for proc, network for sysfs)",
    ENODEV: "the kernel does not know this file system",
}


def open_sources(builder: Builder) -> None:
    """Open the source of every bind mount before the first mount of the container is made (CVE-2021-30465).

    A source inside the container's own root file system is opened later, in its turn, so that earlier mounts are seen.
    """
    for index, (mount, options) in enumerate(zip(builder.config.mounts, builder.mount_options, strict=True)):
        if is_bind(mount) and "remount" not in options.names:
            if not path_in_root(builder, _source(builder, mount)):
                _open_bind(builder, index, mount, options)
        elif source := _foreign(builder, mount):
            open_source(builder, cover.slot_of(index), source, f"/mounts/{index}", recursive=True)
        elif mount.type == "cgroup":
            cgroupfs.open_sources(builder, index)


def _source(builder: Builder, mount: Mount) -> str:
    """Return the absolute path of a bind mount's source; a relative one starts at the bundle (config.md#mounts)."""
    source = mount.source or ""
    return source if source.startswith("/") else f"{builder.request.bundle}/{source}"


def _open_bind(builder: Builder, index: int, mount: Mount, options: Options) -> None:
    if not mount.source:
        raise _problem(f"/mounts/{index}/source", "a bind mount needs a source")
    _refuse_data(index, mount, options)
    source = _source(builder, mount)
    inside = path_in_root(builder, source)
    wish = builder.config.linux.rootfsPropagation or ""
    open_source(
        builder,
        cover.slot_of(index),
        inside or source,
        f"/mounts/{index}/source",
        recursive="rbind" in options.names,
        nofollow=bool({"src-nofollow", "copy-symlink"} & options.names),
        shared="shared" in wish and bool(options.propagation & PROPAGATION["shared"]) and not inside,
        in_root=bool(inside),
    )


def _refuse_mappings(index: int, mount: Mount, options: Options) -> None:
    """Refuse id mappings of an entry that does not make exactly one mount."""
    if _is_mapped(mount, options):
        raise _problem(f"/mounts/{index}", "the ids of this mount cannot be mapped")


def _refuse_data(index: int, mount: Mount, options: Options) -> None:
    """Refuse file system options of an entry that does not make a file system."""
    if options.data:
        at = next(i for i, text in enumerate(mount.options) if text not in MOUNT_OPTIONS)
        raise _problem(f"/mounts/{index}/options/{at}", f'unknown mount option "{mount.options[at]}"')


def _problem(pointer: str, message: str) -> ConfigError:
    return ConfigError("config.json", [Problem(pointer=pointer, message=message)])


def _foreign(builder: Builder, mount: Mount) -> str:
    """Return the host's mount that is bound in place of a file system that pyoci may not mount; "" for none.

    Only the owner of a network or IPC namespace may mount the file system that shows it.  crun does the same.
    """
    for kind, namespace, place in (("sysfs", "network", "/sys"), ("mqueue", "ipc", "/dev/mqueue")):
        if mount.type == kind and not builder.owns(namespace):
            return place
    return ""


def _recursive(options: Options) -> Options:
    """Apply the flags to the mounts below as well: the host's /sys comes with its mounts, and "ro" means them too."""
    return Options(
        recursive_set=options.set | options.recursive_set,
        propagation=options.propagation,
        names=options.names,
    )


def mount_all(builder: Builder) -> None:
    """Make and attach every mount in the order of the configuration."""
    remounted = cover.remounted(builder.config.mounts)
    for index, (mount, options) in enumerate(zip(builder.config.mounts, builder.mount_options, strict=True)):
        target = normal_path(mount.destination)
        _check_proc(index, mount, target)
        if "remount" in options.names:
            _refuse_mappings(index, mount, options)
            options = readonly.postpone_remount(builder, index, remounted[index], options)
            _remount(builder, index, target, options)
        elif is_bind(mount):
            _open_bind(builder, index, mount, options)  # unless open_sources() has done it
            _attach(builder, index, mount, target, options, mount.source or "")
        elif source := _foreign(builder, mount):
            _refuse_mappings(index, mount, options)
            _attach(builder, index, mount, target, _recursive(options), source)
        elif mount.type == "cgroup":
            _refuse_mappings(index, mount, options)
            if not cgroupfs.takes_data(builder):
                _refuse_data(index, mount, options)
            cgroupfs.mount(builder, index, target, options)
            _propagate(builder, index, target, options)
        else:
            _filesystem(builder, index, mount, target, options)


def _check_proc(index: int, mount: Mount, target: str) -> None:
    """Refuse mounts over /proc, or over parts of it that the kernel's or the runtime's security relies on."""
    if target == "/proc":
        if mount.type != "proc" and not (is_bind(mount) and _is_proc(mount.source or "")):
            raise _problem(f"/mounts/{index}/destination", "only proc may be mounted on /proc")
    elif target.startswith("/proc/") and target[6:] not in PROC_ALLOWED:
        raise _problem(
            f"/mounts/{index}/destination", f"{target} lies inside /proc, where nothing may be mounted"
        )


def _is_proc(source: str) -> bool:
    """Return whether a source is the host's /proc; one with ``..`` may lead elsewhere through a symbolic link."""
    return ".." not in source and source.startswith("/") and normal_path(source) == "/proc"


def _filesystem(builder: Builder, index: int, mount: Mount, target: str, options: Options) -> None:
    kind = mount.type or "none"
    options = readonly.postpone(builder, index, options)
    data = list(options.data)
    if kind in SHARED_SUPERBLOCK:
        data += [word for word in options.words if word not in ("ro", "rw")]
    else:
        data += options.words
    label = builder.config.linux.mountLabel
    if label and kind not in ("proc", "sysfs", "cgroup2") and not any("context=" in text for text in data):
        data.append(f"context={label}")
    slot, origin = cover.slot_of(index), f"/mounts/{index}"
    fsmount = ops.Fsmount(
        mount=slot,
        type=kind,
        options=data,
        source=mount.source or kind,
        attributes=options.set | options.recursive_set,
    )
    builder.add(fsmount, f"mounting {kind} on {target}", origin, hints=HINTS)
    content = "copyup" in options.names
    if kind == "tmpfs" and (content or not any(text.startswith("mode=") for text in data)):
        copy_up = ops.CopyUp(mount=slot, target=target, mode=True, content=content)
        builder.add(copy_up, f"filling the tmpfs for {target}", origin)
    after = Options(propagation=options.propagation, names=options.names)
    _attach(builder, index, mount, target, after, kind)


def _attach(builder: Builder, index: int, mount: Mount, target: str, options: Options, what: str) -> None:
    """Set the attributes of the detached mount, then attach it."""
    _attributes(builder, index, target, options)
    builder.add(
        ops.Attach(
            mount=cover.slot_of(index),
            target=target,
            literal=mount.type in ("proc", "sysfs") and not is_bind(mount),
            nofollow="dest-nofollow" in options.names,
            below_proc=target.startswith("/proc/"),
        ),
        f"attaching {what} to {target}",
        f"/mounts/{index}",
    )


def _attributes(builder: Builder, index: int, target: str, options: Options) -> None:
    slot, origin = cover.slot_of(index), f"/mounts/{index}/options"
    mapped = _idmap(builder, index, options)
    for recursive, add, remove in (
        (False, options.set, options.clear),
        (True, options.recursive_set, options.recursive_clear),
    ):
        if add or remove:
            builder.add(
                ops.SetAttributes(mount=slot, set=add, clear=remove, recursive=recursive),
                f"setting the mount flags of {target}",
                origin,
                hints={EPERM: "a flag that the host's mount has is locked in a user namespace"},
            )
    if mapped:
        builder.add(
            ops.SetAttributes(mount=slot, idmap=mapped, recursive="ridmap" in options.names, helper=builder.helper),
            f"mapping the ids of {target}",
            origin,
            hints={EINVAL: "the file system does not support id-mapped mounts"},
        )
    if propagation := options.propagation:
        builder.add(
            ops.SetAttributes(
                mount=slot, propagation=propagation & ~MS_REC, recursive=bool(propagation & MS_REC)
            ),
            f"setting the propagation of {target}",
            origin,
        )


def _is_mapped(mount: Mount, options: Options) -> bool:
    """Return whether the configuration asks for id mappings of a mount."""
    return bool({"idmap", "ridmap"} & options.names or mount.uidMappings)


def _idmap(builder: Builder, index: int, options: Options) -> str:
    """Return the slot of the user namespace that holds the mappings of a mount: its own, or those of the container."""
    mount, linux = builder.config.mounts[index], builder.config.linux
    if not _is_mapped(mount, options):
        return ""
    if "user" in builder.joined and not mount.uidMappings:
        return namespace_slot("user")
    uids, gids = mount.uidMappings or linux.uidMappings, mount.gidMappings or linux.gidMappings
    return builder.give(
        UserNamespace(slot=f"idmap {index}", uids=tuple(uids), gids=tuple(gids), origin=f"/mounts/{index}/uidMappings")
    )


def _remount(builder: Builder, index: int, target: str, options: Options) -> None:
    bind = is_bind(builder.config.mounts[index])
    data = [] if bind else [*options.data, *options.words]
    builder.add(
        ops.Remount(target=target, set=options.set, clear=options.clear, options=data, bind=bind),
        f"remounting {target}",
        f"/mounts/{index}",
    )
    if options.recursive_set or options.recursive_clear:
        builder.add(
            ops.Remount(
                target=target, set=options.recursive_set, clear=options.recursive_clear, bind=True, recursive=True
            ),
            f"setting the mount flags of {target} and below",
            f"/mounts/{index}/options",
        )
    _propagate(builder, index, target, options)


def _propagate(builder: Builder, index: int, target: str, options: Options) -> None:
    """Set the propagation of a mount that is attached already."""
    if options.propagation:
        builder.add(
            ops.Propagate(target=target, propagation=options.propagation),
            f"setting the propagation of {target}",
            f"/mounts/{index}/options",
        )
