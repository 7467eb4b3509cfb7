"""Make the archive that a kernel unpacks as its first root file system: cpio, in the format "newc"."""

import stat
from collections.abc import Mapping


def archive(files: Mapping[str, bytes | None], executable: frozenset[str]) -> bytes:
    """Return the archive of *files*: a path below the root, with its content, or None for a directory.

    Parents come before what is in them.  Kernel documentation: driver-api/early-userspace/buffer-format.rst.
    """
    entries = [
        _entry(number, path, _mode(content, path in executable), content or b"")
        for number, (path, content) in enumerate(files.items(), 1)
    ]
    return b"".join([*entries, _entry(0, "TRAILER!!!", 0, b"")])


def _mode(content: bytes | None, executable: bool) -> int:
    return stat.S_IFDIR | 0o755 if content is None else stat.S_IFREG | (0o755 if executable else 0o644)


def _entry(number: int, path: str, mode: int, content: bytes) -> bytes:
    name = path.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + name
    return _padded(head) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)

