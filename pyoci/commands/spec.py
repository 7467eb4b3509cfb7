"""pyoci spec: write an example config.json."""

import os
from typing import Any

from pyoci import codec
from pyoci.cgroups.layout import detect
from pyoci.cli import Command
from pyoci.config.tables import NAMESPACES
from pyoci.config.versions import NEWEST
from pyoci.errors import Error, wrap
from pyoci.files import write_all

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


def run(command: Command) -> int:
    """Write the file.

    Raises:
        Error: it exists, or cannot be written.
    """
    path = command.options["file"] or f"{command.options['bundle'] or '.'}/config.json"
    config = template(rootless=command.options["rootless"], v2=is_pure_v2())
    text = codec.dumps(config, indent="\t") + "\n"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except FileExistsError:
        raise Error(f"{path} already exists; remove it first") from None
    except OSError as error:
        raise wrap(f"writing {path}", error) from error
    try:
        write_all(fd, text.encode())
    finally:
        os.close(fd)
    return 0


def template(*, rootless: bool, v2: bool) -> dict[str, Any]:
    """Return the example: a shell with few capabilities, in its own namespaces.

    v2 says that the host has only cgroup v2.  Nothing here depends on the host: the build calls this, too.
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
        linux["uidMappings"] = [{"containerID": 0, "hostID": os.geteuid(), "size": 1}]
        linux["gidMappings"] = [{"containerID": 0, "hostID": os.getegid(), "size": 1}]
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


def is_pure_v2() -> bool:
    """Return whether the host has only cgroup v2; a cgroup namespace is of little use with v1."""
    try:
        return detect().mode == "v2"
    except Error:  # the example can be written where no container can run
        return False


def default_mounts() -> list[dict[str, Any]]:
    """Return the file systems of config-linux.md#default-filesystems, and those that most programs need."""

    def mount(destination: str, kind: str, *options: str, source: str = "") -> dict[str, Any]:
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


def rootless_mounts(mounts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Change what fails in a user namespace: group 5 is not mapped, and sysfs needs an own network namespace."""
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
