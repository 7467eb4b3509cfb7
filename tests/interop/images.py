"""A busybox image, made on the spot: a root filesystem and an OCI archive that podman and ctr both import."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

BUSYBOX = Path("/bin/busybox")
NAME = "localhost/busybox:test"

# What the tests look for inside the image.
USERS = "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/:/bin/sh\napp:x:1000:1000:app:/home/app:/bin/sh\n"
GROUPS = "root:x:0:\ndaemon:x:1:\napp:x:1000:\nextra:x:2000:app\n"
APPLETS = (
    "ash",
    "awk",
    "basename",
    "cat",
    "chgrp",
    "chmod",
    "chown",
    "cp",
    "cut",
    "date",
    "dd",
    "df",
    "dirname",
    "echo",
    "env",
    "expr",
    "false",
    "find",
    "grep",
    "head",
    "hostname",
    "id",
    "kill",
    "ln",
    "ls",
    "mkdir",
    "mkfifo",
    "mknod",
    "mount",
    "mv",
    "nproc",
    "printf",
    "ps",
    "pwd",
    "readlink",
    "rm",
    "rmdir",
    "sed",
    "seq",
    "setsid",
    "sh",
    "sleep",
    "sort",
    "stat",
    "stty",
    "sync",
    "tail",
    "tee",
    "test",
    "timeout",
    "touch",
    "tr",
    "true",
    "tty",
    "umount",
    "uname",
    "wc",
    "which",
    "whoami",
    "xargs",
    "yes",
    "[",
)
LINK_TEXT = "busybox"


class ImageError(Exception):
    """The image cannot be made on this machine; the text says what is missing."""


def _entry(name: str, kind: bytes, mode: int, uid: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.mode = mode
    info.uid = info.gid = uid
    return info


def _add_file(tar: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644) -> None:
    info = _entry(name, tarfile.REGTYPE, mode)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def layer() -> bytes:
    """Return the image's only layer, an uncompressed tar."""
    try:
        busybox = BUSYBOX.read_bytes()
    except OSError as error:
        raise ImageError(f"{BUSYBOX} is missing (package busybox-static)") from error
    if b"/lib64/ld-linux" in busybox[:4096]:
        raise ImageError(f"{BUSYBOX} is linked dynamically (package busybox-static has the static one)")
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in ("bin", "dev", "etc", "proc", "root", "sys", "var", "home"):
            tar.addfile(_entry(name, tarfile.DIRTYPE, 0o755))
        tar.addfile(_entry("home/app", tarfile.DIRTYPE, 0o755, uid=1000))
        tar.addfile(_entry("tmp", tarfile.DIRTYPE, 0o1777))
        _add_file(tar, "bin/busybox", busybox, 0o755)
        for applet in APPLETS:
            link = _entry(f"bin/{applet}", tarfile.SYMTYPE, 0o777)
            link.linkname = LINK_TEXT
            tar.addfile(link)
        _add_file(tar, "etc/passwd", USERS.encode())
        _add_file(tar, "etc/group", GROUPS.encode())
        _add_file(tar, "etc/not-executable", b"#!/bin/sh\necho wrong\n")
        _add_file(tar, "etc/bad-format", b"this is no program\n", 0o755)
    return out.getvalue()


class _Archive:
    """Collects the blobs of an OCI image layout in a tar."""

    def __init__(self, path: Path) -> None:
        self.tar = tarfile.open(path, "w")  # noqa: SIM115 - closed by write_archive

    def blob(self, media_type: str, data: bytes) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        _add_file(self.tar, f"blobs/sha256/{digest}", data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    def document(self, media_type: str, value: dict[str, object]) -> dict[str, object]:
        return self.blob(media_type, json.dumps(value).encode())


def write_archive(path: Path) -> Path:
    """Write the image as an OCI archive named `localhost/busybox:test` and return its path."""
    archive = _Archive(path)
    data = layer()
    prefix = "application/vnd.oci.image."
    layer_entry = archive.blob(prefix + "layer.v1.tar", data)
    config = archive.document(
        prefix + "config.v1+json",
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Env": ["PATH=/usr/bin:/bin", "FROM_IMAGE=yes"], "Cmd": ["sh"], "WorkingDir": "/"},
            "history": [{"created_by": "tests/interop/images.py"}],
            "rootfs": {"type": "layers", "diff_ids": [layer_entry["digest"]]},
        },
    )
    manifest = archive.document(
        prefix + "manifest.v1+json",
        {
            "schemaVersion": 2,
            "mediaType": prefix + "manifest.v1+json",
            "config": config,
            "layers": [layer_entry],
        },
    )
    manifest["annotations"] = {"io.containerd.image.name": NAME, "org.opencontainers.image.ref.name": NAME}
    manifest["platform"] = {"architecture": "amd64", "os": "linux"}
    index = {"schemaVersion": 2, "manifests": [manifest]}
    _add_file(archive.tar, "index.json", json.dumps(index).encode())
    _add_file(archive.tar, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
    archive.tar.close()
    return path
