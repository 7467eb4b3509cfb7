"""HOME from the container's own /etc/passwd, read by hand: no NSS, no path of the container followed out of it."""

import errno
import os

from pyoci import native
from pyoci.config.model import Process
from pyoci.files import read_file

SIZE_LIMIT = 1 << 20
S_IFMT, S_IFREG = 0o170000, 0o100000


def home_directory(process: Process, rootfs: str) -> list[str]:
    """Return the environment entry for HOME, or nothing when the configuration sets it, to more than nothing.

    Every caller and every image expects HOME; the peers set it from passwd(5), with / for an unknown user.
    """
    given = [entry for entry in process.env if entry.startswith("HOME=")]
    if given and given[-1] != "HOME=":
        return []
    return [f"HOME={_lookup(rootfs, process.user.uid) or '/'}"]


def _lookup(rootfs: str, uid: int) -> str:
    try:
        root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        found = native.lib.pyoci_openat2(root, b"etc/passwd", os.O_PATH, 0, native.RESOLVE_IN_ROOT)
    finally:
        os.close(root)
    if found < 0:
        if found in (-errno.ENOENT, -errno.ENOTDIR, -errno.ELOOP, -errno.EACCES, -errno.EXDEV):
            return ""
        native.check(found, "looking for /etc/passwd of the container")
    try:
        # Only a regular file is opened: opening a device or a FIFO of the image could do something.
        if os.fstat(found).st_mode & S_IFMT != S_IFREG:
            return ""
        text = _read_again(found)
    finally:
        os.close(found)
    return find_home(text, uid)


def _read_again(found: int) -> bytes:
    """Read the file that an O_PATH descriptor stands for; nothing when it may not be read."""
    try:
        fd = os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
    except PermissionError:
        return b""
    try:
        return os.read(fd, SIZE_LIMIT)
    finally:
        os.close(fd)


def find_home(text: bytes, uid: int) -> str:
    """Find the home directory of *uid* in the text of passwd(5); "" when there is none."""
    for line in text.split(b"\n"):
        fields = line.split(b":")
        if len(fields) >= 6 and fields[2] == b"%d" % uid:
            return fields[5].decode("utf-8", "surrogateescape")
    return ""


def user_name(uid: int) -> str:
    """Look a uid up in /etc/passwd by hand (no NSS); the number itself when it has no name."""
    try:
        lines = read_file("/etc/passwd").split(b"\n")
    except OSError:
        return str(uid)
    for line in lines:
        fields = line.split(b":")
        if len(fields) > 2 and fields[2] == b"%d" % uid:
            return fields[0].decode("utf-8", "replace")
    return str(uid)
