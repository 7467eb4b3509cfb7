"""pyoci spec: write a config.json to begin with."""

import posix

from pyoci import codec
from pyoci.cgroups.layout import detect
from pyoci.config.tables import NAMESPACES
from pyoci.config.versions import NEWEST
from pyoci.errors import Error, wrap
from pyoci.files import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyoci.cli import Command

CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
MASKED = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/proc/scsi",
]
READONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]


def run(command: "Command") -> int:
    """Write the file; an existing one is never overwritten.

    Raises:
        Error: there is one already, or it cannot be written.
    """
    directory = str(command.options["bundle"]) or "."
    path = str(command.options["file"]) or f"{directory}/config.json"
    config = template(rootless=bool(command.options["rootless"]), v2=has_v2_alone())
    text = codec.dumps(config, indent="\t") + "\n"
    try:
        fd = posix.open(path, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o666)
    except FileExistsError:
        raise Error(f"{path} exists already; remove it first") from None
    except OSError as error:
        raise wrap(f"writing {path}", error) from error
    try:
        write_all(fd, text.encode())
    finally:
        posix.close(fd)
    return 0


def template(*, rootless: bool, v2: bool) -> "dict[str, Any]":
    """Give the default configuration: a shell with few capabilities, in namespaces of its own.

    v2 says that the host's cgroups are of version 2 alone.  Nothing here asks the host: the build calls this, too.
    """
    unwanted = ("user", "time") if v2 else ("user", "time", "cgroup")
    namespaces = [{"type": kind} for kind in NAMESPACES if kind not in unwanted]
    linux: dict[str, Any] = {
        "resources": {"devices": [{"allow": False, "access": "rwm"}]},
        "namespaces": namespaces,
        "maskedPaths": MASKED,
        "readonlyPaths": READONLY,
    }
    mounts = default_mounts()
    if rootless:
        linux["namespaces"] = [*(each for each in namespaces if each["type"] != "network"), {"type": "user"}]
        linux["uidMappings"] = [{"containerID": 0, "hostID": posix.geteuid(), "size": 1}]
        linux["gidMappings"] = [{"containerID": 0, "hostID": posix.getegid(), "size": 1}]
        del linux["resources"]
        mounts = rootless_mounts(mounts)
    return {
        "ociVersion": NEWEST,
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {name: CAPABILITIES for name in ("bounding", "effective", "permitted")},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "pyoci",
        "mounts": mounts,
        "linux": linux,
    }


def has_v2_alone() -> bool:
    """Return whether the host's cgroups are those of version 2: a cgroup namespace of version 1 is of little use."""
    try:
        return detect().mode == "v2"
    except Error:  # a configuration can be written where no container could run
        return False


def default_mounts() -> "list[dict[str, Any]]":
    """Give the file systems that programs expect: config-linux.md#default-filesystems."""

    def mount(destination: str, kind: str, *options: str, source: str = "") -> "dict[str, Any]":
        entry: dict[str, Any] = {"destination": destination, "type": kind, "source": source or kind}
        return {**entry, "options": list(options)} if options else entry

    quiet = ("nosuid", "noexec", "nodev")
    return [
        mount("/proc", "proc"),
        mount("/dev", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        mount("/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
        mount("/dev/shm", "tmpfs", *quiet, "mode=1777", "size=65536k", source="shm"),
        mount("/dev/mqueue", "mqueue", *quiet),
        mount("/sys", "sysfs", *quiet, "ro"),
        mount("/sys/fs/cgroup", "cgroup", *quiet, "relatime", "ro"),
    ]


def rootless_mounts(mounts: "list[dict[str, Any]]") -> "list[dict[str, Any]]":
    """Change what a user namespace cannot have: group 5 is not mapped, sysfs needs the network namespace."""
    changed = []
    for mount in mounts:
        kept = {
            **mount,
            "options": [text for text in mount.get("options", ()) if not text.startswith("gid=")],
        }
        if mount["type"] == "sysfs":
            kept = {
                "destination": "/sys",
                "type": "none",
                "source": "/sys",
                "options": ["rbind", "nosuid", "noexec", "nodev", "ro"],
            }
        if kept["options"] or "options" in mount:
            changed.append(kept)
        else:
            changed.append(mount)
    return changed
