"""The root file system around the mounts: devices, links, masked and read-only paths, the pivot.

config-linux.md#default-devices, #devices, #masked-paths, #readonly-paths; runtime-linux.md#dev-symbolic-links.
"""

from pyoci.config.check import is_bind
from pyoci.config.forms import normal_path
from pyoci.config.tables import PROPAGATION
from pyoci.errors import ConfigError, Problem
from pyoci.plan import cover, readonly
from pyoci.plan.builder import MS_PRIVATE, MS_REC, MS_SHARED, MS_SLAVE, MS_UNBINDABLE, Builder
from pyoci.plan.sources import open_source

S_IFCHR, S_IFBLK, S_IFIFO = 0o020000, 0o060000, 0o010000
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

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyoci.config.model import Device, IDMapping, Process

CHDIR_CREATE, CHDIR_RETRY = 1, 2
NOSUID_NOEXEC = 2 | 8  # a node needs neither; what is bound would else have what the host's mount has
EXISTS_HINT = "another file is already at that path"
EEXIST, EXDEV, ENODEV = 17, 18, 19


def root(builder: Builder) -> None:
    """Detach the stage's copy of the host's mounts from the host, then make the bundle's root a mount of its own.

    The old tree becomes slave or private whatever is asked for, because pivot_root(2) refuses shared
    parents; the wish is fulfilled on the new root, after the pivot.
    """
    wish = builder.config.linux.rootfsPropagation
    kind = PROPAGATION.get(wish or "rslave", 0)
    host = MS_PRIVATE if kind & MS_PRIVATE else MS_SLAVE
    builder.add(
        "OP_PROPAGATION",
        "detaching the mounts from the host's",
        "/linux/rootfsPropagation" if wish else "",
        numbers={"n": host | MS_REC},
    )
    if "mount" in builder.joined:
        builder.add(
            "OP_CHDIR",
            "changing to the root file system",
            "/root/path",
            strings={"a": builder.request.rootfs},
        )
    builder.add(
        "OP_ROOT",
        "mounting the root file system",
        "/root/path",
        slot="root",
        numbers={"n": MS_PRIVATE | MS_REC if kind & (MS_PRIVATE | MS_SHARED) else 0},
    )


def needs_devices(builder: Builder) -> bool:
    """Tell whether /dev is ours to fill: a bind mount on it belongs to whoever made it, as with runc."""
    kinds = [
        is_bind(mount)
        for mount in builder.config.mounts
        if normal_path(mount.destination) == "/dev" and "remount" not in mount.options
    ]
    return not kinds or not kinds[-1]


def default_devices(builder: Builder) -> "list[tuple[str, int, int]]":
    """Return the default devices, without those that the configuration lists itself."""
    listed = [path for _, _, path in listed_devices(builder)]
    return [device for device in DEFAULT_DEVICES if device[0] not in listed]


def listed_devices(builder: Builder) -> "list[tuple[int, Device, str]]":
    """Return the devices of the configuration that are made, each with its index and its path in normal form.

    Engines list the host's devices: /dev/ptmx is the link to the container's own devpts, and a /dev that
    was bound from elsewhere has what it has.
    """
    ours = needs_devices(builder)
    listed = [
        (index, device, normal_path(device.path)) for index, device in enumerate(builder.config.linux.devices)
    ]
    return [each for each in listed if (ours and each[2] != "/dev/ptmx") or not each[2].startswith("/dev/")]


def open_devices(builder: Builder) -> None:
    """Have device nodes ready, where the container's user namespace may make none.

    The default ones are clones of the host's.  A configured one has an owner and a mode, and need not be on the
    host, so the host side makes it, unless it has not the right to or does not know the id mappings.
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


def _give_node(builder: Builder, index: int, device: "Device", path: str) -> None:
    """Ask the host side for a detached mount of a device node; its owner in numbers of the host."""
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
    numbers = (DEVICE_TYPES[device.type] | _mode(device), makedev(device.major or 0, device.minor or 0), *owner)
    builder.give(slot, "node", path=path, detail=" ".join(map(str, numbers)), origin=origin)


def _mode(device: "Device") -> int:
    return 0o666 if device.fileMode is None else device.fileMode & 0o7777


def _host_id(mappings: "Sequence[IDMapping]", number: int, pointer: str) -> int:
    """Translate an id of the container."""
    for each in mappings:
        if 0 <= number - each.containerID < each.size:
            return each.hostID + number - each.containerID
    problem = Problem(pointer=pointer, message=f"{number} is not mapped in the container's user namespace")
    raise ConfigError("config.json", [problem])


def devices(builder: Builder) -> None:
    """Provide the default devices and links, then the configured ones."""
    if needs_devices(builder):
        _verify_dev(builder)
        for path, major, minor in default_devices(builder):
            _device(builder, f"device {path}", path, S_IFCHR, major << 8 | minor, 0o666, 0, 0, "")
        builder.add(
            "OP_SYMLINK",
            "linking /dev/ptmx to pts/ptmx",
            strings={"a": "pts/ptmx", "b": "/dev/ptmx"},
            flags=2,
        )
        for link, text in DEVICE_LINKS:
            builder.add("OP_SYMLINK", f"linking {link} to {text}", strings={"a": text, "b": link}, flags=1)
    for index, device, path in listed_devices(builder):
        number = makedev(device.major or 0, device.minor or 0)
        _device(
            builder,
            f"device {index}",
            path,
            DEVICE_TYPES[device.type],
            number,
            _mode(device),
            device.uid or 0,
            device.gid or 0,
            f"/linux/devices/{index}",
        )


def _verify_dev(builder: Builder) -> None:
    """Stop where a link of the image has led another mount to /dev: that could be the host's own."""
    mounts = builder.config.mounts
    index = cover.covering(mounts, ["/dev"])[0]
    if index < 0:
        return
    point = normal_path(mounts[index].destination)
    builder.add(
        "OP_VERIFY_MOUNT",
        f"verifying that {point} is the mount that was made there",
        f"/mounts/{index}",
        slot=cover.slot_of(index),
        strings={"a": point},
        hints={EXDEV: "a symbolic link of the root file system has led another mount to it"},
    )


def makedev(major: int, minor: int) -> int:
    """Combine both parts of a device number as the kernel does."""
    return (major & 0xFFFFF000) << 32 | (major & 0xFFF) << 8 | (minor & 0xFFFFFF00) << 12 | minor & 0xFF


def _device(
    builder: Builder, slot: str, path: str, kind: int, number: int, mode: int, uid: int, gid: int, origin: str
) -> None:
    if slot in builder.sources:
        builder.add(
            "OP_SETATTR",
            f"making the device {path} private, nosuid and noexec",  # private: what covers it must not cover the host's
            origin,
            slot=slot,
            numbers={"n": NOSUID_NOEXEC, "a": MS_PRIVATE},
        )
        builder.add(
            "OP_ATTACH",
            f"binding the device {path}",
            origin,
            slot=slot,
            flags=8,
            strings={"a": path},
            numbers={"m": kind << 32 | number},
            hints={EEXIST: EXISTS_HINT, ENODEV: "the host has another device by that name"},
        )
        return
    builder.add(
        "OP_DEVICE",
        f"making the device {path}",
        origin,
        strings={"a": path},
        numbers={"n": number, "m": kind, "b": mode, "c": uid, "d": gid},
        hints={EEXIST: EXISTS_HINT},
    )


def console(builder: Builder) -> None:
    """Make the terminal in the container's devpts, if there is to be one."""
    process = builder.config.process
    if process and process.terminal:
        terminal(builder, process, bind=True)


def terminal(builder: Builder, process: "Process", *, bind: bool) -> None:
    """Make a pty; its master goes to the caller, its peer may be bound on /dev/console."""
    size = process.consoleSize
    builder.add(
        "OP_CONSOLE",
        "making the terminal",
        "/process/terminal",
        slot="console",
        flags=1 if bind else 0,
        numbers={"n": (size.height << 16 | size.width) if size else 0, "a": process.user.uid},
        hints={2: "a terminal needs a devpts mount on /dev/pts"},
    )


def working_directory(builder: Builder, process: "Process", flags: int) -> None:
    """Change to the working directory; flags: CHDIR_CREATE makes it, CHDIR_RETRY leaves EACCES to a later try."""
    builder.add(
        "OP_CHDIR",
        f"changing to the directory {process.cwd}",
        "/process/cwd",
        flags=flags,
        strings={"a": process.cwd},
    )


def change_root(builder: Builder) -> None:
    """Only chroot: without a mount namespace there is no tree of our own to mount in or to pivot.

    Raises:
        ConfigError: the configuration asks for what only a mount namespace can give.
    """
    config = builder.config
    wishes = (
        ("/mounts", config.mounts),
        ("/process/terminal", config.process and config.process.terminal),
        ("/linux/devices", config.linux.devices),
        ("/linux/rootfsPropagation", config.linux.rootfsPropagation),
        ("/linux/mountLabel", config.linux.mountLabel),
        ("/linux/maskedPaths", config.linux.maskedPaths),
        ("/linux/readonlyPaths", config.linux.readonlyPaths),
        ("/root/readonly", config.root.readonly),
    )
    problems = [
        Problem(pointer=pointer, message="needs a mount namespace: the host's mounts are never changed")
        for pointer, wish in wishes
        if wish
    ]
    if problems:
        raise ConfigError("config.json", problems)
    builder.add("OP_PIVOT", "changing the root directory", "/root/path", flags=2)


def pivot(builder: Builder) -> None:
    """Enter the root, for good."""
    if builder.request.noPivot:
        builder.add("OP_PIVOT", "moving the root file system to / (--no-pivot)", flags=1)
    else:
        builder.add(
            "OP_PIVOT",
            "pivoting into the root file system",
            hints={22: "a root file system on an initramfs needs --no-pivot"},
        )
    wish = builder.config.linux.rootfsPropagation
    if wish and PROPAGATION[wish] & (MS_SHARED | MS_UNBINDABLE):
        builder.add(
            "OP_PROPAGATE",
            f"making the root mount {wish}",
            "/linux/rootfsPropagation",
            strings={"a": "/"},
            numbers={"n": PROPAGATION[wish]},
        )
    if (builder.config.root.readonly or builder.late) and builder.config.process:
        working_directory(builder, builder.config.process, CHDIR_CREATE | CHDIR_RETRY)  # while it can be made
    readonly.finish(builder)
    if builder.config.root.readonly:
        builder.add("OP_ROOT_READONLY", "making the root file system read-only", "/root/readonly")
    if builder.config.process and builder.config.process.terminal:
        builder.add("OP_CONTROLLING_TTY", "taking the terminal", "/process/terminal", slot="console")
