"""The root file system apart from its mounts: devices, links, terminal, pivot.

config-linux.md#default-devices, #devices; runtime-linux.md#dev-symbolic-links.
"""

from collections.abc import Sequence
from errno import EEXIST, EINVAL, ENODEV, ENOENT, EXDEV

from pyoci import operations as ops
from pyoci.config.check import is_bind
from pyoci.config.forms import normal_path
from pyoci.config.model import Device, IDMapping, Process
from pyoci.config.tables import PROPAGATION
from pyoci.errors import ConfigError, Problem
from pyoci.linux import (
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MS_PRIVATE,
    MS_REC,
    MS_SHARED,
    MS_SLAVE,
    MS_UNBINDABLE,
    S_IFBLK,
    S_IFCHR,
    S_IFIFO,
)
from pyoci.plan import cover, readonly
from pyoci.plan.builder import Builder
from pyoci.plan.sources import open_source
from pyoci.stage.inputs import DeviceNode

DEVICE_TYPES = {"c": S_IFCHR, "u": S_IFCHR, "b": S_IFBLK, "p": S_IFIFO}

DEFAULT_DEVICES = (
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/tty", 5, 0),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
)

DEVICE_LINKS = (
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/core", "/proc/kcore"),
)

# A node needs neither set-id bits nor to be executed; what is bound would else have what the host's mount has.
NOSUID_NOEXEC = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC
EXISTS_HINT = "another file is already at that path"
CONSOLE = "console"
ROOT = "root"


def root(builder: Builder) -> None:
    """Detach the stage's copy of the host's mounts from the host, and make the bundle's root a mount of its own.

    The old tree becomes slave or private in any case, because pivot_root(2) refuses shared parents.
    rootfsPropagation is applied to the new root after the pivot.
    """
    wish = builder.config.linux.rootfsPropagation
    kind = PROPAGATION.get(wish or "rslave", 0)
    host = MS_PRIVATE if kind & MS_PRIVATE else MS_SLAVE
    builder.add(
        ops.HostPropagation(propagation=host | MS_REC),
        "detaching the mounts from the host's",
        "/linux/rootfsPropagation" if wish else "",
    )
    if "mount" in builder.joined:
        builder.add(ops.Chdir(path=builder.request.rootfs), "changing to the root file system", "/root/path")
    private = MS_PRIVATE | MS_REC if kind & (MS_PRIVATE | MS_SHARED) else 0
    builder.add(ops.Root(mount=ROOT, propagation=private), "mounting the root file system", "/root/path")


def needs_devices(builder: Builder) -> bool:
    """Return whether pyoci populates /dev: it does not if a bind mount is there, as with runc."""
    kinds = [
        is_bind(mount)
        for mount in builder.config.mounts
        if normal_path(mount.destination) == "/dev" and "remount" not in mount.options
    ]
    return not kinds or not kinds[-1]


def default_devices(builder: Builder) -> list[tuple[str, int, int]]:
    """Return the default devices that the configuration does not list itself, as path, major and minor."""
    listed = [path for _, _, path in listed_devices(builder)]
    return [device for device in DEFAULT_DEVICES if device[0] not in listed]


def listed_devices(builder: Builder) -> list[tuple[int, Device, str]]:
    """Return the devices of the configuration that pyoci makes: index, device, path in normal form.

    Engines list all of the host's devices for a privileged container.  /dev/ptmx is left out, because it is a link to
    the container's own devpts, and so is everything in a /dev that was bound from elsewhere.
    """
    ours = needs_devices(builder)
    listed = [
        (index, device, normal_path(device.path)) for index, device in enumerate(builder.config.linux.devices)
    ]
    return [each for each in listed if (ours and each[2] != "/dev/ptmx") or not each[2].startswith("/dev/")]


def open_devices(builder: Builder) -> None:
    """Open mounts of device nodes, if processes of the container may not make nodes.

    The default devices are clones of the host's.  A configured device has an owner and a mode, and may not exist on the
    host: the host side makes it, if it has the right to and knows the id mappings.
    """
    if builder.makes_nodes():
        return
    if needs_devices(builder):
        for path, _, _ in default_devices(builder):
            open_source(builder, f"device {path}", path)
    for index, device, path in listed_devices(builder):
        if device.type == "p":
            continue
        if builder.facts.privileged and builder.facts.initial and "user" in builder.new:
            _give_node(builder, index, device, path)
        else:
            open_source(builder, f"device {index}", path, f"/linux/devices/{index}")


def _give_node(builder: Builder, index: int, device: Device, path: str) -> None:
    """Have the host side make a device node; it needs the owner as the host's ids."""
    slot, origin = f"device {index}", f"/linux/devices/{index}"
    builder.sources[slot] = path
    linux = builder.config.linux
    owner = [
        _host_id(maps, wish or 0, f"{origin}/{name}")
        for maps, wish, name in (
            (linux.uidMappings, device.uid, "uid"),
            (linux.gidMappings, device.gid, "gid"),
        )
    ]
    node = DeviceNode(
        slot=slot,
        path=path,
        type=DEVICE_TYPES[device.type],
        mode=_mode(device),
        number=makedev(device.major or 0, device.minor or 0),
        uid=owner[0],
        gid=owner[1],
        origin=origin,
    )
    builder.give(node)


def _mode(device: Device) -> int:
    return 0o666 if device.fileMode is None else device.fileMode & 0o7777


def _host_id(mappings: Sequence[IDMapping], number: int, pointer: str) -> int:
    """Return the host's id for an id of the container."""
    for each in mappings:
        if 0 <= number - each.containerID < each.size:
            return each.hostID + number - each.containerID
    problem = Problem(pointer=pointer, message=f"{number} is not mapped in the container's user namespace")
    raise ConfigError("config.json", [problem])


def devices(builder: Builder) -> None:
    """Make the default devices and links, then the configured devices."""
    if needs_devices(builder):
        _verify_dev(builder)
        for path, major, minor in default_devices(builder):
            node = ops.Device(path=path, type=S_IFCHR, number=makedev(major, minor), mode=0o666, uid=0, gid=0)
            _device(builder, f"device {path}", node, "")
        ptmx = ops.Symlink(text="pts/ptmx", path="/dev/ptmx", replace=True)
        builder.add(ptmx, "linking /dev/ptmx to pts/ptmx")
        for link, text in DEVICE_LINKS:
            builder.add(ops.Symlink(text=text, path=link, if_exists=True), f"linking {link} to {text}")
    for index, device, path in listed_devices(builder):
        node = ops.Device(
            path=path,
            type=DEVICE_TYPES[device.type],
            number=makedev(device.major or 0, device.minor or 0),
            mode=_mode(device),
            uid=device.uid or 0,
            gid=device.gid or 0,
        )
        _device(builder, f"device {index}", node, f"/linux/devices/{index}")


def _verify_dev(builder: Builder) -> None:
    """Fail if a symbolic link of the image has led another mount to /dev: that could be the host's /dev."""
    mounts = builder.config.mounts
    index = cover.covering(mounts, ["/dev"])[0]
    if index < 0:
        return
    point = normal_path(mounts[index].destination)
    builder.add(
        ops.VerifyMount(mount=cover.slot_of(index), path=point),
        f"verifying that {point} is the mount that was made there",
        f"/mounts/{index}",
        hints={EXDEV: "a symbolic link of the root file system has led another mount to it"},
    )


def makedev(major: int, minor: int) -> int:
    """Combine both parts of a device number as the kernel does."""
    return (major & 0xFFFFF000) << 32 | (major & 0xFFF) << 8 | (minor & 0xFFFFFF00) << 12 | minor & 0xFF


def _device(builder: Builder, slot: str, node: ops.Device, origin: str) -> None:
    """Make the node, or bind the one in *slot* if it is open."""
    path = node.path
    if slot not in builder.sources:
        builder.add(node, f"making the device {path}", origin, hints={EEXIST: EXISTS_HINT})
        return
    builder.add(
        # Private, so that what covers it in the container does not cover the host's.
        ops.SetAttributes(mount=slot, set=NOSUID_NOEXEC, propagation=MS_PRIVATE),
        f"making the device {path} private, nosuid and noexec",
        origin,
    )
    builder.add(
        ops.Attach(mount=slot, target=path, device=True, node_type=node.type, node_number=node.number),
        f"binding the device {path}",
        origin,
        hints={EEXIST: EXISTS_HINT, ENODEV: "the host has another device by that name"},
    )


def console(builder: Builder) -> None:
    """Make the terminal, if the process has one."""
    process = builder.config.process
    if process and process.terminal:
        terminal(builder, process, bind=True)


def terminal(builder: Builder, process: Process, *, bind: bool) -> None:
    """Make a pseudoterminal in the container's devpts; with *bind* it is bound on /dev/console."""
    size = process.consoleSize
    builder.add(
        ops.Console(
            peer=CONSOLE,
            rows=size.height if size else 0,
            columns=size.width if size else 0,
            owner=process.user.uid,
            bind=bind,
        ),
        "making the terminal",
        "/process/terminal",
        hints={ENOENT: "a terminal needs a devpts mount on /dev/pts"},
    )


def take_terminal(builder: Builder) -> None:
    """Make the terminal the controlling one."""
    builder.add(ops.ControllingTty(peer=CONSOLE), "taking the terminal", "/process/terminal")


def try_working_directory(builder: Builder, process: Process, *, create: bool) -> None:
    """Change to the working directory; EACCES is no error yet, because another user may be allowed to."""
    chdir = ops.Chdir(path=process.cwd, create=create, attempt=True)
    builder.add(chdir, f"changing to the directory {process.cwd}", "/process/cwd")


def working_directory(builder: Builder, process: Process) -> None:
    """Change to the working directory, unless an earlier attempt has succeeded."""
    chdir = ops.Chdir(path=process.cwd, otherwise=True)
    builder.add(chdir, f"changing to the directory {process.cwd}", "/process/cwd")


def change_root(builder: Builder) -> None:
    """Only chroot(2): without a mount namespace there are no mounts of the container's own to change or to pivot."""
    builder.add(ops.Pivot(chroot=True), "changing the root directory", "/root/path")


def pivot(builder: Builder) -> None:
    """Make the container's root file system the root, and apply what has to come after that."""
    if builder.request.noPivot:
        builder.add(ops.Pivot(move=True), "moving the root file system to / (--no-pivot)")
    else:
        hints = {EINVAL: "a root file system on an initramfs needs --no-pivot"}
        builder.add(ops.Pivot(), "pivoting into the root file system", hints=hints)
    wish = builder.config.linux.rootfsPropagation
    if wish and PROPAGATION[wish] & (MS_SHARED | MS_UNBINDABLE):
        propagate = ops.Propagate(target="/", propagation=PROPAGATION[wish])
        builder.add(propagate, f"making the root mount {wish}", "/linux/rootfsPropagation")
    if (builder.config.root.readonly or builder.late) and builder.config.process:
        try_working_directory(builder, builder.config.process, create=True)  # while it can be created
    readonly.finish(builder)
    if builder.config.root.readonly:
        builder.add(ops.RootReadonly(), "making the root file system read-only", "/root/readonly")
    if builder.config.process and builder.config.process.terminal:
        take_terminal(builder)
