"""Bundles: a root file system of almost nothing but the probe, and a config.json that tests change at will."""

import copy
import itertools
import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

PROBE = "/bin/probe"
DIRECTORIES = ("bin", "dev", "etc", "proc", "root", "sys", "tmp", "var/lib/data")
CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
HOST_ID, ID_COUNT = 100000, 65536

BASE: dict[str, Any] = {
    "ociVersion": "1.0.2",
    "process": {
        "terminal": False,
        "user": {"uid": 0, "gid": 0},
        "args": [PROBE, "report"],
        "env": ["PATH=/usr/local/bin:/bin:/usr/bin"],
        "cwd": "/",
        "capabilities": {
            "bounding": CAPABILITIES,
            "effective": CAPABILITIES,
            "permitted": CAPABILITIES,
        },
        "noNewPrivileges": True,
    },
    "root": {"path": "rootfs", "readonly": False},
    "hostname": "box",
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {
            "destination": "/dev",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
        },
        {
            "destination": "/dev/pts",
            "type": "devpts",
            "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
        },
        {
            "destination": "/dev/shm",
            "type": "tmpfs",
            "source": "shm",
            "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
        },
        {
            "destination": "/sys",
            "type": "sysfs",
            "source": "sysfs",
            "options": ["nosuid", "noexec", "nodev", "ro"],
        },
    ],
    "linux": {
        "namespaces": [{"type": t} for t in ("pid", "network", "ipc", "uts", "mount")],
    },
}


class Bundle:
    """A bundle directory; ``config`` is written out whenever the runtime is called with it."""

    def __init__(self, directory: Path, probe: Path, identifier: str) -> None:
        """Make the root file system; *identifier* is the id that its container will have."""
        self.path = directory
        self.rootfs = directory / "rootfs"
        self.id = identifier
        self.config = copy.deepcopy(BASE)
        self.config["linux"]["cgroupsPath"] = f"/{identifier}"
        for name in DIRECTORIES:
            (self.rootfs / name).mkdir(parents=True)
        (self.rootfs / "tmp").chmod(0o1777)
        shutil.copy(probe, self.rootfs / PROBE[1:])
        self.probe = self.rootfs / PROBE[1:]
        self.raw: bytes | None = None

    @property
    def process(self) -> dict[str, Any]:
        """The config's process."""
        return self.config["process"]

    @property
    def linux(self) -> dict[str, Any]:
        """The config's linux."""
        return self.config["linux"]

    def args(self, *verbs: "list[Any] | tuple[Any, ...] | str") -> "Bundle":
        """Let the container run the probe's *verbs*, each a word or a list of words."""
        self.process["args"] = [PROBE, *probe_arguments(verbs)]
        return self

    def mount(self, destination: str, **mount: Any) -> "Bundle":
        """Add a mount."""
        self.config["mounts"].append({"destination": destination, **mount})
        return self

    def own_dev(self) -> Path:
        """Bind a directory of the host, with a null device in it, on /dev in place of what is mounted there; give it."""
        own = self.path / "dev"
        own.mkdir()
        os.mknod(own / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        for point in ("/dev/pts", "/dev/shm", "/dev"):
            self.without_mount(point)
        self.mount("/dev", type="bind", source=str(own), options=["bind"])
        return own

    def mount_of(self, destination: str) -> dict[str, Any]:
        """Return the mount at *destination*."""
        return next(m for m in self.config["mounts"] if m["destination"] == destination)

    def without_mount(self, destination: str) -> "Bundle":
        """Take a mount away."""
        self.config["mounts"] = [m for m in self.config["mounts"] if m["destination"] != destination]
        return self

    def namespace(self, kind: str, **more: Any) -> "Bundle":
        """Add a namespace, or change the one of that kind."""
        self.without_namespace(kind)
        self.linux["namespaces"].append({"type": kind, **more})
        return self

    def without_namespace(self, kind: str) -> "Bundle":
        """Take a namespace away: the container inherits it."""
        self.linux["namespaces"] = [n for n in self.linux["namespaces"] if n["type"] != kind]
        return self

    def user_namespace(self, host: int = HOST_ID, size: int = ID_COUNT) -> "Bundle":
        """Map root of the container to *host*, and give it the root file system."""
        self.namespace("user")
        mapping = [{"containerID": 0, "hostID": host, "size": size}]
        self.linux["uidMappings"] = mapping
        self.linux["gidMappings"] = copy.deepcopy(mapping)
        for top, directories, files in os.walk(self.rootfs):
            for name in itertools.chain([top], (f"{top}/{n}" for n in directories + files)):
                os.chown(name, host, host, follow_symlinks=False)
        return self

    def capabilities(self, *names: str) -> "Bundle":
        """Grant the process these capabilities, in the three sets that matter to root."""
        self.process["capabilities"] = {s: list(names) for s in ("bounding", "effective", "permitted")}
        return self

    def hook(self, kind: str, *verb: str, **more: Any) -> "Bundle":
        """Add a hook that runs the probe; for startContainer the one inside."""
        path = PROBE if kind == "startContainer" else str(self.probe)
        hook = {"path": path, "args": ["probe", *verb], **more}
        self.config.setdefault("hooks", {}).setdefault(kind, []).append(hook)
        return self

    def write(self) -> Path:
        """Write config.json; give the bundle's path."""
        text = self.raw if self.raw is not None else json.dumps(self.config, indent=1).encode()
        (self.path / "config.json").write_bytes(text)
        return self.path


def probe_arguments(verbs: "tuple[Any, ...]") -> list[str]:
    """Join verbs as the probe wants them: ``a 1 -- b 2``."""
    words: list[str] = []
    for verb in verbs:
        if words:
            words.append("--")
        words += [verb] if isinstance(verb, str) else [str(word) for word in verb]
    return words
